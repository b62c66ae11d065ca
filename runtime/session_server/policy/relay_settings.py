"""The relay's configuration file, as this host fills it. Its shape is ``runtime/relay/config.py`` (contract test)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from runtime.protocol.control import StartSession


def relay_settings(
    start: StartSession,
    *,
    listen_address: str,
    port: int,
    private_port: int,
    media_addresses: Sequence[str],
    announced_addresses: Sequence[str],
    allowed_origins: Sequence[str],
    ready_file: str,
    streamer_secret: str,
    private_secret: str,
    log_level: str,
) -> dict[str, Any]:
    """A JSON-ready dict. ``private_port`` is 0 for a first start, and what the first one chose afterwards."""
    return {
        "session_id": start.session_id,
        "title": start.title,
        "ready_file": ready_file,
        "streamer_secret": streamer_secret,
        "private_secret": private_secret,
        "token_public_key": start.token_public_key,
        "listen": {"address": listen_address, "port": port},
        "private_port": private_port,
        "media": {"addresses": list(media_addresses), "announced_addresses": list(announced_addresses)},
        "policy": asdict(start.policy),
        "ice_servers": [asdict(server) for server in start.ice_servers],
        "allowed_origins": list(dict.fromkeys([*start.allowed_origins, *allowed_origins])),
        "owner_participant": start.owner_participant,
        "log": {"level": log_level, "style": "text"},
    }
