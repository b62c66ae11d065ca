"""The relay's configuration file, written by the session server (or by hand) and read once at start."""

from __future__ import annotations

from runtime.chassis.config import Config, ConfigError, Listen, load
from runtime.protocol.control import IceServer, SessionPolicy
from runtime.protocol.ids import is_session_id
from runtime.relay.core.bandwidth import BandwidthPolicy

_MIN_SECRET_CHARACTERS = 16


class Media(Config, frozen=True, kw_only=True):
    """Where media comes and goes.

    ``addresses`` are bound with the number of ``listen.port``. ``announced_addresses`` replace them in what players are
    told (1:1 NAT); ``announced_port`` does the same for the number.
    """

    addresses: tuple[str, ...] = ("127.0.0.1",)
    announced_addresses: tuple[str, ...] = ()
    announced_port: int | None = None


class Log(Config, frozen=True, kw_only=True):
    level: str = "info"  # debug | info | warning | error
    style: str = "text"  # text | json


class Limits(Config, frozen=True, kw_only=True):
    """Bounds on what one connection may cost. Rates are sustained, bursts are on top of them."""

    # A signalling message carries at most one SDP; browsers' answers stay far below this.
    signalling_message_bytes: int = 128 * 1024
    player_messages_per_second: float = 30.0
    player_messages_burst: int = 150  # trickled candidates come in one burst
    room_messages_per_second: float = 10.0
    room_messages_burst: int = 40
    room_message_bytes: int = 64 * 1024  # voice.answer carries an SDP
    bad_messages: int = 20  # malformed messages after which a connection is closed
    # A 1000 Hz mouse beside four gamepads re-sent every animation frame of a 144 Hz display.
    data_messages_per_second: float = 5000.0
    data_messages_burst: int = 10_000
    data_bytes_per_second: float = 4 * 1024 * 1024
    data_bytes_burst: int = 8 * 1024 * 1024
    send_queue_messages: int = 512
    send_queue_bytes: int = 2 * 1024 * 1024
    hello_deadline_seconds: float = 10.0
    ping_interval_seconds: float = 10.0
    ping_timeout_seconds: float = 10.0
    players_per_participant: int = 4
    chat_history: int = 200
    chat_characters: int = 2000
    chat_messages_per_second: float = 1.0
    chat_messages_burst: int = 8
    # How long a vanished participant stays listed: a page reload is not a departure.
    away_linger_seconds: float = 3.0
    # A streamer that has not named itself by then speaks the protocol of Unreal 4.27 and wants to be offered to.
    legacy_streamer_seconds: float = 4.0
    streamer_offer_seconds: float = 10.0


class RelayConfig(Config, frozen=True, kw_only=True):
    """One session's relay. ``listen.port`` 0 lets the kernel choose; UDP media uses the same number."""

    session_id: str
    title: str
    ready_file: str
    streamer_secret: str
    private_secret: str
    token_public_key: str  # Ed25519, PEM
    listen: Listen = Listen()
    # Loopback port of the private interface; 0 lets the kernel choose. A relay that is started again after a crash gets
    # its predecessor's, because the title was told the streamer address once, on its command line.
    private_port: int = 0
    media: Media = Media()
    policy: SessionPolicy = SessionPolicy()
    ice_servers: tuple[IceServer, ...] = ()
    # Pages of these origins ("https://play.example.org") may connect besides pages served from the relay's own host
    # and clients that send no Origin; "*" allows every page.
    allowed_origins: tuple[str, ...] = ()
    owner_participant: str | None = None
    # Register with the streamer as an SFU (Epic's ``sfu: true``): layers and per-player channels, if it has them.
    streamer_as_sfu: bool = False
    log: Log = Log()
    limits: Limits = Limits()


def load_relay_config(path: str) -> RelayConfig:
    """Read and check the file; raise :class:`ConfigError` naming the key, never showing a value."""
    config = load(path, RelayConfig)
    if not is_session_id(config.session_id):
        raise ConfigError(f"{path}: session_id: is not a session id (26 characters a-z and 2-7).")
    for key in ("streamer_secret", "private_secret"):
        if len(getattr(config, key)) < _MIN_SECRET_CHARACTERS:
            raise ConfigError(
                f"{path}: {key}: is shorter than {_MIN_SECRET_CHARACTERS} characters; generate a new one."
            )
    if not config.media.addresses:
        raise ConfigError(f"{path}: media.addresses: name at least one address.")
    if config.policy.control not in ("ask", "free", "owner"):
        raise ConfigError(f"{path}: policy.control: must be ask, free or owner.")
    if config.policy.max_players < 1:
        raise ConfigError(f"{path}: policy.max_players: must be at least 1.")
    if config.policy.bandwidth not in list(BandwidthPolicy):
        raise ConfigError(f"{path}: policy.bandwidth: must be one of {', '.join(BandwidthPolicy)}.")
    if config.log.level not in ("debug", "info", "warning", "error") or config.log.style not in ("text", "json"):
        raise ConfigError(f"{path}: log: level is debug, info, warning or error; style is text or json.")
    return config
