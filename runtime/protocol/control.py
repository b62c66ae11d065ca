"""Shapes of the control interface between coordinator, session server and relay.

Times are epoch milliseconds (``_ms``) unless the name says seconds. Adapters decode these with
``runtime.chassis.codec.decode``; a missing or mistyped field is an error, an unknown field is ignored so that either
side may be updated first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .states import EndReason, Role, SessionState, StartStep


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start a title's build on one host."""

    executable: str
    arguments: tuple[str, ...] = ()
    working_directory: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    # unreal-4.27, unreal-5.0 ... : Pixel Streaming names by version; generic: {streamer_url} and
    # {streamer_id} are replaced in arguments, and PIXELSTREAM_STREAMER_URL / PIXELSTREAM_STREAMER_ID are set.
    engine: str = "generic"
    build: str = "unversioned"
    width: int = 1280
    height: int = 720
    gpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class SessionPolicy:
    """What people may do in a session and when it ends."""

    max_players: int = 20
    idle_seconds: float = 600.0
    idle_warning_seconds: float = 60.0
    max_length_seconds: float | None = None
    length_warning_seconds: float = 300.0
    reconnect_grace_seconds: float = 60.0
    # How long a lost streamer may stay away before the session fails with app_crashed.
    streamer_grace_seconds: float = 30.0
    control: str = "ask"  # ask | free | owner
    chat: bool = True
    voice: bool = True
    microphone: bool = False
    allow_commands: bool = False
    # protect_controller | protect_slowest | fixed
    bandwidth: str = "protect_controller"
    max_bitrate_bps: int = 30_000_000


@dataclass(frozen=True, kw_only=True)
class StartTimeouts:
    """Seconds allowed for each start step, and for each stage of the end."""

    relay_up_seconds: float = 15.0
    process_up_seconds: float = 15.0
    streamer_connected_seconds: float = 180.0
    first_frame_seconds: float = 60.0
    stop_ask_seconds: float = 5.0
    stop_terminate_seconds: float = 5.0
    stop_kill_seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class IceServer:
    """An ``RTCIceServer`` for players (W3C WebRTC section 4.2.2)."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


@dataclass(frozen=True, kw_only=True)
class StartSession:
    """Coordinator asks a session server to run one session. Idempotent by ``session_id``."""

    session_id: str
    title: str
    launch: Launch
    token_public_key: str  # Ed25519, PEM
    policy: SessionPolicy = field(default_factory=SessionPolicy)
    timeouts: StartTimeouts = field(default_factory=StartTimeouts)
    ice_servers: tuple[IceServer, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    owner_participant: str | None = None


@dataclass(frozen=True, kw_only=True)
class SessionReport:
    """What a session server says of one of its sessions."""

    session_id: str
    title: str
    state: SessionState
    reason: EndReason | None = None
    detail: str | None = None  # one sentence for an operator
    steps: dict[StartStep, int] = field(default_factory=dict)  # step -> epoch ms
    port: int | None = None
    build: str = "unversioned"
    participants: int = 0
    idle_seconds_left: float | None = None
    started_ms: int = 0
    ended_ms: int | None = None
    exit_code: int | None = None
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    ends_ms: int | None = None  # the ``EndTime`` that the host was told last


@dataclass(frozen=True, kw_only=True)
class StreamStatistics:
    """What arrives from a session's application; of several simulcast layers the best one."""

    codec: str | None = None
    bitrate_bps: int = 0
    fps: float = 0.0
    fraction_lost: float = 0.0  # 0..1
    target_bitrate_bps: int = 0  # asked of its encoder


@dataclass(frozen=True, kw_only=True)
class PlayerStatistics:
    """What goes to one page of a session, and what the page says of it."""

    id: str
    participant: str
    name: str = ""
    connected: bool = False
    bitrate_bps: int = 0
    fps: float = 0.0
    fraction_lost: float = 0.0  # 0..1
    jitter_ms: float = 0.0
    rtt_ms: float | None = None
    estimate_bps: int | None = None  # the page's own bandwidth estimate


@dataclass(frozen=True, kw_only=True)
class SessionStatistics:
    """A running session's stream at this moment, as its relay measures it. ``stream`` is None while there is none."""

    stream: StreamStatistics | None = None
    players: tuple[PlayerStatistics, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SessionEvent:
    """One change of a session, delivered at least once; ``sequence`` rises by one per session."""

    event_id: str
    sequence: int
    at_ms: int
    report: SessionReport


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as its driver reports it."""

    index: int
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilisation: float | None = None  # 0..1
    encoder_utilisation: float | None = None  # 0..1
    encoder_sessions: int | None = None


@dataclass(frozen=True, kw_only=True)
class HostHeartbeat:
    """What a session server reports every few seconds."""

    host: str
    boot_id: str  # changes when the session server process starts
    sent_ms: int
    version: str
    platform: str
    capacity: int
    draining: bool
    sessions: tuple[SessionReport, ...] = ()
    cpu: float = 0.0  # 0..1 over all cores
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    events_waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class EndTime:
    """When a running session is over. The seconds are what counts; ``ends_ms`` is by the coordinator's clock, and the
    host only gives it back in its reports, so that the coordinator sees whether the host knows."""

    ends_ms: int
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class HeartbeatReply:
    """The coordinator's wishes. ``end_sessions`` names sessions that must not run: id -> reason; ``end_times`` those
    whose end the host does not know yet."""

    desired_state: str  # serving | draining
    interval_seconds: float
    now_ms: int
    end_sessions: dict[str, EndReason] = field(default_factory=dict)
    end_times: dict[str, EndTime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RelayReady:
    """Content of the relay's ready file."""

    pid: int
    port: int
    private_port: int


@dataclass(frozen=True, kw_only=True)
class RelayStatus:
    """What a relay tells its session server; ``version`` rises at every change."""

    version: int
    streamer: str  # waiting | connected | live | lost
    participants: int
    players: int
    first_frame_ms: int | None = None  # first video packet from the streamer
    first_player_ms: int | None = None  # first player with media flowing
    idle_seconds_left: float | None = None
    end_reason: EndReason | None = None
    end_detail: str | None = None


@dataclass(frozen=True, kw_only=True)
class JoinClaims:
    """What a join token says (see docs/architecture.md)."""

    session_id: str
    participant_id: str
    role: Role
    name: str
    expires_at: int  # epoch seconds
    token_id: str
    # TURN servers with credentials made for this participant, for as long as the token holds.
    ice_servers: tuple[IceServer, ...] = ()
