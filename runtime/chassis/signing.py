"""Short-lived signed control requests with replay protection, modelled on DPoP (RFC 9449) with a shared key."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict

import jwt

from runtime.protocol.errors import ServiceError

from .clock import Clock
from .entropy import new_event_id

VALID_SECONDS = 30
_LEEWAY_SECONDS = 30
_REMEMBERED = 50_000  # replay memory; far above what VALID_SECONDS + leeway can hold at our request rates


def host_key(control_secret: str, host: str) -> str:
    """The key of one host, derived so that adding a host changes nothing on the coordinator."""
    digest = hmac.new(control_secret.encode(), f"host:{host}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _body_hash(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode("ascii")


def sign_request(key: str, *, issuer: str, audience: str, method: str, target: str, body: bytes, clock: Clock) -> str:
    """The ``Authorization`` header value. ``target`` is path with query, exactly as sent."""
    issued = clock.now_ms() // 1000
    claims = {
        "iss": issuer,
        "aud": audience,
        "iat": issued,
        "exp": issued + VALID_SECONDS,
        "jti": new_event_id(),
        "htm": method,
        "htu": target,
        "bsh": _body_hash(body),
    }
    return "Bearer " + jwt.encode(claims, key, algorithm="HS256")


class RequestVerifier:
    """Checks signed requests and refuses each ``jti`` the second time."""

    def __init__(self, audience: str, clock: Clock) -> None:
        self._audience = audience
        self._clock = clock
        self._seen: OrderedDict[str, int] = OrderedDict()

    def verify(self, header: str | None, key: str, *, issuer: str, method: str, target: str, body: bytes) -> None:
        """Raise ``ServiceError`` with the ``control_...`` code of what is wrong."""
        if not header or not header.startswith("Bearer "):
            raise ServiceError("control_unsigned")
        try:
            claims = jwt.decode(
                header.removeprefix("Bearer "),
                key,
                algorithms=["HS256"],
                audience=self._audience,
                issuer=issuer,
                options={"require": ["exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
            )
            issued, expires, token_id = int(claims["iat"]), int(claims["exp"]), str(claims["jti"])
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise ServiceError("control_unsigned") from None
        now = self._clock.now_ms() // 1000
        if now > expires + _LEEWAY_SECONDS or now < issued - _LEEWAY_SECONDS or expires - issued > 10 * VALID_SECONDS:
            # With our time, so that a peer whose clock is wrong can sign by ours.
            raise ServiceError("control_expired", details={"now_ms": self._clock.now_ms()})
        matches = claims.get("htm") == method and claims.get("htu") == target and claims.get("bsh") == _body_hash(body)
        if not matches:
            raise ServiceError("control_mismatch")
        self._remember(token_id, expires, now)

    def _remember(self, token_id: str, expires: int, now: int) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] + _LEEWAY_SECONDS >= now and len(self._seen) < _REMEMBERED:
                break
            del self._seen[oldest]
        if token_id in self._seen:
            raise ServiceError("control_replayed")
        self._seen[token_id] = expires
