"""Log lines: one per event, ids on every line, secrets scrubbed.

``text`` for people (systemd's journal adds the time itself when asked), ``json`` for collectors.
"""

from __future__ import annotations

import contextvars
import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

# Ids of what the current task is about: {"session": ..., "player": ...}.
_context: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("log_context", default=None)

_SCRUBBERS = (
    # token=..., secret=..., code=... in URLs and forms
    (
        re.compile(r"(?i)\b((?:access_|id_|refresh_)?token|secret|password|api_?key|code|state)=[^&\s\"']+"),
        r"\1=[scrubbed]",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [scrubbed]"),
    # anything that looks like a JWT
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), "[scrubbed]"),
    (re.compile(r"(/streamer/)[A-Za-z0-9_-]{8,}"), r"\1[scrubbed]"),
    # invitations: "<session id>-<secret>", in pages' addresses, in the interface's and in bodies
    (re.compile(r"(/join/)[A-Za-z0-9_-]{8,}"), r"\1[scrubbed]"),
    (re.compile(r"\b([a-z2-7]{26})-[A-Za-z0-9_-]{20,}"), r"\1-[scrubbed]"),
    # calendar programs bring no cookie: the address of the feed is the secret
    (re.compile(r"(/calendar/)[^\s\"'?]+"), r"\1[scrubbed]"),
    (re.compile(r"(mongodb(?:\+srv)?://[^:/@\s]+:)[^@\s]+@"), r"\1[scrubbed]@"),
)


def scrub(text: str) -> str:
    """``text`` without tokens, passwords and secrets."""
    for pattern, replacement in _SCRUBBERS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def log_context(**ids: str) -> Iterator[None]:
    """Put ``ids`` on every line logged inside."""
    token = _context.set({**(_context.get() or {}), **ids})
    try:
        yield
    finally:
        _context.reset(token)


class _Formatter(logging.Formatter):
    def __init__(self, style: str) -> None:
        super().__init__()
        self._json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        message = scrub(record.getMessage())
        if record.exc_info:
            message += "\n" + scrub(self.formatException(record.exc_info))
        ids = _context.get() or {}
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self._json:
            line = {"time": when, "level": record.levelname.lower(), "logger": record.name, "message": message, **ids}
            return json.dumps(line, ensure_ascii=False)
        suffix = "".join(f" {key}={value}" for key, value in ids.items())
        return f"{when} {record.levelname.lower():<7} {record.name}: {message}{suffix}"


def configure(level: str = "info", style: str = "text") -> None:
    """Send every logger's lines to standard error, in ``style`` ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(style))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # One line per request is written by our handlers, with scrubbed URLs.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    for chatty in ("pymongo", "aioice", "aiortc"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
