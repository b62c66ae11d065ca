"""Configuration of a coordinator: one JSON file, mode 0640, see docs/architecture.md."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from runtime.chassis.config import Config, Listen

Seconds = Annotated[float, Meta(gt=0, le=31_536_000)]
LongSeconds = Annotated[float, Meta(gt=0, le=315_360_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
# In fields of this type a file's content is never shown: see Secretive.
Secret = Annotated[str, Meta(min_length=16, max_length=4096)]


class Secretive(Config, frozen=True, kw_only=True):
    """A section whose text form names no value, so that a stray log line cannot tell a secret."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Log(Config, frozen=True, kw_only=True):
    """Log lines go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    style: Literal["text", "json"] = "text"


class User(Secretive, frozen=True, kw_only=True):
    """A person who signs in with a password; more of them live in the database (admin interface)."""

    password_hash: str  # argon2id in PHC form: python -m runtime.coordinator.passwords
    display_name: str | None = None
    groups: tuple[str, ...] = ()
    admin: bool = False


class ConfiguredKey(Secretive, frozen=True, kw_only=True):
    """An API key known from the start, for automation; more of them live in the database."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # of the whole key, lower-case hex
    scopes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Oidc(Secretive, frozen=True, kw_only=True):
    """An OpenID Connect provider (authorization code with PKCE, discovery at the issuer)."""

    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "name"
    groups_claim: str = "groups"
    admin_groups: tuple[str, ...] = ()
    ca_file: str | None = None
    # A provider on plain http is refused unless it is told here that this is meant (tests, one machine).
    allow_http: bool = False


class Access(Config, frozen=True, kw_only=True):
    """Who may use the service. ``open``: anybody, by a signed cookie; users and keys may still sign in."""

    mode: Literal["open", "password", "oidc"] = "open"
    users: dict[str, User] = field(default_factory=dict)
    api_keys: dict[str, ConfiguredKey] = field(default_factory=dict)
    oidc: Oidc | None = None
    sign_in_seconds: Seconds = 12 * 3600
    # Anonymous viewers keep their identity (their own sessions) this long.
    anonymous_seconds: Seconds = 30 * 86400


class RateLimits(Config, frozen=True, kw_only=True):
    """Token buckets: ``burst`` requests at once, then ``per_minute``. Reads of live data are not counted."""

    enabled: bool = True
    requests_per_minute: Count = 600
    requests_burst: Count = 200
    creates_per_minute: Count = 12
    creates_burst: Count = 6
    sign_ins_per_minute: Count = 10
    sign_ins_burst: Count = 10
    # Live event streams open at once from one address.
    streams_per_address: Count = 200


class Sessions(Config, frozen=True, kw_only=True):
    """Defaults and limits of sessions. A title's own ``limits`` win over the defaults."""

    # A session whose host has not spoken of it for this long is lost.
    lease_seconds: Seconds = 60.0
    heartbeat_interval_seconds: Seconds = 5.0
    # A host is offline for placement after this long without a heartbeat.
    host_timeout_seconds: Seconds = 20.0
    # A start request to a host may take this long; the start itself is watched by the host.
    host_deadline_seconds: Seconds = 10.0
    token_seconds: Seconds = 6 * 3600
    invite_seconds: Seconds = 7 * 86400
    # Live sessions that one viewer may own; 0: no limit.
    per_viewer: Annotated[int, Meta(ge=0)] = 3
    placement: Literal["least_loaded", "pack"] = "least_loaded"
    queue_length: Count = 500
    # A queued viewer whose page was not heard of for this long has left.
    queue_grace_seconds: Seconds = 30.0
    idle_seconds: Seconds = 600.0
    idle_warning_seconds: Seconds = 60.0
    max_length_seconds: Seconds | None = None
    # How long ended sessions and bookings that are over stay in the database.
    keep_seconds: Seconds = 90 * 86400
    # How long the audit log reaches back: a year and some weeks, so that last year's can still be compared.
    audit_keep_seconds: LongSeconds = 400 * 86400


class Bookings(Config, frozen=True, kw_only=True):
    """Sessions planned ahead."""

    enabled: bool = True
    # A booked session is started this long before its window, so that it is warm on time.
    open_before_seconds: Seconds = 120.0
    max_length_seconds: Seconds = 8 * 3600
    horizon_seconds: Seconds = 92 * 86400
    per_viewer: Count = 50
    max_occurrences: Count = 60
    least_length_seconds: Seconds = 300.0
    # A running session without an end of its own is reckoned to last this long when a window is asked for.
    assumed_length_seconds: Seconds = 4 * 3600
    # Somebody who comes without a booking is let in beside one when at least this much time is left for them.
    least_walk_in_seconds: Seconds = 600.0


class Turn(Secretive, frozen=True, kw_only=True):
    """coturn with ``use-auth-secret``: credentials per viewer that expire (draft-uberti-behave-turn-rest-00)."""

    secret: Secret
    urls: tuple[str, ...]
    # As long as a join token, which carries the credential.
    ttl_seconds: Seconds = 6 * 3600


class IceServerEntry(Secretive, frozen=True, kw_only=True):
    """A static ``RTCIceServer``."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = None


class Webhook(Secretive, frozen=True, kw_only=True):
    """A receiver of session and booking events; more of them live in the database."""

    url: str
    secret: Secret
    events: tuple[str, ...] = ()  # empty: all
    ca_file: str | None = None


class CoordinatorConfig(Secretive, frozen=True, kw_only=True):
    """Everything a coordinator needs. Instances that share a database share all secrets."""

    listen: Listen = Listen(address="127.0.0.1", port=8080)
    public_url: str  # as viewers see it, without a trailing slash; https makes cookies Secure
    mongodb_uri: str = "mongodb://127.0.0.1:27017"
    database: str = "pixelstream"
    instance: str = ""  # unique among instances; empty: host name and process id
    token_signing_key: Secret  # Ed25519, PEM
    control_secret: Secret
    cookie_secret: Annotated[str, Meta(min_length=32, max_length=4096)]
    cors_origins: tuple[str, ...] = ()
    # Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed.
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    # Origins beyond public_url and cors_origins from which pages may open a relay's sockets.
    allowed_origins: tuple[str, ...] = ()
    # Certificate authority of the session servers' control interface, when it is a private one.
    control_ca_file: str | None = None
    site_name: str = "Pixelstream"
    access: Access = Access()
    rate_limits: RateLimits = RateLimits()
    sessions: Sessions = Sessions()
    bookings: Bookings = Bookings()
    ice_servers: tuple[IceServerEntry, ...] = ()
    turn: Turn | None = None
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    log: Log = Log()
    # Written (atomically, JSON: pid, port) when the service answers; for supervisors and tests.
    ready_file: str | None = None
    database_deadline_seconds: Seconds = 5.0
    # Graceful stop: requests in flight may finish within this time.
    stop_seconds: Seconds = 10.0
