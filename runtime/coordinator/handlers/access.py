"""Signing in and out."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from runtime.coordinator.domain.access import Principal
from runtime.coordinator.identity import Visitor
from runtime.coordinator.oidc import OidcClient
from runtime.protocol.errors import ServiceError

from .base import ViewerHandler
from .site import me_json

_FLOW_COOKIE = "sign-in"
_CALLBACK = "/api/v1/sign-in/oidc/callback"
# "//host" leads elsewhere, and so does what browsers make of it: they read "\" as "/" and drop tabs and line ends.
_OWN_PAGE = re.compile(r"/(?!/)[^\x00-\x20\x7f\\]*")


class SignInRequest(msgspec.Struct):
    name: str
    password: str


class AccessHandler(ViewerHandler):
    public = True

    def enter(self, principal: Principal) -> Visitor:
        """Give the browser the principal's cookie."""
        visitor = self.service.identity.sign(
            principal.id, principal.kind, principal.name, groups=tuple(sorted(principal.groups)), admin=principal.admin
        )
        self.set_visitor(visitor)
        self.visitor = visitor
        return visitor

    async def note_entry(self, action: str, principal: Principal) -> None:
        await self.service.audit.note(principal, action, principal.id, address=self.address, request_id=self.request_id)


class SignInHandler(AccessHandler):
    async def post(self) -> None:
        service = self.service
        if service.oidc is not None or not service.accounts.any_users:
            raise ServiceError("not_found", "Nobody signs in with a password here.")
        wanted = self.body_as(SignInRequest)
        if service.config.rate_limits.enabled:
            service.sign_ins_limit.take(f"address:{self.address}")
            service.sign_ins_limit.take(f"name:{wanted.name[:64]}")
        principal = await service.accounts.sign_in(wanted.name, wanted.password)
        await self.note_entry("sign_in", principal)
        self.write_json(me_json(service, self.enter(principal)))


class SignOutHandler(AccessHandler):
    def post(self) -> None:
        visitor = self.service.identity.new_visitor()
        self.set_visitor(visitor)
        self.write_json(me_json(self.service, visitor))


class OidcHandler(AccessHandler):
    """Pages of the flow: a browser comes by a link and goes on by a redirect."""

    def client(self) -> OidcClient:
        if self.service.oidc is None:
            raise ServiceError("not_found", "Nobody signs in by a provider here.")
        return self.service.oidc

    def remember(self, value: str, seconds: int) -> None:
        # Lax: the provider's redirect is a top-level navigation, which brings the cookie back.
        self.set_cookie(
            _FLOW_COOKIE,
            value,
            max_age=seconds,
            httponly=True,
            samesite="Lax",
            secure=self.service.identity.secure,
            path="/api/v1/sign-in",
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A person is looking at this: back to the catalogue, which shows the error."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, ServiceError) and error.code.startswith("sign_in"):
            self.clear()
            self.redirect(f"/?error={error.code}")
            return
        super().write_error(status_code, **kwargs)


class OidcBeginHandler(OidcHandler):
    async def get(self) -> None:
        after = self.get_query_argument("after", "/")
        if not _OWN_PAGE.fullmatch(after):
            after = "/"
        flow = await self.client().begin(after)
        self.remember(flow.cookie, 600)
        self.redirect(flow.url)


class OidcCallbackHandler(OidcHandler):
    async def get(self) -> None:
        error = self.get_query_argument("error", "")
        if error:
            raise ServiceError("sign_in_failed", "The provider refused the sign-in.", details={"error": error[:100]})
        cookie = self.request.cookies.get(_FLOW_COOKIE)
        principal, after = await self.client().finish(
            cookie.value if cookie is not None else None,
            state=self.get_query_argument("state", ""),
            code=self.get_query_argument("code", ""),
            issuer=self.get_query_argument("iss", None),
        )
        await self.note_entry("sign_in", principal)
        self.enter(principal)
        self.remember("", 0)  # used up
        self.redirect(after)


def callback_url(public_url: str) -> str:
    """The redirect URI to register at the provider."""
    return public_url.rstrip("/") + _CALLBACK
