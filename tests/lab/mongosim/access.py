"""Users, their roles, and what each role lets do. The localhost exception, as the server's source defines it."""

from __future__ import annotations

from typing import Any

from . import scram
from .errors import CommandError, NotModelledError, unauthorized

CLUSTER = "the cluster"
READ = {"find", "listCollections", "listIndexes", "collStats", "dbStats", "dbHash"}
WRITE = {"insert", "update", "remove", "createCollection", "dropCollection", "createIndex", "dropIndex"}
USERS = {"createUser", "dropUser", "viewUser", "changePassword", "grantRole", "revokeRole"}
SET = {"replSetConfigure", "replSetGetConfig", "replSetGetStatus", "replSetStateChange", "serverStatus"}
# Role: what it lets do in its own database, in every database, and to the cluster.
ROLES: dict[str, tuple[set[str], set[str], set[str]]] = {
    "read": (READ, set(), set()),
    "readWrite": (READ | WRITE, set(), set()),
    "userAdminAnyDatabase": (set(), USERS, {"listDatabases"}),
    "clusterAdmin": (set(), {"dropDatabase", "listCollections"}, SET | {"listDatabases"}),
    "backup": (set(), READ, {"listDatabases", "serverStatus"}),
    "restore": (set(), {"insert", "createCollection", "dropCollection", "createIndex", "listCollections"}, set()),
}
ONLY_IN_ADMIN = {"userAdminAnyDatabase", "clusterAdmin", "backup", "restore"}
# Of a connection that came over loopback, while there is no user. Creating a user also needs grantRole in admin.
LOCALHOST_ADMIN = {"createUser", "grantRole"}
LOCALHOST_CLUSTER = {"replSetConfigure", "replSetGetStatus"}

Role = dict[str, str]


def roles_of(database: str, wanted: list[Any]) -> list[Role]:
    """Return roles in their long form. Raise ``CommandError`` for one that there is not."""
    found = []
    for role in wanted:
        long = {"role": role, "db": database} if isinstance(role, str) else dict(role)
        if set(long) != {"role", "db"}:
            raise NotModelledError(f"a role with {sorted(long)}")
        if long["role"] not in ROLES:
            raise NotModelledError(f"the role {long['role']}")
        if long["role"] in ONLY_IN_ADMIN and long["db"] != "admin":
            raise CommandError(31, "RoleNotFound", f"Could not find role: {long['role']}@{long['db']}")
        found.append(long)
    return found


class Users:
    """What the collection ``admin.system.users`` holds: ``database.name`` to roles and what is kept of the password."""

    def __init__(self, documents: dict[str, dict[str, Any]]) -> None:
        self.documents = documents

    def create(self, database: str, name: str, password: str, roles: list[Any]) -> None:
        key = f"{database}.{name}"
        if key in self.documents:
            raise CommandError(51003, "Location51003", f'User "{name}@{database}" already exists')
        if not name or not password:
            raise CommandError(2, "BadValue", "User and password must not be empty")
        self.documents[key] = {
            "user": name,
            "db": database,
            "roles": roles_of(database, roles),
            "scram": scram.credentials(password),
        }

    def named(self, database: str, name: str) -> dict[str, Any]:
        try:
            return self.documents[f"{database}.{name}"]
        except KeyError:
            raise CommandError(11, "UserNotFound", f'Could not find user "{name}" for db "{database}"') from None

    def update(self, database: str, name: str, password: str | None, roles: list[Any] | None) -> None:
        user = self.named(database, name)
        if password is not None:
            user["scram"] = scram.credentials(password)
        if roles is not None:
            user["roles"] = roles_of(database, roles)

    def grant(self, database: str, name: str, roles: list[Any]) -> None:
        user = self.named(database, name)
        user["roles"] += [role for role in roles_of(database, roles) if role not in user["roles"]]

    def told(self, database: str, wanted: Any) -> list[dict[str, Any]]:
        """Return what ``usersInfo`` tells, without anything of the password."""
        if wanted == 1:
            found = [user for user in self.documents.values() if user["db"] == database]
        elif isinstance(wanted, str):
            found = [user for user in self.documents.values() if (user["db"], user["user"]) == (database, wanted)]
        elif isinstance(wanted, dict) and set(wanted) == {"user", "db"}:
            found = [
                user for user in self.documents.values() if (user["db"], user["user"]) == (wanted["db"], wanted["user"])
            ]
        else:
            raise NotModelledError(f"usersInfo of {wanted!r}")
        return [
            {"_id": f"{user['db']}.{user['user']}", "user": user["user"], "db": user["db"], "roles": user["roles"]}
            for user in found
        ]


class Caller:
    """Who speaks on a connection, and what he or she may do."""

    def __init__(self, users: Users, *, authorization: bool, loopback: bool) -> None:
        self._users, self._authorization, self._loopback = users, authorization, loopback
        # (database, name) of the login; a member of the set is ("local", "__system")
        self.login: tuple[str, str] | None = None

    @property
    def is_member(self) -> bool:
        return self.login == ("local", "__system")

    @property
    def exempt(self) -> bool:
        """The localhost exception: it ends for everybody with the first user."""
        return self._loopback and self.login is None and not self._users.documents

    def may(self, action: str, database: str) -> bool:
        """``database`` may be ``CLUSTER``."""
        if not self._authorization or self.is_member:
            return True
        if self.exempt:
            return action in (
                LOCALHOST_CLUSTER if database == CLUSTER else LOCALHOST_ADMIN if database == "admin" else ()
            )
        if self.login is None:
            return False
        user = self._users.documents.get(".".join(self.login))
        for role in user["roles"] if user else []:
            own, every, cluster = ROLES[role["role"]]
            if action in (cluster if database == CLUSTER else every | (own if role["db"] == database else set())):
                return True
        return False

    def must(self, database: str, *actions: str) -> None:
        """Raise ``CommandError`` unless all of it is allowed."""
        if not all(self.may(action, database) for action in actions):
            if self.login is None and self._authorization and not self.exempt:
                raise CommandError(13, "Unauthorized", "Command requires authentication")
            raise unauthorized(database)

    def must_grant(self, database: str, roles: list[Any]) -> None:
        for role in roles_of(database, roles):
            self.must(role["db"], "grantRole")
