"""Cookies, CSRF tokens and API keys: from a request's credentials to a principal."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass

import jwt

from runtime.chassis.clock import Clock
from runtime.chassis.entropy import new_event_id
from runtime.protocol.errors import ServiceError

from .accounts import Accounts
from .config import Access, CoordinatorConfig
from .domain.access import ANONYMOUS, OIDC, USER, Principal

_ISSUER = "pixelstream-viewer"
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Visitor:
    """A principal and what belongs to its cookie; ``cookie`` is None for API keys."""

    principal: Principal
    csrf_token: str
    issued: int  # epoch seconds
    cookie: str | None


class Identity:
    """Makes and reads credentials. Signed cookies carry who signed in; rights are looked up at each request."""

    def __init__(self, config: CoordinatorConfig, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._access: Access = config.access
        self._secret = config.cookie_secret
        self._clock = clock
        # Cookies whose signature was checked lately, the least recently used first.
        self._verified: OrderedDict[str, dict[str, object]] = OrderedDict()
        self.secure = config.public_url.startswith("https://")
        # The __Host- prefix forbids other hosts and paths to set it, and browsers accept it only over https.
        self.cookie_name = "__Host-viewer" if self.secure else "viewer"
        # What a frame in another site's page has instead: browsers keep the other one away from it.
        self.framed_cookie_name = f"{self.cookie_name}-framed"

    # --- cookies ---

    def new_visitor(self) -> Visitor:
        """An anonymous visitor never seen before."""
        return self.sign(f"{ANONYMOUS}:{new_event_id()}", ANONYMOUS, "")

    def sign(
        self, principal_id: str, kind: str, name: str, *, groups: tuple[str, ...] = (), admin: bool = False
    ) -> Visitor:
        """A cookie for a principal. It holds ``groups`` and ``admin`` only for ``oidc``, whose provider told them."""
        issued = self._clock.now_ms() // 1000
        claims = {"iss": _ISSUER, "sub": principal_id, "kind": kind, "name": name, "iat": issued}
        if kind == OIDC:
            claims |= {"groups": list(groups), "admin": admin}
        cookie = jwt.encode(claims, self._secret, algorithm="HS256")
        visitor = self._visitor(claims, cookie)
        assert visitor is not None
        return visitor

    def read_cookie(self, cookie: str) -> Visitor | None:
        """Whose cookie it is, or None when it is not ours, too old, or of a user who is gone."""
        known = self._verified.get(cookie)
        if known is not None:
            # Only the signature was remembered; age and rights are looked at each time.
            self._verified.move_to_end(cookie)
            return self._visitor(known, cookie)
        try:
            claims = jwt.decode(
                cookie,
                self._secret,
                algorithms=["HS256"],
                issuer=_ISSUER,
                options={"require": ["sub", "iat", "kind"], "verify_iat": False},
            )
        except (jwt.InvalidTokenError, ValueError):
            return None
        claims["csrf"] = self._csrf(str(claims["sub"]), int(str(claims["iat"])))
        self._verified[cookie] = claims
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return self._visitor(claims, cookie)

    def seconds_valid(self, kind: str) -> float:
        return self._access.anonymous_seconds if kind == ANONYMOUS else self._access.sign_in_seconds

    def is_worn(self, visitor: Visitor) -> bool:
        """Past half of its life: worth a fresh cookie."""
        age = self._clock.now_ms() // 1000 - visitor.issued
        return visitor.principal.kind == ANONYMOUS and age > self._access.anonymous_seconds / 2

    def _visitor(self, claims: dict[str, object], cookie: str) -> Visitor | None:
        issued, kind, subject = int(str(claims["iat"])), str(claims["kind"]), str(claims["sub"])
        age = self._clock.now_ms() // 1000 - issued
        if age < -60 or age > self.seconds_valid(kind):
            return None
        name = str(claims.get("name", ""))
        if kind == ANONYMOUS:
            principal = Principal(id=subject, kind=kind, entitled=self._access.mode == "open")
        elif kind == USER:
            found = self._accounts.principal(subject.partition(":")[2], issued * 1000)
            if found is None:
                return None
            principal = found
        elif kind == OIDC and self._access.oidc is not None:
            groups = claims.get("groups")
            principal = Principal(
                id=subject,
                kind=kind,
                name=name,
                groups=frozenset(str(g) for g in groups) if isinstance(groups, list) else frozenset(),
                admin=claims.get("admin") is True,
            )
        else:
            return None
        return Visitor(principal, str(claims.get("csrf") or self._csrf(subject, issued)), issued, cookie)

    # --- CSRF ---

    def _csrf(self, subject: str, issued: int) -> str:
        digest = hmac.new(self._secret.encode(), f"csrf:{subject}:{issued}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode("ascii")

    @staticmethod
    def check_csrf(visitor: Visitor, given: str | None) -> None:
        """Raise ``csrf_failed`` unless ``given`` belongs to the visitor's cookie."""
        if not given or not hmac.compare_digest(visitor.csrf_token.encode(), given.encode("utf-8", "replace")):
            raise ServiceError("csrf_failed")

    # --- API keys ---

    def read_key(self, authorization: str) -> Visitor:
        """The principal of an ``Authorization: Bearer`` header; raise ``unauthenticated``."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise ServiceError("unauthenticated", "The Authorization header is not of the form 'Bearer <API key>'.")
        principal = self._accounts.by_key(key.strip())
        if principal is None:
            raise ServiceError("unauthenticated", "This API key is not known, or no longer holds.")
        return Visitor(principal, "", 0, None)

    # --- participants ---

    def participant(self, session_id: str, principal_id: str) -> str:
        """The participant id of a principal in a session: always the same, and telling nothing about the principal."""
        text = f"participant:{session_id}:{principal_id}"
        digest = hmac.new(self._secret.encode(), text.encode(), hashlib.sha256).digest()
        return base64.b32encode(digest).decode("ascii").lower()[:16]
