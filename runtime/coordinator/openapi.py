"""The OpenAPI document, and checks of requests (always) and answers (in tests) against it."""

from __future__ import annotations

import contextlib
import json
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.exceptions import PathError
from openapi_core.validation.request.exceptions import InvalidRequestBody, ParameterValidationError
from tornado.httputil import HTTPServerRequest
from werkzeug.datastructures import Headers, ImmutableMultiDict

from runtime.protocol.errors import ServiceError

SOURCE = Path(__file__).with_name("openapi.yaml")


class Document:
    """Read and compiled at first use, which takes a quarter of a second: :meth:`prepare` does it beforehand."""

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
        return content

    @cached_property
    def json(self) -> bytes:
        return json.dumps(self.content, ensure_ascii=False).encode()

    def prepare(self) -> None:
        """Read and compile now, so that no request waits for it."""
        _ = self._openapi

    @cached_property
    def _openapi(self) -> OpenAPI:
        return OpenAPI.from_dict(self.content)

    def check_request(self, request: HTTPServerRequest) -> None:
        """Raise ``bad_request`` or ``bad_json`` naming what is wrong. Unknown paths and methods are the router's."""
        if request.method in ("GET", "HEAD") and not request.query:
            # No operation needs more than its path then, and the routes match paths by the same patterns. This spares
            # the commonest requests two milliseconds.
            return
        try:
            self._openapi.validate_request(_Request(request))
        except PathError:
            return
        except ParameterValidationError as error:
            raise ServiceError(
                "bad_request",
                f"The {error.location} parameter {error.name} is not valid{_why(error)}",
                details={"in": error.location, "name": error.name},
            ) from None
        except InvalidRequestBody as error:
            raise ServiceError("bad_request", f"The body is not valid{_why(error)}", details=_places(error)) from None
        except OpenAPIError as error:
            if request.body and not _is_json(request.body):
                raise ServiceError("bad_json") from None
            raise ServiceError("bad_request", f"The request is not valid: {str(error)[:300]}") from None

    def check_response(self, request: HTTPServerRequest, status: int, content_type: str, body: bytes) -> None:
        """Raise ``OpenAPIError`` when an answer is not as promised (tests). Paths outside the document are free."""
        with contextlib.suppress(PathError):
            self._openapi.validate_response(_Request(request), _Response(status, content_type, body))


@cache
def document() -> Document:
    """The one document of this process."""
    return Document()


class _Request:
    """What openapi-core wants to know of a request (its ``Request`` protocol)."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request
        self.parameters = RequestParameters(
            # Empty values count: they are not valid where a value is expected.
            query=ImmutableMultiDict(parse_qsl(request.query, keep_blank_values=True)),
            header=Headers(list(request.headers.get_all())),
        )

    @property
    def host_url(self) -> str:
        # The document's only server is "/", so that it holds behind any name.
        return ""

    @property
    def path(self) -> str:
        return self._request.path

    @property
    def method(self) -> str:
        return (self._request.method or "").lower()

    @property
    def body(self) -> bytes | None:
        return self._request.body or None

    @property
    def content_type(self) -> str:
        return str(self._request.headers.get("Content-Type", "application/json")).lower()


class _Response:
    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        self.status_code = status
        self.headers = Headers()
        self.data = body
        self.content_type = content_type.split(";")[0]


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _errors(error: BaseException) -> list[Any]:
    cause = error.__cause__
    return list(getattr(cause, "schema_errors", []) or [])


def _why(error: BaseException) -> str:
    """The first reason, or what stands behind it."""
    for found in _errors(error):
        where = ".".join(str(part) for part in found.absolute_path)
        return f": {where + ': ' if where else ''}{found.message[:300]}."
    return f": {str(error.__cause__)[:300]}." if error.__cause__ is not None else "."


def _places(error: BaseException) -> list[dict[str, str]]:
    return [
        {"at": ".".join(str(part) for part in found.absolute_path), "problem": found.message[:300]}
        for found in _errors(error)[:20]
    ]
