"""Entering a session: invitations, roles, tokens, addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_secret
from runtime.chassis.tokens import TokenSigner
from runtime.protocol.control import IceServer
from runtime.protocol.errors import ServiceError
from runtime.protocol.ids import is_session_id
from runtime.protocol.states import Role

from .config import CoordinatorConfig
from .domain.access import Principal, owns, standing_role
from .domain.booking import Booking
from .domain.model import Host, Invite, Member, Session
from .domain.session import joinable
from .fleet import Fleet
from .hosts import edge_address
from .identity import Identity
from .invitations import clean, invite_id_of, match, new_invite
from .lifecycle import Change, Lifecycle
from .store.records import Records

logger = logging.getLogger(__name__)
_INVITES = 200
_MEMBERS = 1000
_NAME_CHARACTERS = 40


@dataclass(frozen=True)
class Entry:
    """A way in. ``expires_ms`` is the token's."""

    role: Role
    participant: str
    token: str
    expires_ms: int
    player_url: str
    room_url: str
    ice_servers: tuple[IceServer, ...]


class Rooms:
    """Invitations live in the session's record, keyed by a part of the hash of their secret."""

    def __init__(
        self,
        config: CoordinatorConfig,
        fleet: Fleet,
        lifecycle: Lifecycle,
        identity: Identity,
        signer: TokenSigner,
        bookings: Records[Booking],
        clock: Clock,
    ) -> None:
        self._bookings = bookings
        self._config, self._fleet, self._lifecycle = config, fleet, lifecycle
        self._identity, self._signer, self._clock = identity, signer, clock

    # --- invitations ---

    async def invite(
        self, session: Session, role: Role, *, valid_seconds: float | None, label: str
    ) -> tuple[str, Invite, Session, str]:
        """A new invitation: its id, its record, the session, and its link, which is shown only now."""
        secret = new_secret()
        now = self._clock.now_ms()
        seconds = valid_seconds or self._config.sessions.invite_seconds
        invite_id, record = new_invite(secret, role, now, now + int(seconds * 1000), label)

        def decide(current: Session) -> Session | None:
            if current.is_final:
                raise ServiceError("session_ended")
            kept = {key: old for key, old in current.invites.items() if old.revoked_ms is None and old.expires_ms > now}
            if len(kept) >= _INVITES:
                raise ServiceError("conflict", f"The session has {_INVITES} invitations already. Withdraw some.")
            return replace(current, invites={**kept, invite_id: record})

        changed = await self._change(session.id, decide)
        return invite_id, record, changed, f"{self._config.public_url}/join/{session.id}-{secret}"

    async def revoke(self, session: Session, invite_id: str) -> tuple[Invite, Session]:
        """Raise ``invite_not_found``. Repeating it does no harm."""

        def decide(current: Session) -> Session | None:
            found = current.invites.get(invite_id)
            if found is None:
                raise ServiceError("invite_not_found")
            if found.revoked_ms is not None:
                return None
            withdrawn = replace(found, revoked_ms=self._clock.now_ms())
            return replace(current, invites={**current.invites, invite_id: withdrawn})

        changed = await self._change(session.id, decide)
        return changed.invites[invite_id], changed

    async def find(self, link: str) -> tuple[Invite, Session | Booking]:
        """What the last part of an invitation's link stands for: a session, or a booking that is not open yet.

        Raise ``invite_not_found``, ``invite_revoked``, ``invite_expired`` or ``session_ended``.
        """
        named, _, secret = link.partition("-")
        if not is_session_id(named) or not secret:
            raise ServiceError("invite_not_found")
        booking = self._fleet.bookings.get(named)
        if booking is None or (booking.session is None and invite_id_of(secret) not in booking.invites):
            booking = await self._bookings.get(named)
        if booking is not None and booking.session is None:
            if booking.is_final:
                raise ServiceError("session_ended")
            return match(booking.invites, secret, self._clock.now_ms())[1], booking
        session = await self._inviting(booking.session if booking and booking.session else named, secret)
        found = match(session.invites, secret, self._clock.now_ms())[1]
        if session.is_final:
            raise ServiceError("session_ended")
        return found, session

    async def _inviting(self, session_id: str, secret: str) -> Session:
        """The session as the view has it, or by the database when the view lacks the invitation: another instance may
        have made it a moment ago."""
        session = await self.session(session_id, missing="invite_not_found")
        if invite_id_of(secret) not in session.invites:
            session = await self.session(session_id, missing="invite_not_found", fresh=True)
        return session

    # --- entering ---

    async def join(self, session_id: str, principal: Principal, *, link: str | None, name: str | None) -> Entry:
        """A token for ``principal``; raise ``forbidden``, an ``invite_...`` code, ``session_ended`` or
        ``session_not_ready``."""
        session = await (self._inviting(session_id, link.partition("-")[2]) if link else self.session(session_id))
        participant = self._identity.participant(session_id, principal.id)
        shown = clean(name or "", _NAME_CHARACTERS) or clean(principal.name, _NAME_CHARACTERS)
        invited = self._invited(session, link) if link and not owns(principal, session) else None
        if invited is not None:
            role = invited[1].role
        else:
            standing = standing_role(principal, session, session.members.get(participant), self._clock.now_ms())
            if standing is None:
                raise ServiceError("session_ended" if session.is_final else "forbidden")
            role = standing
        if session.is_final:
            raise ServiceError("session_ended")
        if not joinable(session):
            # Another instance may know better.
            session = await self.session(session_id, fresh=True)
            if not joinable(session):
                raise ServiceError("session_not_ready", retry_after_seconds=1)
        if invited is not None:
            await self._remember(session, participant, invited[0], role, shown)
        return self._entry(session, participant, role, shown, principal)

    def _invited(self, session: Session, link: str) -> tuple[str, Invite]:
        named, _, secret = link.partition("-")
        if named not in (session.id, session.booking):
            raise ServiceError("invite_not_found")
        found = match(session.invites, secret, self._clock.now_ms())
        if session.is_final:
            raise ServiceError("session_ended")
        return found

    async def _remember(self, session: Session, participant: str, invite_id: str, role: Role, name: str) -> None:
        """So that a reload works without the link, as long as the invitation holds."""
        member = Member(role=role, name=name, invite=invite_id, joined_ms=self._clock.now_ms())

        def decide(current: Session) -> Session | None:
            known = current.members.get(participant)
            if known is not None and (known.role, known.invite) == (role, invite_id):
                return None
            if len(current.members) >= _MEMBERS:
                raise ServiceError("session_full")
            return replace(current, members={**current.members, participant: member})

        known = session.members.get(participant)
        if known is None or (known.role, known.invite) != (role, invite_id):
            await self._change(session.id, decide)

    def _entry(self, session: Session, participant: str, role: Role, name: str, principal: Principal) -> Entry:
        host = self._fleet.hosts.get(session.host or "")
        if host is None or session.port is None:
            raise ServiceError("host_unreachable", "The session's host is no longer in the registry.")
        seconds = int(self._config.sessions.token_seconds)
        # In the token, because it is the relay that tells Epic's pages, and a session outlives any credential.
        turn = turn_servers(self._config, self._clock, participant)
        token, expires = self._signer.sign(session.id, participant, role, name, seconds, turn)
        return Entry(
            role=role,
            participant=participant,
            token=token,
            expires_ms=expires * 1000,
            player_url=edge_address(host, session.port, "player"),
            room_url=edge_address(host, session.port, "room"),
            ice_servers=(*fixed_ice_servers(self._config), *turn),
        )

    # --- records ---

    async def session(self, session_id: str, *, missing: str = "session_not_found", fresh: bool = False) -> Session:
        """By the view, else (or with ``fresh``) by the database; raise ``missing``."""
        known = self._fleet.sessions.get(session_id)
        if known is None or fresh:
            known, _ = await self._lifecycle.change(session_id, lambda _: None)
        if known is None:
            raise ServiceError(missing)
        return known

    async def _change(self, session_id: str, decide: Change) -> Session:
        changed, _ = await self._lifecycle.change(session_id, decide)
        if changed is None:
            raise ServiceError("session_not_found")
        return changed


