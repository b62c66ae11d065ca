"""``pixelstream relay --config FILE``: one session's signalling server, room and media plane in one process."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from runtime.chassis import log, metrics, web
from runtime.chassis.clock import Clock, SystemClock
from runtime.chassis.config import ConfigError
from runtime.chassis.lifecycle import stop_on_signals
from runtime.protocol.control import RelayReady
from runtime.relay.config import RelayConfig, load_relay_config
from runtime.relay.core.bandwidth import BandwidthPolicy
from runtime.relay.rtc.hub import MediaHub, MediaSettings
from runtime.relay.rtc.interface import MediaEvents, MediaStats
from runtime.relay.rtc.timing import MediaLoop, short_waits
from runtime.relay.rtc.voice import VoiceHub

from .signalling.private import (
    EndTimeHandler,
    RelayMetricsHandler,
    StatisticsHandler,
    StatusHandler,
    StopHandler,
    StreamerSocket,
)
from .signalling.public import HealthHandler, PlayerSocket, RoomSocket
from .signalling.session import Session
from .signalling.statistics import SessionCollector
from .signalling.status import write_json_file

logger = logging.getLogger(__name__)

EXIT_STOPPED, EXIT_BAD_CONFIG, EXIT_PORT_TAKEN = 0, 2, 98
# From the decision to end until the process is gone, at most two seconds (docs/architecture.md).
_GOODBYE_SECONDS = 0.4  # for close frames to be answered
_END_READ_SECONDS = 0.6  # for the session server to fetch the reason, when the relay decided itself
_CLOSE_SECONDS = 0.4
_ANY_PORT_TRIES = 20
_MAX_BODY_BYTES = 64 * 1024


class PortTakenError(Exception):
    """The port belongs to somebody else; the text says which and what to do."""


class Relay:
    """The composition root. The constructor does no input or output."""

    def __init__(self, config: RelayConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._servers: list[HTTPServer] = []
        self._port = 0
        self._hub: MediaHub
        self._voice: VoiceHub | None = None
        self.session: Session

    async def start(self) -> RelayReady:
        """Bind everything, tell the ready file. Raise :class:`PortTakenError`, ``OSError`` or ``ValueError``."""
        sockets = await self._bind()
        if self._config.policy.voice:
            self._voice = self.session.voice.plane = self._hub.open_voice(self.session.voice)
        registry = metrics.new_registry()
        registry.register(SessionCollector(_Figures(self.session), self._config.session_id))
        self._serve(sockets, _public_routes(self.session))
        try:
            private = bind_sockets(self._config.private_port, "127.0.0.1", family=socket.AF_INET)
        except OSError as error:
            raise _as_port_error(error, self._config.private_port, "private TCP") from None
        self._serve(private, _private_routes(self.session, registry))
        await self.session.start()
        ready = RelayReady(pid=os.getpid(), port=sockets[0].getsockname()[1], private_port=private[0].getsockname()[1])
        write_json_file(self._config.ready_file, ready)
        logger.info("listening on %s port %d", self._config.listen.address or "every address", ready.port)
        return ready

    async def _bind(self) -> list[socket.socket]:
        """Public TCP and UDP media on one number. With port 0 a number that is free for both is searched."""
        wanted = self._config.listen.port
        for _ in range(1 if wanted else _ANY_PORT_TRIES):
            try:
                sockets = bind_sockets(wanted, self._config.listen.address or None)
            except OSError as error:
                raise _as_port_error(error, wanted, "TCP") from None
            self._port = sockets[0].getsockname()[1]
            self.session = Session(self._config, self._clock, self._make_hub)
            try:
                await self._hub.start()
            except OSError as error:
                for bound in sockets:
                    bound.close()
                if wanted or error.errno != errno.EADDRINUSE:
                    raise _as_port_error(error, self._port, "UDP") from None
                continue
            return sockets
        raise PortTakenError("No number is free for both TCP and UDP. Name one as listen.port.")

    def _make_hub(self, events: MediaEvents) -> MediaHub:
        media, policy = self._config.media, self._config.policy
        self._hub = MediaHub(
            MediaSettings(
                addresses=media.addresses,
                port=self._port,
                announced_addresses=media.announced_addresses,
                announced_port=media.announced_port,
                bandwidth=BandwidthPolicy(policy.bandwidth),
                max_bitrate_bps=policy.max_bitrate_bps,
                microphone=policy.microphone,
                # The owner gets in even when the session is full.
                max_players=policy.max_players + self._config.limits.players_per_participant,
            ),
            events,
        )
        return self._hub

    def _serve(self, sockets: list[socket.socket], routes: list[object]) -> None:
        server = HTTPServer(web.application(routes), xheaders=False, max_body_size=_MAX_BODY_BYTES)
        server.add_sockets(sockets)
        self._servers.append(server)

    async def close(self) -> None:
        """After the goodbyes: let close frames through, then free everything."""
        if self.session.end_reason is not None:
            write_json_file(f"{self._config.ready_file}.ended", self.session.board.now)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_READ_SECONDS):
                    await self.session.board.end_was_read.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await self.session.all_gone()
        voice = [self._voice.close()] if self._voice is not None else []
        for step in (*voice, self._hub.close(), self.session.close(), *(self._end(server) for server in self._servers)):
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await step
            except Exception:
                logger.exception("closing a part of the relay failed")
        self._remove_ready_file()

    def _remove_ready_file(self) -> None:
        Path(self._config.ready_file).unlink(missing_ok=True)

    @staticmethod
    async def _end(server: HTTPServer) -> None:
        server.stop()
        await server.close_all_connections()


class _Figures:
    """What metrics read of the session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def media_stats(self) -> MediaStats:
        return self._session.stage.media.stats()

    def player_owners(self) -> Mapping[str, str]:
        return self._session.stage.player_owners()

    def counts(self) -> Mapping[str, float]:
        status = self._session.board.now
        return {
            "participants": status.participants,
            "players": status.players,
            "live": float(status.streamer == "live"),
        }

    def data_counters(self) -> Mapping[str, int]:
        return self._session.stage.router.counters

    def socket_counters(self) -> Mapping[str, int]:
        return self._session.socket_counters


