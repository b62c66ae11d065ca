"""Records of the control plane as the rules see them. Times are epoch milliseconds (``_ms``).

All have slots: msgspec leaves a default out of an instance's dictionary when it decodes, and would then lose the field
when it encodes the record again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runtime.protocol.control import Gpu
from runtime.protocol.states import (
    HOLDING_SESSION_STATES,
    EndReason,
    Role,
    SessionState,
    StartStep,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The part of a start that belongs to the title."""

    engine: str = "generic"
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    width: int = 1280
    height: int = 720


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one session; ``None`` takes the coordinator's default."""

    max_players: int = 20
    idle_seconds: float | None = None
    idle_warning_seconds: float | None = None
    max_length_seconds: float | None = None
    length_warning_seconds: float = 300.0
    reconnect_grace_seconds: float = 60.0
    streamer_grace_seconds: float = 30.0
    max_sessions: int | None = None
    max_bitrate_bps: int = 30_000_000
    relay_up_seconds: float = 15.0
    process_up_seconds: float = 15.0
    streamer_connected_seconds: float = 180.0
    first_frame_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    chat: bool = True
    voice: bool = True
    microphone: bool = False
    commands: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TitleAccess:
    groups: tuple[str, ...] = ()
    listed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    labels: dict[str, str] = field(default_factory=dict)
    vram_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Title:
    """A catalogue entry."""

    name: str
    display_name: dict[str, str] = field(default_factory=dict)
    description: dict[str, str] = field(default_factory=dict)
    picture: str | None = None  # content hash of the stored picture, or a path under /static/
    launch: Launch = field(default_factory=Launch)
    control_policy: str = "ask"
    bandwidth: str = "protect_controller"
    limits: Limits = field(default_factory=Limits)
    features: Features = field(default_factory=Features)
    access: TitleAccess = field(default_factory=TitleAccess)
    needs: Needs = field(default_factory=Needs)
    warm: int = 0
    tags: tuple[str, ...] = ()
    bookable: bool = True
    retired: bool = False
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """How one host runs one title."""

    executable: str
    arguments: tuple[str, ...] = ()
    build: str = "unversioned"
    working_directory: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSlots:
    slots: int
    vram_bytes: int = 0
    name: str = ""
    encoder_sessions: int = 0  # at once; 0: no limit is known


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """What a host said last. ``sessions``: those that hold a slot there, id -> state."""

    at_ms: int  # by the coordinator's clock
    sent_ms: int  # by the host's
    boot_id: str = ""
    version: str = ""
    platform: str = ""
    capacity: int = 0
    draining: bool = False
    cpu: float = 0.0
    memory_total_bytes: int = 0
    memory_available_bytes: int = 0
    disk_free_bytes: int = 0
    gpus: tuple[Gpu, ...] = ()
    sessions: dict[str, str] = field(default_factory=dict)
    events_waiting: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A streaming host: what the registry says of it and what it says of itself."""

    name: str
    control_url: str
    edge_url: str
    capacity: int
    labels: dict[str, str] = field(default_factory=dict)
    gpus: dict[str, GpuSlots] = field(default_factory=dict)
    title: dict[str, Build] = field(default_factory=dict)
    desired_state: str = "serving"
    heartbeat: Heartbeat | None = None
    version: int = 1
    changed_ms: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """The principal that a session or booking belongs to."""

    id: str  # "anonymous:...", "user:...", "oidc:...", "key:..."
    kind: str
    name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invite:
    """A link into one session in one role. Only the hash of its secret is kept."""

    sha256: str
    role: Role
    created_ms: int
    expires_ms: int
    label: str = ""
    revoked_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Somebody who entered by an invite and may come back with the same role while the invite holds."""

    role: Role
    name: str
    invite: str
    joined_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueTicket:
    """A place in the queue; ``seen_ms`` is when the waiting page was last known to be open."""

    queued_ms: int
    seen_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A taken unit of a host's capacity, or of a title's ``max_sessions``: then ``host`` is :func:`places_of` it."""

    host: str
    number: int
    session: str
    claimed_ms: int


def places_of(title: str) -> str:
    """What stands for the host in claims on a title's own limit. No host is called so: names have no colon."""
    return f"title:{title}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One running title, from request to end."""

    id: str
    title: str
    state: SessionState
    created_ms: int
    owner: Owner | None = None  # None: warm, nobody's yet
    host: str | None = None
    slot: int | None = None
    gpu: int | None = None
    port: int | None = None
    build: str = ""
    placement: str = ""  # why this host, one sentence
    reason: EndReason | None = None
    detail: str | None = None
    steps: dict[StartStep, int] = field(default_factory=dict)
    times: dict[SessionState, int] = field(default_factory=dict)  # first entry into each state
    lease_expires_ms: int | None = None
    ends_ms: int | None = None  # maximum length or end of booking
    max_length_seconds: float | None = None
    ended_ms: int | None = None
    participants: int = 0
    queue: QueueTicket | None = None
    booking: str | None = None
    warm: bool = False
    attempts: int = 0  # hosts tried
    refused_by: tuple[str, ...] = ()  # hosts that would not start it
    invites: dict[str, Invite] = field(default_factory=dict)  # invite id ->
    members: dict[str, Member] = field(default_factory=dict)  # participant id ->
    last_sequence: int = 0  # of the host's events
    version: int = 1
    changed_ms: int = 0

    @property
    def holds_slot(self) -> bool:
        return self.state in HOLDING_SESSION_STATES

    @property
    def is_final(self) -> bool:
        return self.state in (SessionState.ENDED, SessionState.FAILED)

    def history(self) -> tuple[str, ...]:
        """States in the order in which they were first entered."""
        return tuple(f"{state}@{at}" for state, at in sorted(self.times.items(), key=lambda item: item[1]))


def text_in(texts: Mapping[str, str], language: str, fallback: str) -> str:
    """The text in ``language``, else in English, else any, else ``fallback``."""
    return texts.get(language) or texts.get("en") or next(iter(texts.values()), fallback)
