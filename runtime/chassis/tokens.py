"""Join tokens: who may enter which session in which role (JWT RFC 7519, EdDSA RFC 8037)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from runtime.protocol.control import IceServer, JoinClaims
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role

from .clock import Clock
from .entropy import new_event_id

_ISSUER = "pixelstream"
_LEEWAY_SECONDS = 30  # clocks of coordinator and host may differ this much


def new_signing_key() -> str:
    """A new Ed25519 private key, PEM (PKCS 8)."""
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode("ascii")
    )


class TokenSigner:
    """The coordinator's half."""

    def __init__(self, private_key_pem: str, clock: Clock) -> None:
        """Raise ``ValueError`` unless ``private_key_pem`` is an Ed25519 key."""
        key = serialization.load_pem_private_key(private_key_pem.encode("ascii"), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("token_signing_key is not an Ed25519 private key")
        self._key = key
        self._clock = clock

    @property
    def public_key_pem(self) -> str:
        public = self._key.public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(
            "ascii"
        )

    def sign(
        self,
        session_id: str,
        participant_id: str,
        role: Role,
        name: str,
        valid_seconds: int,
        ice_servers: Sequence[IceServer] = (),
    ) -> tuple[str, int]:
        """A join token and its expiry (epoch seconds). ``ice_servers`` are for this participant alone."""
        issued = self._clock.now_ms() // 1000
        expires = issued + valid_seconds
        claims: dict[str, Any] = {
            "iss": _ISSUER,
            "aud": session_id,
            "sub": participant_id,
            "role": str(role),
            "name": name,
            "iat": issued,
            "exp": expires,
            "jti": new_event_id(),
        }
        if ice_servers:
            claims["ice"] = [[list(s.urls), s.username, s.credential] for s in ice_servers]
        return jwt.encode(claims, self._key, algorithm="EdDSA"), expires


class TokenVerifier:
    """The relay's half: offline, for one session."""

    def __init__(self, public_key_pem: str, session_id: str, clock: Clock) -> None:
        key = serialization.load_pem_public_key(public_key_pem.encode("ascii"))
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("token_public_key is not an Ed25519 public key")
        self._key = key
        self._session_id = session_id
        self._clock = clock

    def verify(self, token: str) -> JoinClaims:
        """What the token says; raise ``ServiceError`` ``token_missing``, ``token_invalid`` or ``token_expired``."""
        if not token:
            raise ServiceError("token_missing")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["EdDSA"],
                audience=self._session_id,
                issuer=_ISSUER,
                # Expiry is judged below by our clock, which tests can move.
                options={"require": ["exp", "sub", "jti", "role", "name"], "verify_exp": False, "verify_iat": False},
            )
            found = JoinClaims(
                session_id=self._session_id,
                participant_id=str(claims["sub"]),
                role=Role(claims["role"]),
                name=str(claims["name"]),
                expires_at=int(claims["exp"]),
                token_id=str(claims["jti"]),
                ice_servers=tuple(
                    IceServer(urls=tuple(u), username=n, credential=c) for u, n, c in claims.get("ice", ())
                ),
            )
        except (jwt.InvalidTokenError, ValueError, TypeError):
            raise ServiceError("token_invalid") from None
        if self._clock.now_ms() // 1000 > found.expires_at + _LEEWAY_SECONDS:
            raise ServiceError("token_expired")
        return found
