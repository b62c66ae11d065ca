"""What handlers of the viewer interface share: who asks, from where, how often, and whether the request is valid."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlsplit

from tornado.web import RequestHandler

from runtime.chassis.web import JsonHandler
from runtime.coordinator.domain.access import Principal
from runtime.coordinator.identity import Visitor
from runtime.coordinator.limits import RateLimit
from runtime.coordinator.service import Proxies, Service
from runtime.coordinator.store.errors import ConflictError, StoreUnavailableError
from runtime.protocol.errors import ServiceError

logger = logging.getLogger(__name__)
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CORS_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID"
_CORS_EXPOSED = "ETag, Location, Retry-After, X-Request-ID, Warning"


class CoordinatorHandler(JsonHandler):
    """Errors of the store become errors of the interface."""

    service: Service
    _counted = False

    def initialize(self, service: Service) -> None:
        self.service = service

    def prepare(self) -> Any:
        if not self._counted:
            self._counted = True
            self.service.in_flight += 1
        if self.service.hub.closed:
            # Clients that keep connections open must go to another instance before these are closed.
            self.set_header("Connection", "close")
        return super().prepare()

    def on_finish(self) -> None:
        if self._counted:
            elapsed = self.request.request_time()
            labels = (type(self).__name__, self.request.method, str(self.get_status()))
            self.service.measures.request.labels(*labels).observe(elapsed)
        self.uncount()
        super().on_finish()

    def uncount(self) -> None:
        """No longer wait for this request when stopping."""
        if self._counted:
            self._counted = False
            self.service.in_flight -= 1

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, StoreUnavailableError):
            kwargs["exc_info"] = (None, ServiceError("database_unavailable", retry_after_seconds=3), None)
        elif isinstance(error, ConflictError):
            kwargs["exc_info"] = (None, ServiceError("conflict", retry_after_seconds=1), None)
        if status_code == 405:
            # RFC 9110 section 15.5.6
            self.set_header("Allow", ", ".join(self._methods()))
        super().write_error(status_code, **kwargs)

    def _methods(self) -> list[str]:
        return [
            method
            for method in self.SUPPORTED_METHODS
            if getattr(type(self), method.lower()) is not getattr(RequestHandler, method.lower())
        ]

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, StoreUnavailableError):
            logger.warning("%s %s: the database does not answer", self.request.method, type(self).__name__)
            return
        super().log_exception(typ, value, tb)

    def finish(self, chunk: Any = None) -> Any:
        if self.service.check_responses and isinstance(chunk, bytes):
            content_type = str(self._headers.get("Content-Type", ""))
            self.service.document.check_response(self.request, self.get_status(), content_type, chunk)
        return super().finish(chunk)

    def known_visitor(self) -> Visitor | None:
        """Whose cookie the request brings; None for a stranger."""
        identity = self.service.identity
        for name in (identity.cookie_name, identity.framed_cookie_name):
            cookie = self.request.cookies.get(name)
            visitor = identity.read_cookie(cookie.value) if cookie is not None else None
            if visitor is not None:
                return visitor
        return None

    def set_visitor(self, visitor: Visitor) -> None:
        """Send the visitor's cookie."""
        identity = self.service.identity
        value, seconds = visitor.cookie or "", int(identity.seconds_valid(visitor.principal.kind))
        if self._is_framed():
            # In a frame of another site browsers keep no Lax cookie. One that is partitioned belongs to that site's
            # frames alone (CHIPS, draft-cutler-httpbis-partitioned-cookies); writes need the CSRF token as ever.
            # http.cookies knows the attribute only from Python 3.14 on.
            attributes = f"Max-Age={seconds}; Path=/; HttpOnly; Secure; SameSite=None; Partitioned"
            self.add_header("Set-Cookie", f"{identity.framed_cookie_name}={value}; {attributes}")
            return
        self.set_cookie(
            identity.cookie_name,
            value,
            max_age=seconds,
            httponly=True,
            samesite="Lax",
            secure=identity.secure,
            path="/",
        )

    def _is_framed(self) -> bool:
        """Whether the answer goes into a frame of another site, which has to be one that may show pages of ours."""
        if not self.service.config.cors_origins:
            return False
        identity = self.service.identity
        brought = {identity.cookie_name, identity.framed_cookie_name} & self.request.cookies.keys()
        if brought:
            return brought == {identity.framed_cookie_name}
        headers = self.request.headers  # W3C Fetch Metadata
        return headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Dest") in ("iframe", "frame")


