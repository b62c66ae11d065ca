"""The catalogue as bytes, made once per change and per kind of viewer rather than once per request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from runtime.chassis import codec
from runtime.chassis.clock import Clock

from .config import Sessions
from .domain.access import Principal, may_see
from .domain.model import Title
from .fleet import Fleet
from .queueing import Queueing
from .render import Json, title_json
from .scheduler import availability

# Availability also changes by time alone: a host that falls silent. So nothing is kept longer than this.
_FRESH_SECONDS = 1.0
_KINDS = 256
# With thousands of hosts making it takes a while and changes are frequent: no more than this share of the time on it.
_SHARE = 0.05


@dataclass(frozen=True)
class Prepared:
    """``made``: monotonic time. ``cost_seconds``: what making it took. ``revision``: of the fleet."""

    body: bytes
    etag: str
    items: tuple[Json, ...]
    made: float
    cost_seconds: float
    revision: int


class Catalogue:
    def __init__(self, fleet: Fleet, queueing: Queueing, clock: Clock, defaults: Sessions) -> None:
        self._fleet, self._queueing, self._clock, self._defaults = fleet, queueing, clock, defaults
        self._prepared: dict[tuple[bool, bool, frozenset[str]], Prepared] = {}

    def whole(self, principal: Principal) -> Prepared:
        """All titles that ``principal`` sees, as ``GET /titles`` answers."""
        key = (principal.entitled, principal.admin, principal.groups)
        known = self._prepared.get(key)
        now = self._clock.monotonic()
        if known is not None:
            fresh_seconds = _FRESH_SECONDS if known.revision == self._fleet.revision else known.cost_seconds / _SHARE
            if now - known.made < fresh_seconds:
                return known
        revision = self._fleet.revision
        items = tuple(self.show(title, principal) for title in self.titles(principal))
        body = codec.encode({"items": items, "next": None})
        etag = known.etag if known is not None and known.body == body else _etag(body)
        fresh = Prepared(body, etag, items, now, self._clock.monotonic() - now, revision)
        if len(self._prepared) >= _KINDS:
            self._prepared.clear()
        self._prepared[key] = fresh
        return fresh

    def titles(self, principal: Principal) -> list[Title]:
        """Titles by name."""
        return [title for _, title in sorted(self._fleet.titles.items()) if may_see(principal, title)]

    def show(self, title: Title, principal: Principal) -> Json:
        found = availability(self._fleet.loads(), title, self._clock.now_ms())
        wait = self._queueing.wait_for_newcomer(title.name) if found.state == "busy" else None
        return title_json(title, found, wait, principal, self._defaults)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
