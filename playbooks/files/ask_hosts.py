"""Ask streaming hosts how they are, with the coordinator's own signed requests.

Runs on a coordinator, fed on standard input:

    current/bin/python - status CONFIG < ask_hosts.py        {"hosts": {name: {...} or {"error": text}}}
    current/bin/python - logs CONFIG SESSION SOURCE LINES    the text

Hosts and their addresses come from the registry file beside the configuration. Nothing secret is printed.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from runtime.chassis.client import HttpClient, PeerUnreachableError, SignedClient
from runtime.chassis.clock import SystemClock
from runtime.chassis.config import load
from runtime.chassis.signing import host_key
from runtime.coordinator.config import CoordinatorConfig
from runtime.protocol.control import HostHeartbeat
from runtime.protocol.errors import ServiceError

DEADLINE_SECONDS = 8.0


def clients(config_path: Path) -> dict[str, SignedClient]:
    """Return a client for each host of the registry file."""
    config = load(config_path, CoordinatorConfig)
    registry = json.loads((config_path.parent / "registry/registry.json").read_text())
    http = HttpClient(ca_file=config.control_ca_file)
    return {
        server["name"]: SignedClient(
            http,
            server["control_url"],
            key=host_key(config.control_secret, server["name"]),
            issuer="coordinator",
            audience=server["name"],
            clock=SystemClock(),
        )
        for server in registry["session_servers"]
    }


async def status_of(client: SignedClient) -> dict[str, Any]:
    try:
        reply = await client.call("GET", "/control/v1/host", deadline_seconds=DEADLINE_SECONDS)
        answer: dict[str, Any] = msgspec.to_builtins(reply.as_(HostHeartbeat))
    except (ServiceError, PeerUnreachableError) as error:
        return {"error": str(error)}
    return answer


async def status(config_path: Path) -> str:
    asked = clients(config_path)
    answers = await asyncio.gather(*(status_of(client) for client in asked.values()))
    return json.dumps({"hosts": dict(zip(asked, answers, strict=True))})


async def logs(config_path: Path, session: str, source: str, lines: str) -> str:
    reasons = []
    for name, client in clients(config_path).items():
        target = f"/control/v1/sessions/{session}/logs?source={source}&lines={lines}"
        try:
            reply = await client.call("GET", target, deadline_seconds=DEADLINE_SECONDS)
        except (ServiceError, PeerUnreachableError) as error:
            reasons.append(f"{name}: {error}")
            continue
        return f"--- {name}, {source}\n{reply.body.decode(errors='replace')}"
    return "no host knows this session: " + "; ".join(reasons)


def main(arguments: list[str]) -> None:
    config_path = Path(arguments[1])
    if arguments[0] == "status":
        print(asyncio.run(status(config_path)))
    else:
        print(asyncio.run(logs(config_path, *arguments[2:5])))


if __name__ == "__main__":
    main(sys.argv[1:])
