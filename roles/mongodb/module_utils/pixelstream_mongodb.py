"""What the modules of the role mongodb share: one server at its address, and words for what can go wrong with it."""

from __future__ import annotations

import socket
import ssl
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

try:
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure, PyMongoError

    IMPORT_ERROR = ""
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.25
AUTHENTICATION_FAILED = 18


class RefusedError(Exception):
    """Why it cannot be done, with the fix."""


def reason(error: Exception) -> str:
    """The first sentence of a driver's error; the rest is topology."""
    text = str(error).split(", Timeout:")[0].split(", full error")[0]
    return (text.split("(configured timeouts")[0].strip() or type(error).__name__)[:300]


def fix_of(address: str, error: Exception) -> str:
    """Say what to do about a server that does not answer."""
    text = str(error).lower()
    if "certificate" in text or "ssl" in text or "tls" in text:
        return (
            f"The certificate of {address} is not trusted here, or TLS is not set up there. Bring new ones to all "
            "members: deploy.yml --tags mongodb."
        )
    if "refused" in text:
        return f"Nothing listens at {address}. See why: journalctl --unit=mongod --lines=50 on that machine."
    return f"Let TCP reach {address} from the other members and from the coordinators, through every firewall between."


class Server:
    """One server by its address, never another one of its set. Each command has a deadline."""

    def __init__(self, address: str, ca_file: str, user: str = "", password: str = "") -> None:
        self.address = address
        options: dict[str, Any] = {"tls": True, "tlsCAFile": ca_file} if ca_file else {}
        if user:
            options |= {"username": user, "password": password, "authSource": "admin", "authMechanism": "SCRAM-SHA-256"}
        milliseconds = int(ANSWER_SECONDS * 1000)
        self._client: Any = MongoClient(
            f"mongodb://{address}/",
            directConnection=True,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds * 3,  # a user, or a configuration, is acknowledged by a majority
            retryWrites=False,
            **options,
        )

    def ask(self, command: str, value: Any = 1, **fields: Any) -> dict[str, Any]:
        return dict(self._client.admin.command(command, value, **fields))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


Look = dict[str, Any] | Exception


def look_at(address: str, ca_file: str) -> Look:
    """Return what a server says of itself, or why it does not."""
    host, port = address.rsplit(":", 1)
    try:
        # First by hand: the driver tries again until its deadline, also where nothing listens or nobody is trusted.
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS) as plain:
            if ca_file:
                context = ssl.create_default_context(cafile=ca_file)
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # nor is the driver that strict
                context.wrap_socket(plain, server_hostname=host.strip("[]")).close()
        with Server(address, ca_file) as server:
            return server.ask("hello")
    except (OSError, PyMongoError) as error:
        return error


def look_at_all(addresses: list[str], ca_file: str) -> dict[str, Look]:
    with ThreadPoolExecutor(max(len(addresses), 1)) as pool:
        return dict(zip(addresses, pool.map(lambda address: look_at(address, ca_file), addresses), strict=True))


def accepts(address: str, ca_file: str, user: str, password: str) -> bool:
    """Is this the user's password there?"""
    try:
        with Server(address, ca_file, user, password) as server:
            server.ask("ping")
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
        return False
    return True


def wait(ready: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is so; False when it was not within ``seconds``."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_SECONDS)
    return True
