"""The public server: ``/player`` for Epic's page or ours, ``/room`` for people, ``/healthz``."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from runtime.chassis.web import JsonHandler
from runtime.protocol import room as wire
from runtime.protocol import signalling as sig
from runtime.protocol.control import JoinClaims
from runtime.protocol.errors import ERRORS, ServiceError
from runtime.protocol.room import CloseCode

from .admission import origin_allowed
from .players import Player
from .session import Session
from .socket import JsonSocket

logger = logging.getLogger(__name__)
_CLOSE_CODES = {
    "session_full": CloseCode.FULL,
    "session_locked": CloseCode.FULL,
    "session_ended": CloseCode.SESSION_OVER,
    "kicked": CloseCode.KICKED,
}


class PublicSocket(JsonSocket):
    """Checks where the page comes from before anything else."""

    def initialize(self, session: Session) -> None:
        self.session = session
        self.setup(session.config.limits, session.clock, session.socket_counters)

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        # Tornado would answer bad UTF-8 with 400 and log the value, which may be most of a token.
        return value.decode("utf-8", "replace")

    def prepare(self) -> Any:
        super().prepare()
        origin = self.request.headers.get("Origin")
        if not origin_allowed(origin, self.request.host, self.session.config.allowed_origins):
            logger.warning("refused a page of origin %r", origin)
            raise ServiceError("origin_refused")


class PlayerSocket(PublicSocket):
    """Epic's player side. The token is judged before the upgrade, so that ``config`` (it may carry TURN credentials)
    is told to nobody without one."""

    messages = sig.FROM_PLAYER
    what = "a player"
    claims: JoinClaims
    player: Player | None = None

    def initialize(self, session: Session) -> None:
        limits = session.config.limits
        self.message_rate = (limits.player_messages_per_second, float(limits.player_messages_burst))
        super().initialize(session)

    def prepare(self) -> Any:
        super().prepare()
        self.claims = self.session.gate.identify(self.get_query_argument("token", ""))
        if self.session.room.seats.is_kicked(self.claims.participant_id):
            raise ServiceError("kicked")

    def opened(self) -> None:
        self.session.opened(self)
        try:
            self.player = self.session.add_player(self, self.claims)
        except ServiceError as error:
            # The page shows this sentence and does not try again by itself.
            self.send(sig.to_json_object(sig.SubscribeFailed(message=f"{error.message} {error.fix}")))
            self.shut(_CLOSE_CODES.get(error.code, CloseCode.REFUSED), error.message)
            return
        self.what = f"player {self.player.player_id}"
        logger.info("%s of participant %s connected", self.what, self.claims.participant_id)

    async def received(self, message: sig.Message) -> None:
        if self.player is None:
            return
        try:
            await self.session.stage.players.receive(self.player, message, self.clock.monotonic())
        except ServiceError as error:
            self.count_bad(error, message.TYPE)

    def refuse(self, error: ServiceError, about: str | None) -> None:
        self.send(sig.to_json_object(sig.Error(code=error.code, message=error.message)))

    def gone(self, code: int | None) -> None:
        self.session.gone(self)
        if self.player is not None:
            logger.info("%s disconnected (%s)", self.what, code or "no close code")
            self.session.stage.drop_player(self.player)


class RoomSocket(PublicSocket):
    """A page's connection to the people of the session. Its first message is ``hello``, with the token."""

    messages = wire.FROM_CLIENT
    what = "a room page"
    participant_id = ""
    _hello_deadline: asyncio.TimerHandle | None = None

    def initialize(self, session: Session) -> None:
        limits = session.config.limits
        self.message_rate = (limits.room_messages_per_second, float(limits.room_messages_burst))
        super().initialize(session)

    @property
    def max_message_size(self) -> int:
        return self.limits.room_message_bytes

    def opened(self) -> None:
        self.session.opened(self)
        loop = asyncio.get_running_loop()
        self._hello_deadline = loop.call_later(
            self.limits.hello_deadline_seconds, self.shut, CloseCode.REFUSED, "No hello came."
        )

    async def received(self, message: wire.FromClient) -> None:
        if isinstance(message, wire.Ping):
            self._tell(wire.Pong(time=message.time))
        elif self.participant_id:
            if isinstance(message, wire.Hello):
                raise ServiceError("bad_message", "You have said hello already.")
            self.session.room_message(self, message)
        elif isinstance(message, wire.Hello):
            self._hello(message)
        else:
            raise ServiceError("unauthenticated", "Say hello first.")

    def _hello(self, hello: wire.Hello) -> None:
        try:
            if hello.version != wire.VERSION:
                raise ServiceError("bad_message", f"This relay speaks version {wire.VERSION} of the room protocol.")
            claims = self.session.gate.identify(hello.token, hello.resume or "")
            self.session.enter_room(self, claims, hello.name)
        except ServiceError as error:
            self.refuse(error, wire.Hello.TYPE)
            self.shut(_CLOSE_CODES.get(error.code, CloseCode.REFUSED), error.message)
            return
        self.what = f"room page of {self.participant_id}"
        self._end_hello_deadline()

    def unknown(self, kind: str) -> None:
        super().unknown(kind)
        self.refuse(ServiceError("unknown_message"), kind)

    def refuse(self, error: ServiceError, about: str | None) -> None:
        fix = error.fix if error.code in ERRORS else ""
        self._tell(wire.Error(code=error.code, message=error.message, fix=fix, about=about))

    def _tell(self, message: wire.ToClient) -> None:
        self.send(wire.to_json_object(message))

    def _end_hello_deadline(self) -> None:
        if self._hello_deadline is not None:
            self._hello_deadline.cancel()
            self._hello_deadline = None

    def gone(self, code: int | None) -> None:
        self.session.gone(self)
        self._end_hello_deadline()
        if self.participant_id:
            self.session.leave_room(self, said_goodbye=code == CloseCode.LEFT)


class HealthHandler(JsonHandler):
    """Whether this process serves; says nothing about the session."""

    def get(self) -> None:
        self.write_json({"status": "ok"})
