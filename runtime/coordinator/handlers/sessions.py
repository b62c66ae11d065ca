"""Sessions and invitations."""

from __future__ import annotations

import msgspec

from runtime.coordinator.admission import Wish
from runtime.coordinator.domain.access import may_end, may_start, owns, standing_role
from runtime.coordinator.domain.model import Session
from runtime.coordinator.render import Json, ice_json, invite_json, session_json
from runtime.coordinator.selection import SessionSelection, cursor_of, states_of
from runtime.coordinator.store.errors import StoreUnavailableError
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason, Role, SessionState

from .base import ViewerHandler
from .paging import limit_of


class SessionRequest(msgspec.Struct):
    title: str
    wait: bool = False


class JoinRequest(msgspec.Struct):
    invite: str | None = None
    name: str | None = None


class ExtendRequest(msgspec.Struct):
    seconds: float | None = None


class InviteRequest(msgspec.Struct):
    role: Role
    expires_in_seconds: float | None = None
    label: str = ""


class SessionsBase(ViewerHandler):
    """Reading and showing sessions."""

    def show(self, session: Session) -> Json:
        """The session as this principal sees it."""
        queue = None
        if session.state is SessionState.QUEUED:
            queue = self.service.queueing.position(session)
            if owns(self.principal, session):
                self.service.queueing.saw(session.id)
        return session_json(session, self.role(session), queue, admin=self.principal.admin)

    def role(self, session: Session) -> Role | None:
        participant = self.service.identity.participant(session.id, self.principal.id)
        member = session.members.get(participant)
        return standing_role(self.principal, session, member, self.service.clock.now_ms())

    async def owned(self, session_id: str) -> Session:
        """A session that the principal may change; raise ``session_not_found`` or ``forbidden``."""
        session = await self.service.rooms.session(session_id)
        if not may_end(self.principal, session):
            raise ServiceError("forbidden")
        return session

    async def note_for_others(self, action: str, session: Session, **details: str) -> None:
        """What an administrator does to somebody else's session stands in the audit log."""
        if not owns(self.principal, session):
            await self.note(action, session.id, **details)


class SessionsHandler(SessionsBase):
    async def get(self) -> None:
        self.require("sessions:read")
        limit = limit_of(self)
        found = await self._find(self._selection(), limit + 1)
        self.warn_if_stale()
        page = found[:limit]
        following = f"{page[-1].created_ms}-{page[-1].id}" if len(found) > limit else None
        # What this process knows may be newer than what was just read.
        known = self.service.fleet.sessions
        newest = [max(known.get(s.id, s), s, key=lambda each: each.version) for s in page]
        self.write_json({"items": [self.show(session) for session in newest], "next": following})

    async def _find(self, selection: SessionSelection, limit: int) -> list[Session]:
        try:
            return await self.service.store.sessions.find(
                selection.query(), sort=(("created_ms", -1), ("_id", -1)), limit=limit
            )
        except StoreUnavailableError:
            known = [session for session in self.service.fleet.sessions.values() if selection.matches(session)]
            return sorted(known, key=lambda session: (session.created_ms, session.id), reverse=True)[:limit]

    def _selection(self) -> SessionSelection:
        mine = self.get_query_argument("mine", "false") in ("true", "1") or not self.principal.admin
        return SessionSelection(
            owner=self.principal.id if mine else "",
            title=self.get_query_argument("title", ""),
            host=self.get_query_argument("host", ""),
            states=states_of(self.get_query_argument("state", "")),
            after=cursor_of(self.get_query_argument("cursor", "")),
        )

    async def post(self) -> None:
        self.require("sessions:write")
        wanted = self.body_as(SessionRequest)
        title = self.service.fleet.titles.get(wanted.title)
        if title is None or title.retired:
            raise ServiceError("title_not_found")
        if not may_start(self.principal, title):
            raise ServiceError("forbidden", "This title is for others.")
        wish = Wish(title=title, owner=self.principal.owner(), wait=wanted.wait)
        session = await self._create(wish)
        self.set_header("Location", f"/api/v1/sessions/{session.id}")
        self.write_json(self.show(session), 201)

    async def _create(self, wish: Wish) -> Session:
        key = self.request.headers.get("Idempotency-Key")
        if key is None:
            self._check_limits()
            return await self.service.admission.create(wish)
        idempotency = self.service.idempotency
        session_id, claim = await idempotency.claim(
            self.principal.id, key, self.request.body, self.service.store.sessions.get
        )
        if claim is None:
            return await self.service.rooms.session(session_id)
        try:
            self._check_limits()
            session = await self.service.admission.create(wish, session_id)
            if session.id != session_id:
                await idempotency.settle(claim, session.id)
            return session
        except ServiceError:
            await idempotency.release(claim)
            raise

    def _check_limits(self) -> None:
        most = self.service.config.sessions.per_viewer
        live = [s for s in self.service.fleet.owned_by(self.principal.id) if not s.is_final]
        if most and len(live) >= most and not self.principal.admin and self.principal.scopes is None:
            raise ServiceError("session_limit", details={"sessions": [s.id for s in live], "most": most})
        self.count_create()


