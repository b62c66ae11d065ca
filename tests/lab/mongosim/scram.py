"""SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides. Passwords are taken as they are; SASLprep changes no ASCII."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from .errors import CommandError

ITERATIONS = 15_000
SALT_BYTES = 28


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _hash(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _parts(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)


def failed() -> CommandError:
    """The same words whatever was wrong, as MongoDB has them."""
    return CommandError(18, "AuthenticationFailed", "Authentication failed.")


def credentials(password: str) -> dict[str, Any]:
    """Return what a server keeps of a password."""
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    return {
        "salt": _text(salt),
        "iterations": ITERATIONS,
        "stored": _text(_hash(_mac(salted, b"Client Key"))),
        "server": _text(_mac(salted, b"Server Key")),
    }


@dataclass
class Conversation:
    """The server's side of one login."""

    user: str
    kept: dict[str, Any]
    nonce: str
    transcript: str

    @classmethod
    def start(cls, payload: bytes, find: Any) -> tuple[Conversation, bytes]:
        """Read the first message; ``find`` returns what is kept of a user, or None."""
        message = payload.decode()
        if not message.startswith("n,,"):
            raise CommandError(17, "ProtocolError", "mongosim: not modelled: channel binding")
        bare = message[3:]
        parts = _parts(bare)
        user = parts["n"].replace("=2C", ",").replace("=3D", "=")
        kept = find(user)
        if kept is None:
            raise failed()
        nonce = parts["r"] + secrets.token_urlsafe(18)
        first = f"r={nonce},s={kept['salt']},i={kept['iterations']}"
        return cls(user, kept, nonce, f"{bare},{first}"), first.encode()

    def finish(self, payload: bytes) -> bytes:
        """Check the client's proof; return the server's."""
        message = payload.decode()
        without_proof, _, proof = message.rpartition(",p=")
        if _parts(without_proof).get("r") != self.nonce:
            raise failed()
        transcript = f"{self.transcript},{without_proof}".encode()
        stored = base64.b64decode(self.kept["stored"])
        key = _xor(base64.b64decode(proof), _mac(stored, transcript))
        if not hmac.compare_digest(_hash(key), stored):
            raise failed()
        return b"v=" + base64.b64encode(_mac(base64.b64decode(self.kept["server"]), transcript))


class Client:
    """The client's side, with which members log in at each other."""

    def __init__(self, user: str, password: str) -> None:
        self._password = password
        self._nonce = secrets.token_urlsafe(18)
        self._bare = f"n={user},r={self._nonce}"

    def first(self) -> bytes:
        return f"n,,{self._bare}".encode()

    def second(self, answer: bytes) -> bytes:
        message = answer.decode()
        parts = _parts(message)
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        without_proof = f"c=biws,r={parts['r']}"
        transcript = f"{self._bare},{message},{without_proof}".encode()
        key = _mac(salted, b"Client Key")
        return f"{without_proof},p={_text(_xor(key, _mac(_hash(key), transcript)))}".encode()
