"""The example page of docs/embed.md, served from an origin of its own: an integrator's site."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PAGES = Path(__file__).resolve().parents[2] / "docs" / "examples" / "embed"


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@contextmanager
def example_site() -> Iterator[str]:
    """Its origin. By the name ``localhost`` it is another site than everything at 127.0.0.1, for cookies as well."""
    handler = functools.partial(_QuietHandler, directory=str(_PAGES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()
