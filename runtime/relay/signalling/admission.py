"""Who may come in: origins, join tokens, and returning participants."""

from __future__ import annotations

from urllib.parse import urlsplit

from runtime.chassis.clock import Clock, ManualClock
from runtime.chassis.tokens import TokenVerifier
from runtime.protocol.control import JoinClaims
from runtime.protocol.errors import ServiceError
from runtime.relay.config import RelayConfig
from runtime.relay.core.seats import Seats

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def origin_allowed(origin: str | None, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of ``origin`` may connect to a server it addressed as ``host``.

    Clients without an Origin are no browsers, so no page can misuse them.
    """
    if origin is None or "*" in allowed:
        return True
    wanted = _place(origin)
    if wanted is None:
        return False
    scheme, name, port = wanted
    # The page's scheme stands in for ours, which a TLS proxy in front may have changed.
    return _place(f"{scheme}://{host}") == (scheme, name, port) or any(_place(each) == wanted for each in allowed)


def _place(origin: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS.get(parts.scheme)


class Gate:
    """Tells who a token belongs to."""

    def __init__(self, config: RelayConfig, seats: Seats, clock: Clock) -> None:
        """Raise ``ValueError`` unless ``token_public_key`` is an Ed25519 key."""
        self._seats = seats
        self._session_id = config.session_id
        self._verifier = TokenVerifier(config.token_public_key, config.session_id, clock)
        # At the epoch no token has expired yet: this one judges the signature alone.
        self._ageless = TokenVerifier(config.token_public_key, config.session_id, ManualClock(epoch_ms=0))

    def identify(self, token: str, resume: str = "") -> JoinClaims:
        """Raise ``ServiceError`` ``token_missing``, ``token_invalid`` or ``token_expired``.

        Tokens are short-lived and sessions are not: an expired one still serves a participant who is here, or was less
        than the grace time ago; so does the ``resume`` secret of its seat.
        """
        try:
            return self._verifier.verify(token)
        except ServiceError as error:
            seat = self._seats.resumes(resume)
            if seat is not None:
                return JoinClaims(
                    session_id=self._session_id,
                    participant_id=seat.participant_id,
                    role=seat.role,
                    name=seat.name,
                    expires_at=0,
                    token_id="",
                )
            if error.code == "token_expired":
                claims = self._ageless.verify(token)
                if self._seats.get(claims.participant_id) is not None:
                    return claims
            raise
