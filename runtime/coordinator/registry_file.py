"""The registry file: which titles exist and which hosts can run them.

One JSON object ``{"titles": [Title], "session_servers": [SessionServer]}``, written by the operator's inventory (role
``registry``) or by the demo, applied with ``pixelstream registry apply``. Unknown keys and wrong types are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from runtime.chassis.config import Config, ConfigError

Name = Annotated[str, Meta(pattern="^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$")]
Language = Annotated[str, Meta(pattern="^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Texts = dict[Language, Annotated[str, Meta(min_length=1, max_length=2000)]]
Arguments = tuple[Annotated[str, Meta(max_length=4096)], ...]
# No dots: labels become field names in the database.
Labels = dict[Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_/-]{0,62}$")], Annotated[str, Meta(max_length=200)]]
Environment = dict[Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], str]


class Launch(Config, frozen=True, kw_only=True):
    """What every build of the title is started with; see ``runtime.protocol.control.Launch``."""

    # generic, or unreal-<major>.<minor>, -ps1 after it for the first Pixel Streaming plugin in 5.5 and later
    engine: Annotated[str, Meta(pattern=r"^(generic|unreal-(4\.27|[5-9]\.\d{1,2})(-ps1)?)$")] = "generic"
    arguments: Arguments = ()
    environment: Environment = field(default_factory=dict)
    width: Annotated[int, Meta(ge=160, le=7680)] = 1280
    height: Annotated[int, Meta(ge=120, le=4320)] = 720


class Limits(Config, frozen=True, kw_only=True):
    """Bounds of a session of the title; ``null`` takes the coordinator's default."""

    max_players: Annotated[int, Meta(ge=1, le=1000)] = 20
    idle_seconds: Annotated[float, Meta(gt=0)] | None = None
    idle_warning_seconds: Annotated[float, Meta(gt=0)] | None = None
    max_length_seconds: Annotated[float, Meta(gt=0)] | None = None
    length_warning_seconds: Annotated[float, Meta(gt=0)] = 300.0
    reconnect_grace_seconds: Annotated[float, Meta(ge=0)] = 60.0
    streamer_grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    # Sessions of this title at once, over all hosts.
    max_sessions: Annotated[int, Meta(ge=1)] | None = None
    max_bitrate_bps: Annotated[int, Meta(ge=100_000)] = 30_000_000
    # Start steps, see runtime.protocol.control.StartTimeouts.
    relay_up_seconds: Annotated[float, Meta(gt=0)] = 15.0
    process_up_seconds: Annotated[float, Meta(gt=0)] = 15.0
    streamer_connected_seconds: Annotated[float, Meta(gt=0)] = 180.0
    first_frame_seconds: Annotated[float, Meta(gt=0)] = 60.0


class Features(Config, frozen=True, kw_only=True):
    """What people may do in a session besides watching and controlling."""

    chat: bool = True
    voice: bool = True
    microphone: bool = False
    # Lets the owner send Epic's console commands; only for titles made for it.
    commands: bool = False


class TitleAccess(Config, frozen=True, kw_only=True):
    """Who may see and start the title. Empty ``groups``: everybody who may use the service."""

    groups: tuple[str, ...] = ()
    # Titles with groups are hidden from others unless this is set; then they are shown but not startable.
    listed: bool = False


class Needs(Config, frozen=True, kw_only=True):
    """What a host must have for one session of the title."""

    labels: Labels = field(default_factory=dict)
    vram_bytes: Annotated[int, Meta(ge=0)] = 0


class Title(Config, frozen=True, kw_only=True):
    """A catalogue entry."""

    name: Name
    display_name: Texts = field(default_factory=dict)
    description: Texts = field(default_factory=dict)
    # A picture file (png, jpeg, webp, avif, svg; up to 2 MB), absolute or relative to the registry file, or a path
    # under /static/. Without one the pages draw the title's initials.
    picture: str | None = None
    launch: Launch = Launch()
    control_policy: Literal["ask", "free", "owner"] = "ask"
    bandwidth: Literal["protect_controller", "protect_slowest", "fixed"] = "protect_controller"
    limits: Limits = Limits()
    features: Features = Features()
    access: TitleAccess = TitleAccess()
    needs: Needs = Needs()
    # Sessions kept started and unowned, so that a click is answered at once.
    warm: Annotated[int, Meta(ge=0, le=1000)] = 0
    tags: tuple[str, ...] = ()
    # May it be booked ahead?
    bookable: bool = True


class Build(Config, frozen=True, kw_only=True):
    """How one host runs one title."""

    executable: Annotated[str, Meta(min_length=1)]
    arguments: Arguments = ()  # after the title's own
    build: str = "unversioned"
    working_directory: str | None = None
    environment: Environment = field(default_factory=dict)


class GpuSlots(Config, frozen=True, kw_only=True):
    """How much of a host's capacity one GPU carries."""

    slots: Annotated[int, Meta(ge=0, le=64)]
    vram_bytes: Annotated[int, Meta(ge=0)] = 0  # 0: as the host reports
    name: str = ""
    # Streams that its encoder takes at once; 0: no limit is known.
    encoder_sessions: Annotated[int, Meta(ge=0)] = 0


class SessionServer(Config, frozen=True, kw_only=True):
    """A streaming host."""

    name: Name
    control_url: Annotated[str, Meta(pattern="^https?://")]
    # Template of the public address of a session's relay, with {port} and optionally {host}.
    edge_url: Annotated[str, Meta(pattern=r"^wss?://.*\{port\}")]
    capacity: Annotated[int, Meta(ge=0, le=256)]
    labels: Labels = field(default_factory=dict)
    # GPU index (as text) -> its slots. Empty: capacity is not bound to GPUs.
    gpus: dict[Annotated[str, Meta(pattern=r"^\d{1,2}$")], GpuSlots] = field(default_factory=dict)
    titles: dict[Name, Build] = field(default_factory=dict)
    desired_state: Literal["serving", "draining"] | None = None  # null: leave as it is, serving at first


class RegistryFile(Config, frozen=True, kw_only=True):
    """The whole file."""

    titles: tuple[Title, ...] = ()
    session_servers: tuple[SessionServer, ...] = ()


def load_registry(path: str | Path) -> RegistryFile:
    """Read and check a registry file; raise :class:`ConfigError` naming the key."""
    try:
        registry = msgspec.json.decode(Path(path).read_bytes(), type=RegistryFile)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}. The shape is in runtime/coordinator/registry_file.py.") from None
    except msgspec.DecodeError:
        raise ConfigError(f"{path}: is not valid JSON.") from None
    _check_references(path, registry)
    return registry


def _check_references(path: str | Path, registry: RegistryFile) -> None:
    names = [title.name for title in registry.titles]
    hosts = [host.name for host in registry.session_servers]
    for what, found in (("title", names), ("session server", hosts)):
        twice = sorted({name for name in found if found.count(name) > 1})
        if twice:
            raise ConfigError(f"{path}: the {what} {twice[0]} is there twice. Keep one of them.")
    for host in registry.session_servers:
        unknown = sorted(set(host.titles) - set(names))
        if unknown:
            raise ConfigError(f"{path}: host {host.name} runs {unknown[0]}, which is not among the titles. Add it.")
        if host.gpus and sum(gpu.slots for gpu in host.gpus.values()) < host.capacity:
            raise ConfigError(f"{path}: host {host.name} has capacity {host.capacity}, but its GPUs have fewer slots.")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a registry file, for editors and for the documentation."""
    return msgspec.json.schema(RegistryFile)
