"""The pages: one HTML file for all of them, and what it loads."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from runtime.coordinator.rooms import edge_origins
from runtime.coordinator.service import Service
from runtime.protocol.errors import ServiceError

from .base import CoordinatorHandler

_NOT_FOR_PEOPLE = ("/api/", "/control/", "/static/", "/private/")
_PERMISSIONS = (
    "camera=(), geolocation=(), payment=(), usb=(), microphone=(self), gamepad=(self), fullscreen=(self), "
    "autoplay=(self), clipboard-read=(self), clipboard-write=(self)"
)


_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


def style_sources(page: bytes) -> list[str]:
    """The page's own inline styles as CSP sources: what the build wrote may be applied, and nothing else inline."""
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in _STYLE.findall(page)]


def page_headers(service: Service, page: bytes) -> dict[str, str]:
    """Security headers of pages. Embedding is for our own pages and the origins of the CORS list."""
    relays = edge_origins(service.fleet.hosts.values())
    policy = "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            " ".join(["style-src 'self'", *style_sources(page)]),
            "img-src 'self' data: blob:",
            "media-src 'self' blob:",
            "font-src 'self'",
            " ".join(["connect-src 'self'", *relays]),
            "worker-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            " ".join(["frame-ancestors 'self'", *service.config.cors_origins]),
        ]
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": _PERMISSIONS,
        "Cross-Origin-Opener-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if service.identity.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000"
    return headers


class PageHandler(CoordinatorHandler):
    """``index.html`` for every page path; the page reads the path itself."""

    def get(self, *_: str) -> None:
        self._introduce()
        try:
            page = (self.service.static / "index.html").read_bytes()
        except OSError:
            self.set_status(503)
            page = b"<!doctype html><title>Not built</title><p>The pages are not built. Run: make web"
        for name, value in page_headers(self.service, page).items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(page)

    head = get

    def _introduce(self) -> None:
        """A page's first requests go out together; if each met a stranger, the last cookie would own nothing."""
        if self.known_visitor() is None:
            self.set_visitor(self.service.identity.new_visitor())


class NoPageHandler(PageHandler):
    """Any other path: people get the page that says so in their language, programs get the error."""

    def prepare(self) -> None:
        super().prepare()
        request = self.request
        wants_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")
        if not wants_page or request.path.startswith(_NOT_FOR_PEOPLE):
            raise ServiceError("not_found")
        self.set_status(404)


class StaticHandler(StaticFileHandler):
    """Files of the build. Those under ``assets/`` carry a hash of their content in the name."""

    def initialize(self, service: Service) -> None:  # type: ignore[override]
        self.service = service
        super().initialize(path=str(service.static))

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Server", "pixelstream")
        self.set_header("X-Content-Type-Options", "nosniff")
        if path.endswith((".svg", ".html")):
            # Not for scripts: a worker takes over the policy that its script came with.
            self.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
        immutable = path.replace(os.sep, "/").startswith("assets/")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable" if immutable else "no-cache")
        if path == "embed.js":
            # Meant for other sites.
            self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    def parse_url_path(self, url_path: str) -> str:
        if "\0" in url_path:
            # The system's calls would raise ValueError, which is a 500.
            raise HTTPError(404)
        return super().parse_url_path(url_path)

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        if os.path.isdir(absolute_path):
            raise HTTPError(404)
        return super().validate_absolute_path(root, absolute_path)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code}\n")
