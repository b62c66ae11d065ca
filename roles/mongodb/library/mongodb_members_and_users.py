"""Ansible module: the members of MongoDB's replica set, and its users."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.pixelstream_mongodb import (
    ANSWER_SECONDS,
    IMPORT_ERROR,
    PAUSE_SECONDS,
    Look,
    RefusedError,
    Server,
    accepts,
    fix_of,
    look_at,
    look_at_all,
    reason,
    wait,
)

if not IMPORT_ERROR:
    from pymongo.errors import OperationFailure, PyMongoError

DOCUMENTATION = r"""
module: mongodb_members_and_users
short_description: Form MongoDB's replica set and make its users
description:
  - Works on the set through whichever member is primary. A set that does not exist yet is begun on the one server that
    has users already, else on this one alone, so that nobody else can win the election before the first user is there.
    Members that lack are added one after the other. Needs MongoDB 5 or newer, and pymongo 3.11 or newer on the target.
  - Members that are in the set and not in O(members) are told of, and removed only if O(absent_members) says so.
author: pixelstream
options:
  local_address:
    description: Where this machine's server is reached over loopback, which allows to make the first user.
    type: str
    default: 127.0.0.1:27017
  replica_set:
    description: Name of the set. Empty means one server on its own.
    type: str
    default: ''
  member:
    description: Address of this machine's server in O(members).
    type: str
    default: ''
  members:
    description: Addresses of all members, each with its port.
    type: list
    elements: str
    default: []
  absent_members:
    description: What happens to members of the set that are not in O(members).
    type: str
    choices: [report, remove]
    default: report
  admin_password:
    description: Password of the user admin, who manages users and the set.
    type: str
    default: ''
  admin_password_before:
    description: The password that admin has now, where O(admin_password) is a new one.
    type: str
    default: ''
  users:
    description: The other users, each with user, password and roles (a list of role and db).
    type: list
    elements: dict
    default: []
    suboptions:
      user: {description: Name., type: str, required: true}
      password: {description: Password., type: str, required: true}
      roles: {description: Exactly the roles that the user has., type: list, elements: dict, required: true}
  ca_file:
    description: Authority of the servers' certificates. Empty means no TLS.
    type: str
    default: ''
  seconds:
    description: Deadline of each wait, such as for a primary.
    type: float
    default: 60.0
attributes:
  check_mode:
    support: full
"""

EXAMPLES = r"""
- name: One server
  mongodb_members_and_users:
    admin_password: "{{ vault_mongodb_admin_password }}"
    users:
      - {user: coordinator, password: "{{ vault_mongodb_coordinator_password }}", roles: [{role: readWrite, db: site}]}
"""

RETURN = r"""
changes:
  description: What was changed, or would be; no secrets.
  type: list
  returned: always
primary:
  description: The member through which this was done.
  type: str
  returned: always
absent:
  description: Members of the set that are not in the inventory.
  type: list
  returned: always
