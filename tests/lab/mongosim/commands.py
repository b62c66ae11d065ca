"""What each command does. A command, a field or an operator that is not named here is refused as not modelled."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bson import Binary, ObjectId

from . import scram
from .access import CLUSTER
from .errors import CommandError, NotModelledError
from .members import INTERNAL
from .peers import SYSTEM_USER, system_password
from .wire import Message

if TYPE_CHECKING:
    from .server import Session

VERSION = [8, 0, 0, 0]
WIRE_VERSION = 25
Answer = dict[str, Any]
# Fields that every command may have.
GENERIC = {
    "$db", "lsid", "txnNumber", "$clusterTime", "$readPreference", "comment", "maxTimeMS", "writeConcern",
    "readConcern", "apiVersion",
}  # fmt: skip
# What a data command needs in its database.
DATA: dict[str, tuple[str, ...]] = {
    "find": ("find",),
    "aggregate": ("find",),
    "count": ("find",),
    "distinct": ("find",),
    "getMore": (),
    "killCursors": (),
    "insert": ("insert",),
    "update": ("update",),
    "delete": ("remove",),
    "findAndModify": ("find", "update"),
    "createIndexes": ("createIndex",),
    "dropIndexes": ("dropIndex",),
    "listIndexes": ("listIndexes",),
    "listCollections": ("listCollections",),
    "create": ("createCollection",),
    "drop": ("dropCollection",),
    "dropDatabase": ("dropDatabase",),
}
OWN_DATABASES = {"admin", "local", "config"}
MECHANISM = "SCRAM-SHA-256"


def check_data(session: Session, message: Message) -> None:
    """Raise ``CommandError`` unless the caller may do this here and now."""
    name, database = message.name, message.database
    if database in OWN_DATABASES:
        raise NotModelledError(f"{name} in the database {database}")
    if session.caller.login is None and not DATA[name]:
        session.caller.must(database, "find")
    session.caller.must(database, *DATA[name])
    if name == "aggregate" and any(set(stage) & {"$out", "$merge"} for stage in message.command["pipeline"]):
        raise NotModelledError("an aggregation that writes")
    if session.members.enabled:
        session.members.must_be_in_set()
    session.members.must_be_primary()


def _only(message: Message, *known: str) -> Answer:
    """Return the command; refuse fields that are neither generic nor ``known``."""
    unknown = set(message.command) - GENERIC - {message.name, *known}
    if unknown:
        raise NotModelledError(f"{message.name} with {sorted(unknown)}")
    return message.command


async def hello(session: Session, message: Message) -> Answer:
    command = _only(
        message, "helloOk", "client", "compression", "speculativeAuthenticate", "saslSupportedMechs", "loadBalanced",
        "backpressure",
    )  # fmt: skip
    answer = session.members.hello() | {
        "helloOk": True,
        "maxBsonObjectSize": 16_777_216,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "localTime": datetime.fromtimestamp(time.time(), UTC),
        "logicalSessionTimeoutMinutes": 30,
        "connectionId": session.number,
        "minWireVersion": 0,
        "maxWireVersion": WIRE_VERSION,
        "readOnly": False,
    }
    if answer.get("setName") and answer["isWritablePrimary"]:
        answer["electionId"] = ObjectId(session.state.term.to_bytes(12, "big"))
    if asked := command.get("saslSupportedMechs"):
        answer["saslSupportedMechs"] = [MECHANISM] if asked in session.state.users else []
    return answer


async def ping(session: Session, message: Message) -> Answer:
    _only(message)
    return {}


async def build_info(session: Session, message: Message) -> Answer:
    _only(message)
    return {"version": "8.0.0", "versionArray": VERSION, "mongosim": True, "maxBsonObjectSize": 16_777_216}


async def end_sessions(session: Session, message: Message) -> Answer:
    _only(message)
    if session.caller.login is None:
        session.caller.must("admin", "find")
    return {}


async def sasl_start(session: Session, message: Message) -> Answer:
    command = _only(message, "mechanism", "payload", "options", "autoAuthorize")
    if command["mechanism"] != MECHANISM:
        raise scram.failed() if command["mechanism"] == "SCRAM-SHA-1" else NotModelledError(command["mechanism"])
    database = message.database

    def find(user: str) -> dict[str, Any] | None:
        if (database, user) == ("local", SYSTEM_USER):
            return scram.credentials(system_password(session.configuration.key)) if session.configuration.key else None
        found = session.state.users.get(f"{database}.{user}")
        return found["scram"] if found else None

    session.conversation, answer = scram.Conversation.start(bytes(command["payload"]), find)
    session.login = (database, session.conversation.user)
    session.empty_exchange = not command.get("options", {}).get("skipEmptyExchange", False)
    return {"conversationId": 1, "done": False, "payload": Binary(answer)}


async def sasl_continue(session: Session, message: Message) -> Answer:
    command = _only(message, "conversationId", "payload")
    if session.conversation is None:
        raise CommandError(17, "ProtocolError", "No SASL session state found")
    if not command["payload"]:
        session.conversation, session.caller.login = None, session.login
        return {"conversationId": 1, "done": True, "payload": Binary(b"")}
    answer = session.conversation.finish(bytes(command["payload"]))
    if not session.empty_exchange:
        session.conversation, session.caller.login = None, session.login
    return {"conversationId": 1, "done": not session.empty_exchange, "payload": Binary(answer)}


async def create_user(session: Session, message: Message) -> Answer:
    command = _only(message, "pwd", "roles")
    database, users = message.database, session.users
    session.caller.must(database, "createUser")
    session.caller.must_grant(database, command["roles"])
    session.members.must_be_primary()
    users.create(database, command["createUser"], command["pwd"], command["roles"])
    await session.users_changed()
    return {}


async def update_user(session: Session, message: Message) -> Answer:
    command = _only(message, "pwd", "roles")
    database = message.database
    session.caller.must(database, *(["changePassword"] if "pwd" in command else []))
    if "roles" in command:
        session.caller.must(database, "revokeRole")
        session.caller.must_grant(database, command["roles"])
    session.members.must_be_primary()
    session.users.update(database, command["updateUser"], command.get("pwd"), command.get("roles"))
    await session.users_changed()
    return {}


async def grant_roles(session: Session, message: Message) -> Answer:
    command = _only(message, "roles")
    session.caller.must_grant(message.database, command["roles"])
    session.members.must_be_primary()
    session.users.grant(message.database, command["grantRolesToUser"], command["roles"])
    await session.users_changed()
    return {}


async def users_info(session: Session, message: Message) -> Answer:
    command = _only(message)
    session.caller.must(message.database, "viewUser")
    return {"users": session.users.told(message.database, command["usersInfo"])}


async def set_initiate(session: Session, message: Message) -> Answer:
    session.caller.must(CLUSTER, "replSetConfigure")
    await session.members.initiate(_only(message)["replSetInitiate"])
    return {}


async def set_config(session: Session, message: Message) -> Answer:
    _only(message)
    session.caller.must(CLUSTER, "replSetGetConfig")
    # A real server does not tell either that a member is new.
    return {"config": {key: value for key, value in session.members.config().items() if key != "newlyAdded"}}


async def set_reconfig(session: Session, message: Message) -> Answer:
    session.caller.must(CLUSTER, "replSetConfigure")
    await session.members.reconfigure(_only(message)["replSetReconfig"])
    return {}


async def set_status(session: Session, message: Message) -> Answer:
    _only(message)
    session.caller.must(CLUSTER, "replSetGetStatus")
    return session.members.status()


async def step_down(session: Session, message: Message) -> Answer:
    _only(message)
    session.caller.must(CLUSTER, "replSetStateChange")
    await session.members.step_down()
    return {}


async def beat(session: Session, message: Message) -> Answer:
    if not session.caller.is_member:
        raise NotModelledError(message.name)
    return session.members.beat(message.command[INTERNAL])


Command = Callable[["Session", Message], Awaitable[Answer]]
COMMANDS: dict[str, Command] = {
    "hello": hello,
    "isMaster": hello,
    "ismaster": hello,
    "ping": ping,
    "buildInfo": build_info,
    "buildinfo": build_info,
    "endSessions": end_sessions,
    "saslStart": sasl_start,
    "saslContinue": sasl_continue,
    "createUser": create_user,
    "updateUser": update_user,
    "grantRolesToUser": grant_roles,
    "usersInfo": users_info,
    "replSetInitiate": set_initiate,
    "replSetGetConfig": set_config,
    "replSetReconfig": set_reconfig,
    "replSetGetStatus": set_status,
    "replSetStepDown": step_down,
    INTERNAL: beat,
}
# These are of the database admin alone.
OF_ADMIN = {name for name in COMMANDS if name.startswith("replSet")}