def fixed_ice_servers(config: CoordinatorConfig) -> tuple[IceServer, ...]:
    """Those of the configuration, the same for everybody."""
    return tuple(
        IceServer(urls=entry.urls, username=entry.username, credential=entry.credential) for entry in config.ice_servers
    )


def turn_servers(config: CoordinatorConfig, clock: Clock, who: str) -> tuple[IceServer, ...]:
    """TURN with a credential of ``who`` that expires (draft-uberti-behave-turn-rest-00)."""
    if config.turn is None:
        return ()
    username = f"{clock.now_ms() // 1000 + int(config.turn.ttl_seconds)}:{who}"
    digest = hmac.new(config.turn.secret.encode(), username.encode(), hashlib.sha1).digest()
    return (IceServer(urls=config.turn.urls, username=username, credential=base64.b64encode(digest).decode("ascii")),)


def edge_origins(hosts: Iterable[Host], most: int = 20) -> list[str]:
    """Sources for a content security policy's connect-src: where relays are. Many of them become their schemes."""
    found = set()
    for host in hosts:
        split = urlsplit(edge_address(host, 1, ""))
        port = ":*" if "{port}" in urlsplit(host.edge_url).netloc else f":{split.port}" if split.port else ""
        found.add(f"{split.scheme}://{split.hostname}{port}")
    if len(found) > most:
        return sorted({origin.split("//")[0] for origin in found})
    return sorted(found)