class SessionHandler(SessionsBase):
    public = True  # guests follow the session that they were invited to

    async def get(self, session_id: str) -> None:
        self.require("sessions:read")
        self.warn_if_stale()
        self.write_json(self.show(await self.service.rooms.session(session_id)))

    async def delete(self, session_id: str) -> None:
        self.require("sessions:write")
        session = await self.owned(session_id)
        if session.state is SessionState.QUEUED:
            reason = EndReason.QUEUE_LEFT
        elif owns(self.principal, session):
            reason = EndReason.OWNER_ENDED
        else:
            reason = EndReason.ADMIN_ENDED
        await self.note_for_others("session.end", session)
        self.write_json(self.show(await self.service.lifecycle.end(session_id, reason)), 202)


class ExtendHandler(SessionsBase):
    async def post(self, session_id: str) -> None:
        self.require("sessions:write")
        wanted = self.body_as(ExtendRequest) if self.request.body else ExtendRequest()
        session = await self.owned(session_id)
        await self.note_for_others("session.extend", session)
        extended = await self.service.extension.extend(session, wanted.seconds, without_bounds=self.principal.admin)
        self.write_json(self.show(extended))


class JoinHandler(SessionsBase):
    public = True

    async def post(self, session_id: str) -> None:
        self.require("sessions:write")
        wanted = self.body_as(JoinRequest) if self.request.body else JoinRequest()
        if self.principal.admin and wanted.invite is None:
            await self._note_watching(session_id)
        entry = await self.service.rooms.join(session_id, self.principal, link=wanted.invite, name=wanted.name)
        self.write_json(
            {
                "role": entry.role,
                "participant": entry.participant,
                "token": entry.token,
                "expires_at": entry.expires_ms,
                "player_url": entry.player_url,
                "room_url": entry.room_url,
                "ice_servers": ice_json(entry.ice_servers),
            }
        )

    async def _note_watching(self, session_id: str) -> None:
        """An administrator may watch any session, but not without a trace."""
        session = await self.service.rooms.session(session_id)
        participant = self.service.identity.participant(session.id, self.principal.id)
        if participant not in session.members:
            await self.note_for_others("session.watch", session)


class InvitesHandler(SessionsBase):
    async def get(self, session_id: str) -> None:
        self.require("sessions:read")
        session = await self.owned(session_id)
        items = [invite_json(key, invite, session) for key, invite in session.invites.items()]
        items.sort(key=lambda item: (item["created_at"], item["id"]))
        self.write_json({"items": items, "next": None})

    async def post(self, session_id: str) -> None:
        self.require("sessions:write")
        wanted = self.body_as(InviteRequest)
        session = await self.owned(session_id)
        await self.note_for_others("invite.create", session, role=wanted.role)
        invite_id, invite, session, url = await self.service.rooms.invite(
            session, wanted.role, valid_seconds=wanted.expires_in_seconds, label=wanted.label
        )
        self.write_json(invite_json(invite_id, invite, session, url), 201)


class InviteHandler(SessionsBase):
    async def delete(self, session_id: str, invite_id: str) -> None:
        self.require("sessions:write")
        session = await self.owned(session_id)
        await self.note_for_others("invite.revoke", session, invite=invite_id)
        invite, session = await self.service.rooms.revoke(session, invite_id)
        self.write_json(invite_json(invite_id, invite, session))


class InvitePreviewHandler(SessionsBase):
    public = True

    async def get(self, link: str) -> None:
        invite, found = await self.service.rooms.find(link)
        title = self.service.fleet.titles.get(found.title)
        if title is None:
            raise ServiceError("session_ended")
        session = found if isinstance(found, Session) else None
        booking = self.service.fleet.bookings.get((session.booking or "") if session else found.id)
        self.write_json(
            {
                "session_id": session.id if session else None,
                "role": invite.role,
                "title": self.service.catalogue.show(title, self.principal),
                "owner_name": found.owner.name if found.owner else "",
                "state": session.state if session else None,
                "expires_at": invite.expires_ms,
                "starts_at": booking.start_ms if booking else None,
                "ends_at": booking.end_ms if booking else None,
            }
        )