"""

ADMIN = "admin"
ADMIN_ROLES = [{"role": "userAdminAnyDatabase", "db": "admin"}, {"role": "clusterAdmin", "db": "admin"}]
OLDEST_WIRE_VERSION = 13  # MongoDB 5.0
UNAUTHORIZED, NO_SET, NOT_INITIALIZED, NOT_PRIMARY = 13, 76, 94, 10107
# "Not now": another reconfiguration is under way, or the server made one of its own meanwhile (newlyAdded).
RECONFIG_AGAIN = (103, 109, 308)
HEALTHY = (1, 2)  # PRIMARY, SECONDARY


class Work:
    """One run. ``changes`` grows with what is done, or in check mode would be."""

    def __init__(self, values: dict[str, Any], *, check: bool, warn: Callable[[str], None]) -> None:
        self._values, self._check, self._warn = values, check, warn
        self.changes: list[str] = []
        self.absent: list[str] = []
        self.primary = ""

    def server(self, address: str, user: str = "", password: str = "") -> Server:
        return Server(address, self._values["ca_file"], user, password)

    def look_at_all(self, addresses: list[str]) -> dict[str, Look]:
        return look_at_all(addresses, self._values["ca_file"])

    def accepts(self, address: str, user: str, password: str) -> bool:
        return accepts(address, self._values["ca_file"], user, password)

    def wait(self, ready: Callable[[], bool]) -> bool:
        return wait(ready, self._values["seconds"])

    def do(self, change: str, action: Callable[[], Any]) -> None:
        if not self._check:
            action()
        self.changes.append(change)

    # The way in

    def is_empty(self) -> bool:
        """Does this machine's server have no user? The exception for localhost, and only that, allows this question."""
        try:
            with self.server(self._values["local_address"]) as server:
                server.ask("replSetGetStatus")
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:
                return False
            if error.code not in (NO_SET, NOT_INITIALIZED):
                raise
        return True

    def password_at(self, address: str) -> str | None:
        """Return the password that admin has there, or None when it is neither of those we know."""
        for name in ("admin_password", "admin_password_before"):
            if self._values[name] and self.accepts(address, ADMIN, self._values[name]):
                return str(self._values[name])
        return None

    def wrong_password(self, address: str) -> RefusedError:
        return RefusedError(
            f"MongoDB at {address} has users, but refuses the password of admin that the vault has. If it was changed "
            "in the vault, put the one before into vault_mongodb_admin_password_before, and this run changes it in "
            "MongoDB; otherwise bring the right one back into vault_mongodb_admin_password."
        )

    # The set

    def find_or_begin_set(self) -> str:
        """Return the address of the primary; begin the set if there is none."""
        name, wanted = self._values["replica_set"], list(self._values["members"])
        looks = self.look_at_all(wanted)
        answers = {address: look for address, look in looks.items() if isinstance(look, dict)}
        for address, look in answers.items():
            must_be_new_enough(address, look)
            if look.get("setName", name) != name:
                raise RefusedError(
                    f"{address} is in the set {look['setName']}, not in {name}. Correct mongodb_replica_set."
                )
            if "setName" not in look and not look.get("isreplicaset"):
                raise RefusedError(
                    f"{address} runs without a replica set. Deploy to it as well: deploy.yml --tags mongodb without "
                    "--limit."
                )
        started = {address: look for address, look in answers.items() if "setName" in look}
        if started:
            return self.wait_for_primary(started)
        for address, look in looks.items():
            if isinstance(look, Exception):
                raise RefusedError(
                    f"Whether the set {name} exists cannot be told, as {address} does not answer: {reason(look)}. "
                    f"{fix_of(address, look)}"
                )
        return self.begin_set(wanted)

    def begin_set(self, members: list[str]) -> str:
        """Initiate with one member: who has data already, else this machine's."""
        own, name = self._values["member"], self._values["replica_set"]
        passwords = {address: self.password_at(address) for address in members}
        holders = [address for address in members if passwords[address] is not None]
        if len(holders) > 1:
            raise RefusedError(
                f"{' and '.join(holders)} each have users and data of their own, and only one can keep them. On the "
                "other machines: systemctl stop mongod, empty mongodb_data_directory, and run this again."
            )
        if not holders and not self.is_empty():
            raise self.wrong_password(own)
        chosen = holders[0] if holders else own
        login = (ADMIN, passwords[chosen] or "") if holders else ("", "")
        config = {"_id": name, "members": [{"_id": 0, "host": chosen}]}

        def initiate() -> None:
            with self.server(chosen if holders else self._values["local_address"], *login) as server:
                server.ask("replSetInitiate", config)
            if not self.wait(lambda: self.says_primary(chosen)):
                raise RefusedError(f"{chosen} did not become primary of {name}: see journalctl --unit=mongod there.")

        self.do(f"set {name} begun on {chosen}", initiate)
        return chosen

    def says_primary(self, address: str) -> bool:
        seen = look_at(address, self._values["ca_file"])
        return isinstance(seen, dict) and bool(seen.get("isWritablePrimary"))

    def wait_for_primary(self, started: dict[str, dict[str, Any]]) -> str:
        """Return the one primary that the members know; it need not be in the inventory."""
        known = sorted({host for look in started.values() for host in look.get("hosts", [])} | set(started))
        last: dict[str, Look] = dict(started)

        def primaries() -> list[str]:
            return sorted(
                {str(look["me"]) for look in last.values() if isinstance(look, dict) and look["isWritablePrimary"]}
            )

        def ready() -> bool:
            if not primaries():
                last.update(self.look_at_all(known))
            return bool(primaries())

        if not self.wait(ready):
            told = [
                f"{address}: {reason(look) if isinstance(look, Exception) else 'answers, and is not primary'}"
                for address, look in last.items()
            ]
            raise RefusedError(
                f"No member is primary after {self._values['seconds']:.0f} s ({'; '.join(told)}). A majority of the "
                "members must run and reach each other: systemctl status mongod on each of them."
            )
        if len(primaries()) > 1:
            raise RefusedError(
                f"{' and '.join(primaries())} are each primary, so there are two sets. On the one whose data is not "
                "needed: systemctl stop mongod, empty mongodb_data_directory, and run this again."
            )
        return primaries()[0]

    def correct_members(self, server: Server) -> None:
        """Tell of members that are no more in the inventory, or remove them; add who lacks, one after the other."""
        wanted = list(self._values["members"])
        present = [str(member["host"]) for member in server.ask("replSetGetConfig")["config"]["members"]]
        self.absent = [host for host in present if host not in wanted]
        missing = [host for host in wanted if host not in present]
        # First, so that one who is dead does not count when a majority is wanted for the next step.
        if self._values["absent_members"] == "remove":
            for host in list(self.absent):
                self.remove(server, host)
        elif self.absent:
            self._warn(
                f"{' and '.join(self.absent)}: in the set {self._values['replica_set']}, but not in the group mongodb. "
                "Run deploy.yml --tags mongodb -e mongodb_absent_members=remove, then stop mongod there for good; or "
                "put it back into hosts.yml."
            )
        for host, look in self.look_at_all(missing).items():
            if isinstance(look, Exception):
                raise RefusedError(f"{host} cannot be added: {reason(look)}. {fix_of(host, look)}")
            self.do(f"member {host} added", lambda host=host: self.reconfigure(server, add=host))  # type: ignore[misc]
        if missing and not self._check:
            self.wait_for_members(server, missing)

    def remove(self, server: Server, host: str) -> None:
        if host == server.address:
            raise RefusedError(
                f"{host} is primary. Stop mongod there, so that another member takes over, and run this again."
            )
        self.do(f"member {host} removed", lambda: self.reconfigure(server, remove=host))
        self.absent.remove(host)

    def reconfigure(self, server: Server, add: str = "", remove: str = "") -> None:
        """Write the configuration with one member more or less, on the newest version of it."""
        deadline, version = time.monotonic() + self._values["seconds"], 0
        while True:
            config = server.ask("replSetGetConfig")["config"]
            config["members"] = [member for member in config["members"] if member["host"] != remove]
            if add:
                number = max(int(member["_id"]) for member in config["members"]) + 1
                config["members"].append({"_id": number, "host": add})
            unchanged, version = version == config["version"], config["version"]
            config["version"] += 1
            try:
                server.ask("replSetReconfig", config, maxTimeMS=int(ANSWER_SECONDS * 2000))
            except OperationFailure as error:
                again = error.code in RECONFIG_AGAIN and not (error.code == RECONFIG_AGAIN[0] and unchanged)
                if again and time.monotonic() < deadline:
                    time.sleep(PAUSE_SECONDS)
                    continue
                what = f"{add} cannot be added" if add else f"{remove} cannot be removed"
                raise RefusedError(
                    f"{what}: {reason(error)}. If it has been in another set, or has another key file: systemctl stop "
                    "mongod there, empty mongodb_data_directory, and run deploy.yml --tags mongodb again."
                ) from None
            return

    def wait_for_members(self, server: Server, hosts: list[str]) -> None:
        """Wait until new members hold the data; what takes long is told, and goes on by itself."""
        states: dict[str, dict[str, Any]] = {}

        def ready() -> bool:
            states.update({member["name"]: member for member in server.ask("replSetGetStatus")["members"]})
            return all(states.get(host, {}).get("state") in HEALTHY for host in hosts)

        if self.wait(ready):
            return
        for host in hosts:
            member = states.get(host, {})
            if member.get("state") not in HEALTHY:
                self._warn(
                    f"{host} is {member.get('stateStr', 'unknown')} after {self._values['seconds']:.0f} s "
                    f"{member.get('lastHeartbeatMessage', '')}. If it copies the data, it goes on by itself; else see "
                    "journalctl --unit=mongod there."
                )

    # Users

    def first_user(self) -> None:
        """Make admin, as the exception for localhost allows while there is no user."""
        with self.server(self._values["local_address"]) as server:
            server.ask("createUser", ADMIN, pwd=self._values["admin_password"], roles=ADMIN_ROLES)

    def correct_admin(self, server: Server, password: str) -> None:
        """Give admin the vault's password, and the roles that lack."""
        if password != self._values["admin_password"]:
            self.do("password of admin", lambda: server.ask("updateUser", ADMIN, pwd=self._values["admin_password"]))
        has = server.ask("usersInfo", ADMIN)["users"][0]["roles"]
        lacking = [role for role in ADMIN_ROLES if role not in has]
        if lacking:
            self.do("roles of admin", lambda: server.ask("grantRolesToUser", ADMIN, roles=lacking))

    def correct_user(self, server: Server, user: dict[str, Any]) -> None:
        name, password, roles = user["user"], user["password"], user["roles"]
        found = server.ask("usersInfo", name)["users"]
        if not found:
            self.do(f"user {name} made", lambda: server.ask("createUser", name, pwd=password, roles=roles))
            return
        if _set_of(found[0]["roles"]) != _set_of(roles):
            self.do(f"roles of {name}", lambda: server.ask("updateUser", name, roles=roles))
        if not self.accepts(server.address, name, password):
            self.do(f"password of {name}", lambda: server.ask("updateUser", name, pwd=password))

    # All of it

    def configured(self) -> None:
        in_set, local = bool(self._values["replica_set"]), self._values["local_address"]
        if isinstance(seen := look_at(local, self._values["ca_file"]), Exception):
            raise RefusedError(f"MongoDB does not answer at {local}: {reason(seen)}. {fix_of(local, seen)}")
        must_be_new_enough(local, seen)
        self.primary = self.find_or_begin_set() if in_set else local
        here = self.primary in (local, self._values["member"])
        password = self.password_at(self.primary)
        if password is None:
            if not here or not self.is_empty():
                raise self.wrong_password(self.primary)
            self.do("user admin made", self.first_user)
            password = self._values["admin_password"]
        if self._check and self.changes:
            self.changes.append("what follows from that")  # there is nobody yet who could look
            return
        with self.server(self.primary, ADMIN, password) as server:
            self.correct_admin(server, password)
        with self.server(self.primary, ADMIN, password if self._check else self._values["admin_password"]) as server:
            for user in self._values["users"]:
                self.correct_user(server, user)
            if in_set:
                self.correct_members(server)


