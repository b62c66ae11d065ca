"""The catalogue."""

from __future__ import annotations

import hashlib
import html

from runtime.chassis import codec
from runtime.coordinator.domain.access import may_see
from runtime.coordinator.domain.model import Title, text_in
from runtime.coordinator.store.store import Picture
from runtime.protocol.errors import ServiceError

from .base import ViewerHandler
from .paging import page_of

_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_COLOURS = ("#2f6fdb", "#0f8a6b", "#a8570f", "#8b3fc4", "#b8325b", "#3d6b1f", "#1f6f8b", "#6b4fd0")


class TitlesHandler(ViewerHandler):
    def get(self) -> None:
        self.require("titles:read")
        self.warn_if_stale()
        whole = self.service.catalogue.whole(self.principal)
        if not self.request.query:
            if not self.not_changed(whole.etag):
                self.set_header("Content-Type", "application/json; charset=utf-8")
                self.finish(whole.body)
            return
        tag, words = self.get_query_argument("tag", ""), self.get_query_argument("search", "").casefold().split()
        found = [item for item in whole.items if (not tag or tag in item["tags"]) and _has(item, words)]
        items, following = page_of(self, found, key=lambda item: str(item["name"]))
        self.write_json({"items": items, "next": following})


class TitleHandler(ViewerHandler):
    def get(self, name: str) -> None:
        self.require("titles:read")
        self.warn_if_stale()
        body = codec.encode(self.service.catalogue.show(self.title(name), self.principal))
        if not self.not_changed(f'"{hashlib.sha256(body).hexdigest()[:32]}"'):
            self.set_header("Content-Type", "application/json; charset=utf-8")
            self.finish(body)

    def title(self, name: str) -> Title:
        """Raise ``title_not_found``, also for titles that the principal may not see."""
        title = self.service.fleet.titles.get(name)
        if title is None or not may_see(self.principal, title):
            raise ServiceError("title_not_found")
        return title


class PictureHandler(ViewerHandler):
    """Pictures are named by their content, so that they may be kept for ever."""

    public = True  # an invitation's page shows it too

    async def get(self, name: str) -> None:
        title = self.service.fleet.titles.get(name)
        if title is None:
            raise ServiceError("title_not_found")
        picture = await self._stored(title) or _drawn(title)
        if self.not_changed(f'"{picture.sha256[:32]}"'):
            return
        if self.get_query_argument("v", "") == (title.picture or "none")[:16]:
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        # SVG may hold scripts; none of them runs under this.
        self.set_header("Content-Security-Policy", _PICTURE_POLICY)
        self.set_header("Content-Type", picture.content_type)
        self.finish(picture.content)

    async def _stored(self, title: Title) -> Picture | None:
        if title.picture is None or title.picture.startswith("/"):
            return None
        return await self.service.store.picture(title.picture)


def _drawn(title: Title) -> Picture:
    """Initials on a colour that the name decides."""
    shown = text_in(title.display_name, "en", title.name)
    initials = html.escape("".join(word[0] for word in shown.split()[:2]).upper() or "?")
    colour = _COLOURS[hashlib.sha256(title.name.encode()).digest()[0] % len(_COLOURS)]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360">'
        f'<rect width="640" height="360" fill="{colour}"/>'
        '<text x="320" y="180" fill="#fff" fill-opacity=".92" font-family="system-ui, sans-serif" font-size="120" '
        f'font-weight="600" text-anchor="middle" dominant-baseline="central">{initials}</text></svg>'
    ).encode()
    return Picture(hashlib.sha256(svg).hexdigest(), "image/svg+xml", svg)


def _has(item: dict[str, object], words: list[str]) -> bool:
    if not words:
        return True
    texts = [item["name"], *_values(item["display_name"]), *_values(item["description"]), *_list(item["tags"])]
    text = " ".join(str(part) for part in texts).casefold()
    return all(word in text for word in words)


def _values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else []


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []
