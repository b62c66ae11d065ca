"""Users and API keys, from the configuration and from the database, kept in memory by ``sync``."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from dataclasses import replace

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_participant_id, new_secret
from runtime.protocol.errors import ServiceError

from .config import Access
from .domain.access import KEY, SCOPES, USER, Principal
from .domain.accounts import ApiKey, User
from .store.errors import DuplicateError
from .store.store import Store

KEY_PREFIX = "ps_"
_PASSWORD_CHARACTERS = (8, 1024)


class Accounts:
    """Configured users and keys win over stored ones of the same name and cannot be changed here."""

    def __init__(self, store: Store, access: Access, clock: Clock) -> None:
        self._store, self._access, self._clock = store, access, clock
        self._users: dict[str, User] = {}
        self._keys: dict[str, ApiKey] = {}  # by id
        self._by_hash: dict[str, str] = {}  # sha256 -> id
        self._removed: dict[str, int] = {}  # user removed here -> version, while a read from before may be under way
        self._hasher = PasswordHasher()
        # Verified in place of an unknown user's, so that both answers take the same time.
        self._decoy = self._hasher.hash(new_secret())
        # Each verification takes 64 MiB and tens of milliseconds.
        self._verifying = asyncio.Semaphore(2)

    # --- the view ---

    # A record that was read before a change of ours and arrives after it must not undo what is known here.

    def put_user(self, user: User) -> None:
        known = self._users.get(user.name)
        if user.version > max(known.version if known else 0, self._removed.get(user.name, 0)):
            self._users[user.name] = user

    def put_key(self, key: ApiKey) -> None:
        known = self._keys.get(key.id)
        if known is None or known.version < key.version:
            self._keys[key.id] = key
            self._by_hash[key.sha256] = key.id

    def keep_only(self, users: set[str], keys: set[str], read_ms: int) -> None:
        """Forget what the database did not have at ``read_ms``."""
        for user in [user for user in self._users.values() if user.name not in users and user.changed_ms < read_ms]:
            del self._users[user.name]
        for key in [key for key in self._keys.values() if key.id not in keys and key.changed_ms < read_ms]:
            del self._keys[key.id]
            self._by_hash.pop(key.sha256, None)
        self._removed = {name: version for name, version in self._removed.items() if name in users}

    @property
    def users(self) -> list[User]:
        return [user for _, user in sorted(self._users.items())]

    @property
    def keys(self) -> list[ApiKey]:
        return sorted(self._keys.values(), key=lambda key: (key.created_ms, key.id))

    @property
    def any_users(self) -> bool:
        return bool(self._access.users or self._users)

    # --- principals ---

    def principal(self, name: str, issued_ms: int) -> Principal | None:
        """Who signed in as ``name`` at ``issued_ms``; None when that no longer holds."""
        configured = self._access.users.get(name)
        if configured is not None:
            return Principal(
                id=f"{USER}:{name}",
                kind=USER,
                name=configured.display_name or name,
                groups=frozenset(configured.groups),
                admin=configured.admin,
            )
        user = self._users.get(name)
        # Cookies carry whole seconds.
        if user is None or user.disabled or issued_ms + 999 < user.valid_from_ms:
            return None
        return Principal(
            id=f"{USER}:{name}",
            kind=USER,
            name=user.display_name or name,
            groups=frozenset(user.groups),
            admin=user.admin,
        )

    def by_key(self, key: str) -> Principal | None:
        """Whose API key it is."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        for name, configured in self._access.api_keys.items():
            if hmac.compare_digest(configured.sha256, digest):
                return _program(name, name, configured.scopes, configured.groups)
        found = self._keys.get(self._by_hash.get(digest, ""))
        if found is None or not found.holds(self._clock.now_ms()):
            return None
        return _program(found.id, found.name, found.scopes, found.groups)

    async def sign_in(self, name: str, password: str) -> Principal:
        """Raise ``sign_in_failed``, the same for a wrong name and a wrong password."""
        configured, stored = self._access.users.get(name), self._users.get(name)
        known = configured.password_hash if configured else stored.password_hash if stored else self._decoy
        async with self._verifying:
            matches = await asyncio.to_thread(self._verify, known, password)
        principal = self.principal(name, self._clock.now_ms())
        if not matches or principal is None:
            raise ServiceError("sign_in_failed")
        return principal

    def _verify(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            return False

    # --- changes ---

    async def put(
        self,
        name: str,
        *,
        password: str | None,
        display_name: str,
        groups: tuple[str, ...],
        admin: bool,
        disabled: bool,
    ) -> User:
        """Create or change a user; raise ``bad_request`` for what cannot be."""
        if name in self._access.users:
            raise ServiceError("conflict", "This user is in the configuration file; change it there.")
        least, most = _PASSWORD_CHARACTERS
        if password is not None and not least <= len(password) <= most:
            raise ServiceError("bad_request", f"A password has {least} to {most} characters.")
        password_hash = await asyncio.to_thread(self._hasher.hash, password) if password is not None else None
        now = self._clock.now_ms()
        wanted = User(
            name=name,
            password_hash=password_hash or "",
            display_name=display_name,
            groups=groups,
            admin=admin,
            disabled=disabled,
            valid_from_ms=now,
            created_ms=now,
        )

        def decide(old: User) -> User:
            return replace(
                wanted,
                password_hash=password_hash or old.password_hash,
                valid_from_ms=now if password_hash else old.valid_from_ms,
                created_ms=old.created_ms,
                version=old.version,
            )

        user, _ = await self._store.users.change(name, decide)
        if user is None:
            if password_hash is None:
                raise ServiceError("bad_request", "A new user needs a password.")
            try:
                # Above the version of a user of this name who was removed and whom others still remember.
                user = await self._store.users.insert(replace(wanted, version=now))
            except DuplicateError:
                raise ServiceError("conflict") from None
        self.put_user(user)
        return user

    async def remove(self, name: str) -> bool:
        # Disabled first: that is a change which other instances hear of at once.
        last, _ = await self._store.users.change(
            name, lambda old: None if old.disabled else replace(old, disabled=True)
        )
        removed = await self._store.users.delete(name)
        if last is not None:
            self._removed[name] = last.version
        self._users.pop(name, None)
        return removed

    async def new_key(
        self, name: str, *, scopes: tuple[str, ...], groups: tuple[str, ...], by: str, valid_seconds: float | None
    ) -> tuple[ApiKey, str]:
        """A key's record and the key itself, which is shown only now."""
        unknown = set(scopes) - set(SCOPES)
        if unknown or not scopes:
            raise ServiceError("bad_request", f"scopes are some of {', '.join(SCOPES)}.")
        text = KEY_PREFIX + new_secret()
        now = self._clock.now_ms()
        key = await self._store.api_keys.insert(
            ApiKey(
                id=new_participant_id(),
                name=name,
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                scopes=scopes,
                groups=groups,
                created_by=by,
                created_ms=now,
                expires_ms=now + int(valid_seconds * 1000) if valid_seconds else None,
            )
        )
        self.put_key(key)
        return key, text

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Raise ``not_found``. Other instances stop believing it within a second."""
        now = self._clock.now_ms()
        key, _ = await self._store.api_keys.change(
            key_id, lambda old: None if old.revoked_ms is not None else replace(old, revoked_ms=now)
        )
        if key is None:
            raise ServiceError("not_found")
        self.put_key(key)
        return key


def _program(key_id: str, name: str, scopes: tuple[str, ...], groups: tuple[str, ...]) -> Principal:
    return Principal(
        id=f"{KEY}:{key_id}",
        kind=KEY,
        name=name,
        groups=frozenset(groups),
        admin="admin" in scopes,
        scopes=frozenset(scopes),
    )