def _public_routes(session: Session) -> list[object]:
    return [
        (r"/player", PlayerSocket, {"session": session}),
        (r"/room", RoomSocket, {"session": session}),
        (r"/healthz", HealthHandler),
    ]


def _private_routes(session: Session, registry: object) -> list[object]:
    return [
        (r"/streamer/([A-Za-z0-9_-]+)", StreamerSocket, {"session": session}),
        (r"/private/status", StatusHandler, {"session": session}),
        (r"/private/statistics", StatisticsHandler, {"session": session}),
        (r"/private/end-time", EndTimeHandler, {"session": session}),
        (r"/private/stop", StopHandler, {"session": session}),
        (r"/metrics", RelayMetricsHandler, {"registry": registry, "session": session}),
    ]


def _as_port_error(error: OSError, port: int, what: str) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(f"{what} port {port} is taken. End the other program, or give this session another port.")
    return OSError(error.errno, f"{what} port {port} cannot be bound: {error.strerror or error}")


async def _run(config: RelayConfig) -> int:
    stop = asyncio.Event()
    stop_on_signals(stop)
    relay = Relay(config, SystemClock())
    try:
        await relay.start()
    except PortTakenError as error:
        print(f"relay: {error}", file=sys.stderr)
        return EXIT_PORT_TAKEN
    except (OSError, ValueError) as error:
        print(f"relay: {error}. Correct the configuration.", file=sys.stderr)
        return EXIT_BAD_CONFIG
    # What start made lives as long as the process; the collector need not look at it again.
    gc.freeze()
    asked, over = asyncio.create_task(stop.wait()), asyncio.create_task(relay.session.ended.wait())
    await asyncio.wait((asked, over), return_when=asyncio.FIRST_COMPLETED)
    for waiting in (asked, over):
        waiting.cancel()
    relay.session.restart()
    await relay.close()
    return EXIT_STOPPED


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped. Exit codes: 0 stopped, 2 bad configuration, 98 port taken."""
    parser = argparse.ArgumentParser(prog="pixelstream relay", description="Run one session's relay.")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON; written by the session server")
    arguments = parser.parse_args(argv)
    try:
        config = load_relay_config(arguments.config)
    except ConfigError as error:
        print(f"relay: {error}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    log.configure(config.log.level, config.log.style)
    with (
        log.log_context(session=config.session_id),
        short_waits(),
        asyncio.Runner(loop_factory=MediaLoop) as runner,
    ):
        return runner.run(_run(config))


if __name__ == "__main__":
    sys.exit(main())
