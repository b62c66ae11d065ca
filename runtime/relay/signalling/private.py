"""The private server on loopback: the streamer's socket, and what the session server asks."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from typing import Any

from runtime.chassis.web import JsonHandler, MetricsHandler
from runtime.protocol import signalling as sig
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import EndReason

from .session import Session
from .socket import JsonSocket
from .statistics import session_statistics

logger = logging.getLogger(__name__)
_LONGEST_WAIT_SECONDS = 60.0


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode("utf-8"))


class StreamerSocket(JsonSocket):
    """Epic's streamer side. Whoever knows the secret is the streamer; the newest connection wins."""

    messages = sig.FROM_STREAMER
    what = "the streamer"

    def initialize(self, session: Session) -> None:
        self.session = session
        limits = session.config.limits
        self.message_rate = (limits.player_messages_per_second, float(limits.player_messages_burst))
        self.setup(limits, session.clock, session.socket_counters)

    def prepare(self) -> Any:
        super().prepare()
        if not _same(self.path_args[0], self.session.config.streamer_secret):
            raise ServiceError("not_found")

    def opened(self) -> None:
        self.session.opened(self)
        self.session.stage.upstream.connect(self, self.clock.monotonic())

    async def received(self, message: sig.Message) -> None:
        try:
            await self.session.stage.upstream.receive(self, message, self.clock.monotonic())
        except ServiceError as error:
            logger.warning("the streamer's %s: %s", message.TYPE, error.message)
            self.count_bad(error, message.TYPE)

    def refuse(self, error: ServiceError, about: str | None) -> None:
        # Streamers have no message for this; the log is where their makers look.
        logger.info("a message of the streamer was refused: %s", error.message)

    def gone(self, code: int | None) -> None:
        self.session.gone(self)
        self.session.stage.upstream.disconnect(self)


class PrivateHandler(JsonHandler):
    """Needs the bearer secret that only this relay and its session server know."""

    def initialize(self, session: Session) -> None:
        self.session = session

    def prepare(self) -> Any:
        super().prepare()
        check_bearer(self, self.session.config.private_secret)


def check_bearer(handler: JsonHandler, secret: str) -> None:
    """Raise ``ServiceError`` ``unauthenticated``."""
    scheme, _, given = handler.request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not _same(given.strip(), secret):
        raise ServiceError("unauthenticated")


class StatusHandler(PrivateHandler):
    """``GET /private/status[?seen=<version>&wait_seconds=25]``."""

    async def get(self) -> None:
        seen = self.get_query_argument("seen", None)
        try:
            version = int(seen) if seen is not None else None
            wait = float(self.get_query_argument("wait_seconds", "25"))
        except ValueError:
            raise ServiceError("bad_request", "seen and wait_seconds are numbers.") from None
        if version is not None:
            status = await self.session.board.after(version, max(0.0, min(wait, _LONGEST_WAIT_SECONDS)))
        else:
            self.session.update_status()
            status = await self.session.board.after(None, 0.0)
        self.write_json(status)


class StatisticsHandler(PrivateHandler):
    """``GET /private/statistics``: the stream and everybody who watches it, now."""

    def get(self) -> None:
        stage, seats = self.session.stage, self.session.room.seats

        def name_of(participant_id: str) -> str:
            seat = seats.get(participant_id)
            return "" if seat is None else seat.name

        self.write_json(session_statistics(stage.media.stats(), stage.player_owners(), name_of))


@dataclass(frozen=True, kw_only=True)
class EndTimeRequest:
    seconds_left: float


class EndTimeHandler(PrivateHandler):
    """``POST /private/end-time {"seconds_left": 3600}``: the session is over then, instead of by its length."""

    def post(self) -> None:
        self.session.end_in(self.body_as(EndTimeRequest).seconds_left)
        self.write_json(self.session.board.now, 202)


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    reason: EndReason
    message: str | None = None


class StopHandler(PrivateHandler):
    """``POST /private/stop {"reason": "owner_ended"}``."""

    def post(self) -> None:
        wanted = self.body_as(StopRequest)
        self.session.end(wanted.reason, wanted.message)
        self.session.board.end_was_read.set()  # who asks for the end knows of it
        self.write_json(self.session.board.now, 202)


class RelayMetricsHandler(MetricsHandler):
    def initialize(self, registry: Any, session: Session) -> None:  # type: ignore[override]
        super().initialize(registry)
        self._session = session

    def prepare(self) -> Any:
        super().prepare()
        check_bearer(self, self._session.config.private_secret)
