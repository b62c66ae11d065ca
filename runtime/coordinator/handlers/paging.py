"""Pages of a list: ``limit`` items after ``cursor``, which is the key of the last item before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tornado.web import RequestHandler

T = TypeVar("T")
DEFAULT_LIMIT = 100


def limit_of(handler: RequestHandler) -> int:
    """The wanted page size; the OpenAPI document has its bounds."""
    return int(handler.get_query_argument("limit", str(DEFAULT_LIMIT)))


def page_of(handler: RequestHandler, items: Sequence[T], *, key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """One page of ``items``, which are sorted by ``key``, and the cursor of the next page."""
    cursor, limit = handler.get_query_argument("cursor", ""), limit_of(handler)
    after = [item for item in items if not cursor or key(item) > cursor]
    page = list(after[:limit])
    return page, key(page[-1]) if len(after) > limit else None
