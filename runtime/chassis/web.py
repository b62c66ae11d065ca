"""Base of every HTTP handler: JSON in and out, errors with stable codes, request ids, scrubbed access lines."""

from __future__ import annotations

import logging
import re
import secrets
import time
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from tornado import httputil, web

from runtime.protocol.errors import ERRORS, ServiceError

from . import codec, metrics
from .log import scrub

T = TypeVar("T")
logger = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_CODE_BY_STATUS = {400: "bad_request", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class JsonHandler(web.RequestHandler):
    """Handlers raise ``ServiceError``; everything else becomes ``internal`` with the cause in the log only."""

    request_id: str
    started: float

    def prepare(self) -> Any:
        self.started = time.perf_counter()
        given = self.request.headers.get("X-Request-ID", "")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.set_header("X-Request-ID", self.request_id)

    def set_default_headers(self) -> None:
        self.set_header("Server", "pixelstream")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")

    def body_as(self, shape: type[T]) -> T:
        """The request body as a wire shape; raise ``ServiceError``."""
        return codec.decode(self.request.body, shape)

    def write_json(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(codec.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ServiceError):
            failure = error
        else:
            failure = ServiceError(
                _CODE_BY_STATUS.get(status_code, "internal" if status_code >= 500 else "bad_request")
            )
        self.set_status(failure.status)
        if failure.retry_after_seconds is not None:
            self.set_header("Retry-After", str(max(1, round(failure.retry_after_seconds))))
        if failure.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        body = failure.body()
        # Tornado has dropped the headers set so far.
        body["error"]["request_id"] = request_id = getattr(self, "request_id", "")
        self.set_header("X-Request-ID", request_id)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(codec.encode(body))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, ServiceError) and value.status < 500:
            return
        if isinstance(value, ServiceError | web.HTTPError):
            logger.warning("%s %s: %s", self.request.method, scrub(self.request.path), value)
            return
        logger.error("%s %s failed", self.request.method, scrub(self.request.path), exc_info=(typ, value, tb))

    def on_finish(self) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            elapsed_ms = (time.perf_counter() - getattr(self, "started", time.perf_counter())) * 1000
            path = scrub(self.request.path)
            logger.debug("%s %s -> %d in %.1f ms", self.request.method, path, self.get_status(), elapsed_ms)


class NotFoundHandler(JsonHandler):
    """Everything that has no route."""

    def prepare(self) -> None:
        super().prepare()
        raise ServiceError("not_found")


class MetricsHandler(JsonHandler):
    """Prometheus text format."""

    def initialize(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def get(self) -> None:
        self.set_header("Content-Type", metrics.CONTENT_TYPE)
        self.finish(metrics.render(self._registry))


def no_access_log(handler: web.RequestHandler) -> None:
    """Tornado's own access line would carry unscrubbed URLs."""


def application(routes: list[Any], **settings: Any) -> web.Application:
    """A Tornado application with our 404 and no unscrubbed access log."""
    settings.setdefault("default_handler_class", NotFoundHandler)
    settings.setdefault("log_function", no_access_log)
    return web.Application(routes, **settings)


def target_of(request: httputil.HTTPServerRequest) -> str:
    """Path with query as sent, which is what signatures cover."""
    return request.uri or ""


__all__ = ["ERRORS", "JsonHandler", "MetricsHandler", "NotFoundHandler", "application", "no_access_log", "target_of"]
