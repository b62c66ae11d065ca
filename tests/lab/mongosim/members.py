"""The replica set as one member sees it. The primary tells the others of users and configuration, not of data.

The first primary of a set that is initiated with several members at once is its second member: who relies on winning
such an election fails here as he or she might there. Later only ``replSetStepDown`` makes another one primary.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Set
from typing import Any

from . import peers
from .conf import Configuration
from .errors import CommandError, NotModelledError, not_primary
from .state import State

BEAT_SECONDS = 0.5
FORGOTTEN_SECONDS = 3.0
PRIMARY, SECONDARY, STARTUP, DOWN, REMOVED = 1, 2, 0, 8, 10
NAMES = {
    PRIMARY: "PRIMARY",
    SECONDARY: "SECONDARY",
    STARTUP: "STARTUP",
    DOWN: "(not reachable/healthy)",
    REMOVED: "REMOVED",
}
DEFAULTS: dict[str, Any] = {
    "arbiterOnly": False,
    "buildIndexes": True,
    "hidden": False,
    "priority": 1,
    "tags": {},
    "secondaryDelaySecs": 0,
    "votes": 1,
}
INTERNAL = "_mongosimBeat"


def _incompatible(message: str) -> CommandError:
    return CommandError(103, "NewReplicaSetConfigurationIncompatible", message)


def _invalid(message: str) -> CommandError:
    return CommandError(93, "InvalidReplicaSetConfig", message)


class Members:
    """One member's view; ``healthy`` holds when each other member last answered."""

    def __init__(self, configuration: Configuration, state: State) -> None:
        self._configuration, self._state = configuration, state
        self._heard: dict[str, float] = {}
        self._complaints: dict[str, str] = {}
        self._told_at = 0.0  # when the primary last spoke to this member

    # What this member is

    @property
    def enabled(self) -> bool:
        return bool(self._configuration.set_name)

    @property
    def hosts(self) -> list[str]:
        return [member["host"] for member in self._state.config["members"]] if self._state.config else []

    @property
    def me(self) -> str:
        return next((host for host in self.hosts if host in self._configuration.own_hosts), "")

    def _majority_answers(self) -> bool:
        alive = 1 + sum(1 for host in self.hosts if host != self.me and self._alive(host))
        return alive * 2 > len(self.hosts)

    def _alive(self, host: str) -> bool:
        return time.monotonic() - self._heard.get(host, -FORGOTTEN_SECONDS) < FORGOTTEN_SECONDS

    @property
    def is_primary(self) -> bool:
        if not self.enabled:
            return True
        return bool(self.me) and self._state.primary == self.me and self._majority_answers()

    @property
    def primary(self) -> str | None:
        if self.is_primary:
            return self.me
        told = time.monotonic() - self._told_at < FORGOTTEN_SECONDS
        return self._state.primary if told and self._state.primary != self.me else None

    def hello(self) -> dict[str, Any]:
        """Return what ``hello`` says of the set."""
        if not self.enabled:
            return {"isWritablePrimary": True, "ismaster": True}
        if not self.me:
            return {
                "isWritablePrimary": False,
                "ismaster": False,
                "secondary": False,
                "info": "Does not have a valid replica set config",
                "isreplicaset": True,
            }
        assert self._state.config is not None
        return {
            "isWritablePrimary": self.is_primary,
            "ismaster": self.is_primary,
            "secondary": not self.is_primary,
            "setName": self._configuration.set_name,
            "setVersion": self._state.config["version"],
            "hosts": self.hosts,
            "me": self.me,
            **({"primary": self.primary} if self.primary else {}),
        }

    def must_be_primary(self) -> None:
        if not self.is_primary:
            raise not_primary()

    def must_be_in_set(self) -> None:
        if not self.enabled:
            raise CommandError(76, "NoReplicationEnabled", "not running with --replSet")
        if not self.me:
            raise CommandError(94, "NotYetInitialized", "no replset config has been received")

    # Commands

    async def initiate(self, wanted: Any) -> None:
        if not self.enabled:
            raise CommandError(76, "NoReplicationEnabled", "This node was not started with replication enabled.")
        if self._state.config is not None:
            raise CommandError(23, "AlreadyInitialized", "already initialized")
        if not isinstance(wanted, dict):
            raise NotModelledError("replSetInitiate without a configuration")
        config = {**self._complete(wanted), "version": 1, "term": 1}
        config["settings"] = {"replicaSetId": secrets.token_hex(12)}
        if not any(member["host"] in self._configuration.own_hosts for member in config["members"]):
            raise _invalid("No host described in new configuration maps to this node")
        hosts = [member["host"] for member in config["members"]]
        for host in hosts:
            if host not in self._configuration.own_hosts:
                await self._must_be_empty(host)
        self._state.config, self._state.term = config, 1
        self._state.primary = self.me if len(hosts) == 1 else next(host for host in hosts if host != self.me)
        self._state.save()
        await self.tell()

    async def _must_be_empty(self, host: str) -> None:
        try:
            answer = await peers.call(self._configuration, host, {INTERNAL: 1})
        except peers.PeerError as error:
            raise CommandError(74, "NodeNotFound", f"replSetInitiate quorum check failed: {error}") from None
        if answer["set"]:
            raise CommandError(23, "AlreadyInitialized", f"{host} is already initialized")

    def _complete(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(wanted) - {
            "_id",
            "version",
            "term",
            "members",
            "settings",
            "protocolVersion",
            "writeConcernMajorityJournalDefault",
        }:
            raise NotModelledError(f"a set's configuration with {sorted(unknown)}")
        if wanted.get("_id") != self._configuration.set_name:
            raise _invalid(f"Attempting to use a set named {wanted.get('_id')}, but command line says otherwise")
        members = []
        for member in wanted.get("members", []):
            if unknown := set(member) - {"_id", "host", "newlyAdded", *DEFAULTS}:
                raise NotModelledError(f"a member with {sorted(unknown)}")
            if different := {key for key in DEFAULTS if member.get(key, DEFAULTS[key]) != DEFAULTS[key]}:
                raise NotModelledError(f"a member with its own {sorted(different)}")
            members.append({"_id": member["_id"], "host": member["host"], **DEFAULTS})
        for key in ("_id", "host"):
            values = [member[key] for member in members]
            if not members or len(values) != len(set(values)):
                raise _invalid(f"members must be there, each with a {key} of its own")
        return {"_id": wanted["_id"], "members": members}

    def config(self) -> dict[str, Any]:
        self.must_be_in_set()
        assert self._state.config is not None
        return self._state.config

    async def reconfigure(self, wanted: dict[str, Any]) -> None:
        self.must_be_in_set()
        self.must_be_primary()
        before = self.config()
        new = self._complete(wanted)
        if wanted.get("version", 0) <= before["version"]:
            raise _incompatible(f"version {wanted.get('version')} is not newer than {before['version']}")
        old_hosts, hosts = set(self.hosts), {member["host"] for member in new["members"]}
        if self.me not in hosts:
            raise _incompatible("the primary cannot be removed by itself")
        if len(old_hosts ^ hosts) > 1:
            raise _incompatible("Non force replica set reconfig can only add or remove at most 1 voting member.")
        for host in hosts - old_hosts:
            await self._may_join(host)
        config = {**before, "members": new["members"], "version": wanted["version"], "term": self._state.term}
        if added := hosts - old_hosts:
            config["newlyAdded"] = sorted(added)
        gone = old_hosts - hosts
        self._state.config = config
        self._state.save()
        await self.tell(gone)

    async def _may_join(self, host: str) -> None:
        assert self._state.config is not None
        try:
            answer = await peers.call(self._configuration, host, {INTERNAL: 1})
        except peers.PeerError as error:
            raise CommandError(
                74, "NodeNotFound", f"Quorum check failed because not enough voting nodes responded: {error}"
            ) from None
        if answer["set"] not in ("", self._state.config["settings"]["replicaSetId"]):
            raise _incompatible(f"Our replica set ID did not match that of {host}")

    async def step_down(self) -> None:
        self.must_be_primary()
        if next(self._configuration.data.glob("engine/*.db"), None):
            raise NotModelledError("another primary for a set that has data, which is not replicated here")
        for host in self.hosts:
            if host != self.me and self._alive(host):
                self._state.primary, self._state.term = host, self._state.term + 1
                self._state.save()
                await self.tell()
                return
        raise CommandError(262, "ExceededTimeLimit", "No electable secondaries caught up")

    def status(self) -> dict[str, Any]:
        """Return what ``replSetGetStatus`` says."""
        self.must_be_in_set()
        members = []
        for member in self.config()["members"]:
            host = member["host"]
            alive = host == self.me or self._alive(host) or (host == self.primary)
            state = DOWN if not alive else PRIMARY if host == self.primary else SECONDARY
            told = {
                "_id": member["_id"],
                "name": host,
                "health": float(alive),
                "state": state,
                "stateStr": NAMES[state],
            }
            if host == self.me:
                told["self"] = True
            elif host in self._complaints:
                told["lastHeartbeatMessage"] = self._complaints[host]
            members.append(told)
        return {
            "set": self._configuration.set_name,
            "myState": PRIMARY if self.is_primary else SECONDARY,
            "term": self._state.term,
            "members": members,
        }

    # Between members

    def beat(self, told: Any) -> dict[str, Any]:
        """Answer another member; ``told`` is what the primary wants known, or 1 for a mere question."""
        if isinstance(told, dict) and told["term"] >= self._state.term:
            self._told_at = time.monotonic()
            self._state.take(told)
        config = self._state.config
        return {"set": config["settings"]["replicaSetId"] if config else "", "term": self._state.term}

    async def tell(self, also: Set[str] = frozenset()) -> None:
        """Tell every other member what this one holds true, and note who heard it."""
        await asyncio.gather(*(self._tell(host) for host in {*self.hosts, *also} if host != self.me))

    async def _tell(self, host: str) -> None:
        try:
            answer = await peers.call(self._configuration, host, {INTERNAL: self._state.for_members()})
        except peers.PeerError as error:
            self._complaints[host] = str(error)
            self._heard.pop(host, None)
            return
        self._complaints.pop(host, None)
        self._heard[host] = time.monotonic()
        if answer["term"] > self._state.term:
            # Another one was made primary while this one was away; it will tell.
            self._state.primary = None

    async def keep_telling(self) -> None:
        """The primary's heartbeat. A new member becomes a voting one by a reconfiguration of the server's own."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self.me and self._state.primary == self.me:
                await self.tell()
                config = self._state.config
                if config and config.get("newlyAdded"):
                    self._state.config = {key: value for key, value in config.items() if key != "newlyAdded"}
                    self._state.config["version"] += 1
                    self._state.save()
