"""No secret of a running system is in a process list, a log, an answer, a bundle, or readable by others."""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tornado.httpclient import HTTPClientError

from tests.integration.relay_room.relay_harness import Socket

from .conftest import Live
from .people import Person, secret_of

# Files whose purpose is to hold secrets; they must be private instead.
_KEEPERS = ("coordinator.json", "session-server.json", "config.json", "journal")


def _between(text: str) -> str:
    """The second line of a PEM: enough to recognise the key by."""
    return text.splitlines()[1]


@pytest.fixture(scope="module")
def secrets(live: Live) -> dict[str, str]:
    """Every secret in use, by name; nothing here may be seen anywhere."""
    place = live.stage.stack.directory
    coordinator = json.loads((place / "coordinator.json").read_text())
    host = json.loads((place / "session-server.json").read_text())
    relay = live.relay_config
    return {
        "token_signing_key": _between(coordinator["token_signing_key"]),
        "control_secret": coordinator["control_secret"],
        "cookie_secret": coordinator["cookie_secret"],
        "turn secret": coordinator["turn"]["secret"],
        "password hash": coordinator["access"]["users"]["admin"]["password_hash"],
        "host_key": host["host_key"],
        "streamer_secret": relay["streamer_secret"],
        "private_secret": relay["private_secret"],
        "admin password": live.stage.stack.admin.password,
        "admin key": live.stage.stack.admin.api_key,
    }


@pytest.fixture(scope="module")
def handed_out(live: Live) -> dict[str, str]:
    """What people get to keep to themselves: shown to its owner in one answer, and to nobody else."""
    invite = live.owner.invite(live.session_id)
    guest = live.stranger()
    ticket = guest.join(live.session_id, invite=secret_of(invite), name="Guest")
    (turn,) = ticket["ice_servers"]
    return {
        "invitation": secret_of(invite).partition("-")[2],
        "owner's token": live.owner.join(live.session_id)["token"],
        "guest's token": ticket["token"],
        "guest's cookie": guest.cookies["viewer"],
        "owner's cookie": live.owner.cookies["viewer"],
        "owner's csrf": live.owner.csrf(),
        "turn credential": turn["credential"],
    }


async def _use_everything(live: Live, handed_out: dict[str, str]) -> None:
    """Give every log a reason to mention what it must not."""
    own, token, invitation = handed_out["owner's token"], handed_out["guest's token"], handed_out["invitation"]
    relay = str(live.owner.join(live.session_id)["room_url"])
    room = await Socket.open(relay)
    await room.say("hello", version=1, token=token)
    welcome = await room.hear("welcome")
    await room.say("hello", version=1, token=token)
    await room.end()
    handed_out["resume secret"] = welcome["resume"]
    player = relay.replace("/room", "/player")
    for url in (
        f"{player}?token={token}x",
        f"{player}?token=%ff{token}",
        f"{relay}/nowhere?token={own}",
        f"ws://127.0.0.1:{live.private_port}/streamer/{live.relay_config['streamer_secret']}x",
    ):
        with pytest.raises(HTTPClientError):
            await Socket.open(url)
    stranger, admin = live.stranger(), live.admin()
    for path in (
        f"/api/v1/sessions?cursor={token}",
        f"/api/v1/invites/{live.session_id}-{invitation}",
        f"/join/{live.session_id}-{invitation}",
        f"/nowhere?token={token}",
    ):
        stranger.get(path)
        admin.get(path)
    password = live.stage.stack.admin.password
    for tried in (password, password + "x"):
        stranger.ask("POST", "/api/v1/sign-in", {"name": "admin", "password": tried})
    stranger.ask("POST", f"{live.path}/join", {"invite": f"{live.session_id}-{invitation}"})
    live.owner.ask("POST", f"{live.path}/invites", b"{" + invitation.encode())


def _found(secrets: dict[str, str], content: bytes) -> list[str]:
    return [name for name, value in secrets.items() if value.encode() in content]