def _set_of(roles: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(role["role"], role["db"]) for role in roles}


def must_be_new_enough(address: str, look: dict[str, Any]) -> None:
    if look.get("maxWireVersion", 0) < OLDEST_WIRE_VERSION:
        raise RefusedError(f"MongoDB at {address} is older than 5.0. Install a newer one (mongodb_repository).")


def explained(error: Exception, address: str) -> str:
    """Say what a failure means that no step knew of."""
    code = (getattr(error, "details", None) or {}).get("code")
    if code == NOT_PRIMARY:  # the driver has a class of its own for it, with another name in each version
        return f"{address} is primary no more: another member took over meanwhile. Run this again."
    if code == UNAUTHORIZED:
        return f"admin may not do that at {address}: {reason(error)}. Give it userAdminAnyDatabase and clusterAdmin."
    if isinstance(error, OperationFailure):
        return f"MongoDB at {address} refused: {reason(error)}."
    return f"MongoDB at {address} stopped answering: {reason(error)}. {fix_of(address, error)}"


def argument_spec() -> dict[str, Any]:
    user = {
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "roles": {"type": "list", "elements": "dict", "required": True},
    }
    return {
        "local_address": {"type": "str", "default": "127.0.0.1:27017"},
        "replica_set": {"type": "str", "default": ""},
        "member": {"type": "str", "default": ""},
        "members": {"type": "list", "elements": "str", "default": []},
        "absent_members": {"type": "str", "choices": ["report", "remove"], "default": "report"},
        "admin_password": {"type": "str", "default": "", "no_log": True},
        "admin_password_before": {"type": "str", "default": "", "no_log": True},
        "users": {"type": "list", "elements": "dict", "default": [], "options": user},
        "ca_file": {"type": "str", "default": ""},
        "seconds": {"type": "float", "default": 60.0},
    }


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    if IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("python3-pymongo"), exception=IMPORT_ERROR)
    work = Work(module.params, check=module.check_mode, warn=module.warn)
    try:
        work.configured()
    except RefusedError as error:
        module.fail_json(msg=str(error), changes=work.changes)
    except PyMongoError as error:
        module.fail_json(msg=explained(error, work.primary or module.params["local_address"]), changes=work.changes)
    module.exit_json(changed=bool(work.changes), changes=work.changes, primary=work.primary, absent=work.absent)


if __name__ == "__main__":
    main()
