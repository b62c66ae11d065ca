"""How many sessions does a deployed lab take at once? As an operator who drained a host would try it.

    python -m tests.deploy.lab_places --name play.lab.test --address 10.213.88.44 --authority FILE --title sample \
        --expect 1

Starts sessions of a title, each as a visitor of its own who does not wait in the queue, until one is refused for want
of a place; ends them all. Prints one JSON line; exit 0 when exactly as many as expected were taken.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# More than any lab has; a title that is taken more often is a fault of its own.
AT_MOST = 8
NO_PLACE = ("no_capacity", "no_host")


@dataclass
class Visitor:
    """One browser's worth of cookies; ``ask`` returns (status, decoded body)."""

    options: argparse.Namespace
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=str(self.options.authority))
        with (
            socket.create_connection((self.options.address, 443), timeout=15) as plain,
            context.wrap_socket(plain, server_hostname=self.options.name) as secure,
        ):
            connection = http.client.HTTPConnection(self.options.name, timeout=30)
            connection.sock = secure
            data = None if body is None else json.dumps(body)
            kind = {} if data is None else {"Content-Type": "application/json"}
            connection.request(method, path, body=data, headers={"Connection": "close", **kind, **self.headers})
            answer = connection.getresponse()
            text = answer.read()
        cookies = [value.split(";")[0] for value in answer.headers.get_all("Set-Cookie") or []]
        if cookies:
            self.headers["Cookie"] = "; ".join(cookies)
        return answer.status, json.loads(text) if text else None

    def start(self, title: str) -> tuple[str, str]:
        """(id of the session, "") or ("", code of the refusal)."""
        status, me = self.ask("GET", "/api/v1/me")
        assert status == 200, me
        self.headers["X-CSRF-Token"] = me["csrf_token"]
        status, answer = self.ask("POST", "/api/v1/sessions", {"title": title, "wait": False})
        return (answer["id"], "") if status == 201 else ("", answer["error"]["code"])


def places(options: argparse.Namespace) -> tuple[int, str]:
    """How many sessions were taken, and the code with which the next was refused."""
    taken: list[tuple[Visitor, str]] = []
    try:
        for _ in range(AT_MOST):
            visitor = Visitor(options)
            session, refusal = visitor.start(options.title)
            if refusal:
                return len(taken), refusal
            taken.append((visitor, session))
        return len(taken), ""
    finally:
        for visitor, session in taken:
            status, answer = visitor.ask("DELETE", f"/api/v1/sessions/{session}")
            assert status < 400, answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--authority", type=Path, required=True, help="what the site's certificate is verified with")
    parser.add_argument("--title", required=True)
    parser.add_argument("--expect", type=int, required=True)
    options = parser.parse_args()
    taken, refusal = places(options)
    held = taken == options.expect and refusal in NO_PLACE
    print(json.dumps({"held": held, "taken": taken, "refusal": refusal}))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