def _files(live: Live) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(live.stage.stack.directory.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes()


async def test_logs_hold_no_secret(live: Live, secrets: dict[str, str], handed_out: dict[str, str]) -> None:
    await _use_everything(live, handed_out)
    everything = {**secrets, **handed_out}
    logs = [(path, content) for path, content in _files(live) if ".log" in path.name]
    assert {"coordinator.log", "session-server.log", "output.log", "steps.log"} <= {path.name for path, _ in logs}
    # The debug lines are there, so the logs had their chance.
    assert b"POST /api/v1/sign-in" in b"".join(content for _, content in logs)
    assert {str(path): found for path, content in logs if (found := _found(everything, content))} == {}


def test_process_lists_hold_no_secret(live: Live, secrets: dict[str, str], handed_out: dict[str, str]) -> None:
    """The sample title gets its address by the environment; only Unreal has to be told on its command line."""
    seen = {}
    ours = 0
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        ours += str(live.stage.stack.directory) in line
        if found := _found({**secrets, **handed_out}, line.encode()):
            seen[process.pid] = found
    assert ours >= 3
    assert seen == {}


def test_files_with_secrets_are_for_their_user_alone(live: Live, secrets: dict[str, str]) -> None:
    holders = {path for path, content in _files(live) if _found(secrets, content)}
    assert any(path.name == "coordinator.json" for path in holders)
    assert any(path.parent.name == "relay-1" for path in holders)
    for path in holders:
        assert any(name in str(path.relative_to(live.stage.stack.directory)) for name in _KEEPERS), path
        # Readable by others only if every folder on the way is: the first closed one decides.
        chain = [path, *path.parents[: path.parts.index(live.stage.stack.directory.name)]]
        closed = [part for part in chain if not stat.S_IMODE(part.stat().st_mode) & 0o077]
        assert closed, f"{path} can be read by other users"


def test_the_database_holds_nothing_that_opens_a_door(live: Live, handed_out: dict[str, str]) -> None:
    admin = live.stage.stack.admin
    doors = {**handed_out, "admin password": admin.password, "admin key": admin.api_key}
    content = b"".join(data for path, data in _files(live) if "database" in path.parts)
    assert live.session_id.encode() in content
    assert _found(doors, content) == []


def _readable_paths(live: Live) -> list[str]:
    """Every GET of the interface's own document, with this session, host and title filled in."""
    document = live.stranger().get("/openapi.json").json
    fill = {"{id}": live.session_id, "{name}": "plain", "{invite_id}": "a" * 16, "{key_id}": "a" * 16}
    paths = []
    for path, methods in document["paths"].items():
        if "get" not in methods or path.endswith("/events"):
            continue
        for name, value in fill.items():
            path = path.replace(name, "demo" if name == "{name}" and "/hosts/" in path else value)
        paths.append(re.sub(r"\{[^}]*\}", live.session_id, path))
    return [*paths, *(f"{live.path.replace('v1', 'v1/admin')}/logs?source={s}" for s in ("relay", "title", "steps"))]


@pytest.mark.parametrize("who", ["stranger", "owner", "admin"])
def test_answers_hold_no_secret(live: Live, secrets: dict[str, str], handed_out: dict[str, str], who: str) -> None:
    person: Person = {"stranger": live.stranger(), "owner": live.owner, "admin": live.admin()}[who]
    handed = {name: value for name, value in handed_out.items() if name != "owner's csrf"}
    seen, answered = {}, 0
    for path in [*_readable_paths(live), "/metrics", "/healthz", "/readyz", "/", f"/session/{live.session_id}"]:
        reply = person.get(path)
        answered += reply.status == 200
        assert reply.status < 500, (path, reply.body)
        # The person's own cookie may be sent to it again.
        if found := _found({**secrets, **handed}, reply.body):
            seen[path] = found
    assert answered >= {"stranger": 8, "owner": 9, "admin": 15}[who]
    assert seen == {}


def test_a_support_bundle_holds_no_secret(live: Live, secrets: dict[str, str], handed_out: dict[str, str]) -> None:
    reply = live.admin().get(f"/api/v1/admin/sessions/{live.session_id}/bundle")
    assert reply.status == 200
    with zipfile.ZipFile(io.BytesIO(reply.body)) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    assert len(members) > 3
    assert {name: found for name, data in members.items() if (found := _found({**secrets, **handed_out}, data))} == {}


def test_wrong_input_is_not_answered_with_internals(live: Live) -> None:
    """No traceback, no path of a file, no name of a module in what is said to a caller."""
    owner = live.owner
    replies = [
        owner.ask("POST", "/api/v1/sessions", b"\xff\xfe not json"),
        owner.ask("POST", "/api/v1/sessions", {"title": {"$gt": ""}}),
        owner.ask("POST", f"{live.path}/join", {"name": ["x"] * 5}),
        owner.get("/api/v1/sessions?limit=x&cursor=%00"),
        owner.get("/api/v1/titles/%00/picture"),
        live.admin().get(f"/api/v1/admin/sessions/{live.session_id}/logs?source=../../journal"),
        live.admin().get(f"/api/v1/admin/sessions/{live.session_id}/logs?lines=-1"),
    ]
    for reply in replies:
        assert 400 <= reply.status < 500, reply.body
        assert not re.search(rb"Traceback|\.py|runtime\.|/home/|/tmp/|site-packages|pymongo", reply.body), reply.body
