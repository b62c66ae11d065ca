"""Configuration of one streaming host's session server (one JSON file, mode 0640)."""

from __future__ import annotations

from runtime.chassis.config import Config, ConfigError, Listen
from runtime.protocol.ids import is_name


class PortRange(Config, frozen=True, kw_only=True):
    """Ports that sessions may use, both ends included: one number per session, for TCP and for UDP."""

    first: int = 8900
    last: int = 8999


class GpuSlots(Config, frozen=True, kw_only=True):
    """How many sessions one GPU takes; ``index`` is what the driver and ``-graphicsadapter`` call it."""

    index: int
    slots: int = 1


class RelayPlace(Config, frozen=True, kw_only=True):
    """Where this host's relays listen and what they tell players of it."""

    # Public TCP side (/player, /room). Behind an nginx on the same machine: 127.0.0.1.
    listen_address: str = "0.0.0.0"
    # Local addresses for UDP media; a wildcard is expanded to the machine's addresses.
    media_addresses: tuple[str, ...] = ("0.0.0.0",)
    # What players are told instead of the bound addresses (1:1 NAT, RFC 8445 section 5.1.1.2).
    announced_addresses: tuple[str, ...] = ()
    # A crashed relay is started again on the same port, so that pages and title reconnect by themselves.
    restarts: int = 3
    restarts_within_seconds: float = 600.0
    # Empty: this installation's own relay. The words before "--config FILE".
    command: tuple[str, ...] = ()


class SessionFiles(Config, frozen=True, kw_only=True):
    """Bounds of what one session may leave on disk, and how long ended sessions are kept for their logs."""

    log_file_bytes: int = 10 * 1024 * 1024
    log_files: int = 3
    crash_bytes: int = 100 * 1024 * 1024
    keep_ended_seconds: float = 7 * 24 * 3600.0
    keep_ended_sessions: int = 200


class Log(Config, frozen=True, kw_only=True):
    """The session server's own lines, on standard error."""

    level: str = "info"
    style: str = "text"  # text | json


class SessionServerConfig(Config, frozen=True, kw_only=True):
    """Everything a session server must be told.

    ``data_directory`` holds the journal, sessions' files and logs, and must survive restarts. Executables of titles
    must lie under one of ``title_roots``; the name ``pixelstream-streamer`` stands for the sample title of this
    installation and is allowed by ``sample_title``.
    """

    host: str
    coordinator_url: str
    host_key: str
    data_directory: str
    listen: Listen = Listen(address="127.0.0.1", port=8750)
    # Optional bundle of certificate authorities for coordinator_url.
    coordinator_ca_file: str | None = None
    capacity: int = 1
    gpus: tuple[GpuSlots, ...] = ()
    port_range: PortRange = PortRange()
    relay: RelayPlace = RelayPlace()
    title_roots: tuple[str, ...] = ()
    sample_title: bool = True
    # Web origins that may open /player and /room, besides what each start request names. Empty: same as requested.
    allowed_origins: tuple[str, ...] = ()
    # Until the coordinator asks for another interval.
    heartbeat_seconds: float = 5.0
    # False: sessions outlive this service and are adopted by its next start. True: they end with it (demo).
    end_sessions_on_stop: bool = False
    files: SessionFiles = SessionFiles()
    log: Log = Log()
    # Written (atomically, JSON: pid, port) when the control interface answers; for supervisors and tests.
    ready_file: str | None = None

    def __repr__(self) -> str:
        return f"SessionServerConfig(host={self.host!r}, ...)"  # a stray log line must not show host_key


def check(config: SessionServerConfig) -> None:
    """Raise :class:`ConfigError` for values that types cannot rule out; the text names the key and the fix."""
    ports = config.port_range
    faults = {
        "host": not is_name(config.host),
        "coordinator_url": not config.coordinator_url.startswith(("http://", "https://")),
        "host_key": len(config.host_key) < 32,
        "capacity": not 0 <= config.capacity <= 1000,
        "port_range": not 1 <= ports.first <= ports.last <= 65535,
        "heartbeat_seconds": not 0.1 <= config.heartbeat_seconds <= 300,
        "files.log_file_bytes": config.files.log_file_bytes < 4096,
        "files.log_files": not 1 <= config.files.log_files <= 100,
        "gpus": len({gpu.index for gpu in config.gpus}) != len(config.gpus) or any(g.slots < 1 for g in config.gpus),
        "log.style": config.log.style not in ("text", "json"),
        "log.level": config.log.level not in ("debug", "info", "warning", "error"),
    }
    fixes = {
        "host": "use the host's name in the inventory: lower-case letters, digits, dots, dashes.",
        "coordinator_url": "use http:// or https://.",
        "host_key": "it must be the key derived from control_secret for this host.",
        "capacity": "use 0 to 1000.",
        "port_range": "first and last must be ports, first not above last.",
        "heartbeat_seconds": "use 0.1 to 300.",
        "files.log_file_bytes": "use at least 4096.",
        "files.log_files": "use 1 to 100.",
        "gpus": "name each index once, with at least one slot.",
        "log.style": "use text or json.",
        "log.level": "use debug, info, warning or error.",
    }
    for key, wrong in faults.items():
        if wrong:
            raise ConfigError(f"{key} cannot be used: {fixes[key]}")