class ViewerHandler(CoordinatorHandler):
    """A request of the viewer interface. Sets ``visitor`` and ``address``."""

    visitor: Visitor
    address: str
    proxies: Proxies
    # Answers also to people who still have to sign in.
    public = False

    def initialize(self, service: Service, proxies: Proxies) -> None:  # type: ignore[override]
        super().initialize(service)
        self.proxies = proxies

    @property
    def principal(self) -> Principal:
        return self.visitor.principal

    def prepare(self) -> Any:
        super().prepare()
        self.address = self.proxies.address(self.request)
        self._cross_origin()
        if self.request.method == "OPTIONS":
            return
        self.visitor = self._who()
        if self.service.config.rate_limits.enabled:
            self._count(self.service.requests_limit)
        if self.visitor.cookie is not None and self.request.method not in _SAFE_METHODS:
            self.service.identity.check_csrf(self.visitor, self.request.headers.get("X-CSRF-Token"))
        self.service.document.check_request(self.request)
        if not self.public and not self.principal.entitled:
            raise ServiceError("unauthenticated")

    def count_create(self) -> None:
        """Raise ``rate_limited`` for somebody who makes too much in a short time."""
        if self.service.config.rate_limits.enabled and not self.principal.admin:
            self._count(self.service.creates_limit)

    def _count(self, limit: RateLimit) -> None:
        """One bucket for a person behind a shared address, one for an address with many cookies."""
        limit.take(f"principal:{self.principal.id}")
        limit.take(f"address:{self.address}", 0.25)

    def options(self, *_: str) -> None:
        """A preflight; what it may do stands in the headers already set."""
        self.set_status(204)
        self.finish()

    def require(self, scope: str) -> None:
        """Raise ``forbidden`` when the API key is not made for this."""
        if not self.principal.has_scope(scope):
            raise ServiceError("forbidden", f"This API key lacks the scope {scope}.", details={"scope": scope})

    async def note(self, action: str, subject: str, **details: str) -> None:
        """Put what is being done into the audit log, before it is done; raise ``StoreUnavailableError``."""
        await self.service.audit.note(
            self.principal, action, subject, address=self.address, request_id=self.request_id, **details
        )

    def require_admin(self) -> None:
        if not self.principal.admin:
            raise ServiceError("forbidden" if self.principal.entitled else "unauthenticated")

    def not_changed(self, etag: str) -> bool:
        """Set the ETag; True, with the answer given, when the client has this state already."""
        self.set_header("ETag", etag)
        self.set_header("Cache-Control", "no-cache, private")
        given = self.request.headers.get("If-None-Match", "")
        if given != "*" and etag not in [part.strip().removeprefix("W/") for part in given.split(",")]:
            return False
        self.set_status(304)
        self.finish()
        return True

    def warn_if_stale(self) -> None:
        """Say so when this is the last known state because the database is away (RFC 7234 section 5.5.2)."""
        if not self.service.store.connection.available:
            self.set_header("Warning", '111 pixelstream "Revalidation Failed"')

    def _who(self) -> Visitor:
        identity = self.service.identity
        authorization = self.request.headers.get("Authorization")
        if authorization is not None:
            return identity.read_key(authorization)
        visitor = self.known_visitor()
        if visitor is None:
            visitor = identity.new_visitor()
            self.set_visitor(visitor)
        elif identity.is_worn(visitor):
            principal = visitor.principal
            self.set_visitor(identity.sign(principal.id, principal.kind, principal.name))
        return visitor

    def _cross_origin(self) -> None:
        """CORS (Fetch standard section 3.2): listed origins may use the interface with API keys, without cookies."""
        origin = self.request.headers.get("Origin")
        self.add_header("Vary", "Origin")
        if origin is None or self._is_own(origin):
            return
        if origin in self.service.config.cors_origins:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Expose-Headers", _CORS_EXPOSED)
            if self.request.method == "OPTIONS":
                self.set_header("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
                self.set_header("Access-Control-Allow-Headers", _CORS_HEADERS)
                self.set_header("Access-Control-Max-Age", "7200")
            return
        if self.request.method not in ("GET", "HEAD"):
            raise ServiceError("origin_refused")

    def _is_own(self, origin: str) -> bool:
        if origin == self.service.config.public_url:
            return True
        # The same service under another of its names, for example localhost.
        return urlsplit(origin).netloc == self.request.host
