"""How a member talks to another: one connection per call, TLS, logged in with the key file."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import bson

from . import scram
from .conf import Configuration
from .errors import CommandError
from .wire import Message, receive, request

CALL_SECONDS = 3.0
SYSTEM_USER = "__system"


def system_password(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class PeerError(Exception):
    """The other member did not answer, or refused."""


async def call(configuration: Configuration, host: str, command: dict[str, Any]) -> dict[str, Any]:
    """Run a command on the member ``host``. Raise ``PeerError`` with what a heartbeat would say of it."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            address, port = host.rsplit(":", 1)
            context = configuration.calling_context()
            reader, writer = await asyncio.open_connection(
                address, int(port), ssl=context, server_hostname=address if context else None
            )
            try:
                await _log_in(reader, writer, configuration.key)
                return await _ask(reader, writer, {**command, "$db": "admin"})
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise PeerError(f"Couldn't get a connection within the time limit to {host}") from None
    except (OSError, asyncio.IncompleteReadError, ValueError, CommandError) as error:
        raise PeerError(f"Error connecting to {host} :: caused by :: {error}") from None


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: dict[str, Any]) -> dict[str, Any]:
    writer.write(request(command))
    await writer.drain()
    answer: dict[str, Any] = Message(await receive(reader)).command
    if answer.get("ok") != 1:
        raise CommandError(answer.get("code", 8), answer.get("codeName", "?"), answer.get("errmsg", "?"))
    return answer


async def _log_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
    client = scram.Client(SYSTEM_USER, system_password(key))
    start = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": bson.Binary(client.first()), "$db": "local"}
    first = await _ask(reader, writer, {**start, "options": {"skipEmptyExchange": True}})
    second = {"saslContinue": 1, "conversationId": first["conversationId"], "$db": "local"}
    await _ask(reader, writer, {**second, "payload": bson.Binary(client.second(first["payload"]))})
