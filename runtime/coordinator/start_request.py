"""What a session server is told to start, from title, host and session. Pure apart from the credentials given in."""

from __future__ import annotations

from collections.abc import Iterable

from runtime.protocol.control import IceServer, Launch, SessionPolicy, StartSession, StartTimeouts
from runtime.protocol.states import SessionState

from .config import Sessions
from .domain.model import Host, Session, Title


def start_request(
    session: Session,
    title: Title,
    host: Host,
    *,
    defaults: Sessions,
    token_public_key: str,
    ice_servers: Iterable[IceServer],
    allowed_origins: Iterable[str],
    owner_participant: str | None,
) -> StartSession:
    """The request for a leased session; the same session gives the same request, whoever sends it."""
    return StartSession(
        session_id=session.id,
        title=title.name,
        launch=_launch(session, title, host),
        token_public_key=token_public_key,
        policy=_policy(session, title, defaults),
        timeouts=StartTimeouts(
            relay_up_seconds=title.limits.relay_up_seconds,
            process_up_seconds=title.limits.process_up_seconds,
            streamer_connected_seconds=title.limits.streamer_connected_seconds,
            first_frame_seconds=title.limits.first_frame_seconds,
        ),
        ice_servers=tuple(ice_servers),
        allowed_origins=tuple(allowed_origins),
        owner_participant=owner_participant,
    )


def _launch(session: Session, title: Title, host: Host) -> Launch:
    build = host.title[title.name]
    return Launch(
        executable=build.executable,
        arguments=(*title.launch.arguments, *build.arguments),
        working_directory=build.working_directory,
        environment={**title.launch.environment, **build.environment},
        engine=title.launch.engine,
        build=build.build,
        width=title.launch.width,
        height=title.launch.height,
        gpu=session.gpu,
    )


def _policy(session: Session, title: Title, defaults: Sessions) -> SessionPolicy:
    limits, features = title.limits, title.features
    return SessionPolicy(
        max_players=limits.max_players,
        idle_seconds=limits.idle_seconds or defaults.idle_seconds,
        idle_warning_seconds=limits.idle_warning_seconds or defaults.idle_warning_seconds,
        max_length_seconds=_length(session),
        length_warning_seconds=limits.length_warning_seconds,
        reconnect_grace_seconds=limits.reconnect_grace_seconds,
        streamer_grace_seconds=limits.streamer_grace_seconds,
        control=title.control_policy,
        chat=features.chat,
        voice=features.voice,
        microphone=features.microphone,
        allow_commands=features.commands,
        bandwidth=title.bandwidth,
        max_bitrate_bps=limits.max_bitrate_bps,
    )


def _length(session: Session) -> float | None:
    """Seconds from the lease to a fixed end, else the length that counts from when the session is ready."""
    leased = session.times.get(SessionState.LEASED)
    if session.ends_ms is None or leased is None:
        return session.max_length_seconds
    return max(1.0, (session.ends_ms - leased) / 1000)
