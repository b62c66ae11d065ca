"""Sign-in at an OpenID Connect provider: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636).

Authlib builds and checks the protocol's messages, joserfc the signatures; the requests are made by our own client.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlsplit

import jwt
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt as signed
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from runtime.chassis.clock import Clock
from runtime.chassis.config import ConfigError
from runtime.chassis.entropy import new_secret
from runtime.protocol.errors import ServiceError

from .config import Oidc
from .domain.access import OIDC, Principal

logger = logging.getLogger(__name__)
_DEADLINE_SECONDS = 10.0
_DISCOVERY_SECONDS = 3600.0
_FLOW_SECONDS = 600
_LEEWAY_SECONDS = 30
_BODY_BYTES = 1024 * 1024
# No "none", and no HMAC: keys come from the provider's public set.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True)
class Flow:
    """A sign-in under way: where to send the browser, and what its cookie must bring back."""

    url: str
    cookie: str


class OidcClient:
    """One provider. Discovery and keys are kept for an hour; an unknown key is looked up again at once."""

    def __init__(self, config: Oidc, *, redirect_uri: str, secret: str, clock: Clock) -> None:
        """Raise ``ConfigError`` for an issuer that must not be trusted."""
        if not config.allow_http and not config.issuer.startswith("https://"):
            raise ConfigError("access.oidc.issuer: must be https (or set allow_http for a test).")
        self._config, self._redirect_uri, self._secret, self._clock = config, redirect_uri, secret, clock
        self._http = SimpleAsyncHTTPClient(force_instance=True, max_clients=10, max_body_size=_BODY_BYTES)
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at = float("-inf")

    def close(self) -> None:
        self._http.close()

    async def begin(self, after: str) -> Flow:
        """Start a sign-in that returns to the page ``after``; raise ``sign_in_unavailable``."""
        metadata = await self._discover()
        state, nonce, verifier = new_secret(), new_secret(), new_secret()
        url = prepare_grant_uri(
            str(metadata["authorization_endpoint"]),
            client_id=self._config.client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=" ".join(self._config.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        now = self._clock.now_ms() // 1000
        claims = {"state": state, "nonce": nonce, "verifier": verifier, "after": after, "exp": now + _FLOW_SECONDS}
        return Flow(url, jwt.encode(claims, self._secret, algorithm="HS256"))

    async def finish(self, cookie: str | None, *, state: str, code: str, issuer: str | None) -> tuple[Principal, str]:
        """Who signed in, and the page to return to; raise ``sign_in_failed`` or ``sign_in_unavailable``."""
        flow = self._flow(cookie)
        if not hmac.compare_digest(str(flow["state"]).encode(), state.encode("utf-8", "replace")):
            raise ServiceError("sign_in_failed", "This sign-in was begun elsewhere.")
        metadata = await self._discover()
        if issuer is not None and issuer != metadata["issuer"]:
            # RFC 9207: an answer of another provider.
            raise ServiceError("sign_in_failed", "The answer comes from another provider.")
        tokens = await self._exchange(metadata, code, str(flow["verifier"]))
        claims = await self._verify(metadata, tokens, str(flow["nonce"]))
        return await self._principal(metadata, claims, tokens), str(flow["after"])

    def _flow(self, cookie: str | None) -> dict[str, Any]:
        try:
            flow: dict[str, Any] = jwt.decode(
                cookie or "", self._secret, algorithms=["HS256"], options={"verify_exp": False, "require": ["exp"]}
            )
        except jwt.InvalidTokenError:
            raise ServiceError("sign_in_failed", "The browser did not bring back the sign-in's cookie.") from None
        if self._clock.now_ms() // 1000 > int(flow["exp"]):
            raise ServiceError("sign_in_failed", "The sign-in took too long.")
        return flow

    async def _exchange(self, metadata: dict[str, Any], code: str, verifier: str) -> dict[str, Any]:
        config = self._config
        body = prepare_token_request(
            "authorization_code", code=code, redirect_uri=self._redirect_uri, code_verifier=verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if config.client_secret is None:
            body += f"&client_id={quote_plus(config.client_id)}"
        elif "client_secret_basic" in methods:
            pair = f"{quote_plus(config.client_id)}:{quote_plus(config.client_secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        else:
            body += f"&client_id={quote_plus(config.client_id)}&client_secret={quote_plus(config.client_secret)}"
        status, tokens = await self._fetch("POST", str(metadata["token_endpoint"]), body=body, headers=headers)
        if status != 200 or "id_token" not in tokens:
            logger.warning("the provider refused the code: %s %s", status, tokens.get("error"))
            raise ServiceError("sign_in_failed", "The provider did not confirm the sign-in.")
        return tokens

    async def _verify(self, metadata: dict[str, Any], tokens: dict[str, Any], nonce: str) -> dict[str, Any]:
        token = str(tokens["id_token"])
        for attempt in (1, 2):
            try:
                decoded = signed.decode(
                    token, await self._key_set(metadata, fresh=attempt == 2), algorithms=_ALGORITHMS
                )
                break
            except (JoseError, ValueError) as error:
                # An unknown key may be a new one of the provider; anything else stays wrong.
                if attempt == 2:
                    logger.warning("id token refused: %s", type(error).__name__)
                    raise ServiceError("sign_in_failed", "The provider's answer is not properly signed.") from None
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": metadata["issuer"]},
                "aud": {"essential": True, "value": self._config.client_id},
                "nonce": {"essential": True, "value": nonce},
            },
            {"nonce": nonce, "client_id": self._config.client_id, "access_token": tokens.get("access_token")},
        )
        try:
            claims.validate(now=self._clock.now_ms() // 1000, leeway=_LEEWAY_SECONDS)
        except JoseError as error:
            logger.warning("id token refused: %s", error)
            raise ServiceError("sign_in_failed", "The provider's answer is not for this sign-in.") from None
        return dict(claims)

    async def _principal(self, metadata: dict[str, Any], claims: dict[str, Any], tokens: dict[str, Any]) -> Principal:
        config = self._config
        wanted = {config.name_claim, config.groups_claim}
        endpoint = metadata.get("userinfo_endpoint")
        if endpoint and tokens.get("access_token") and not wanted <= set(claims):
            headers = {"Authorization": f"Bearer {tokens['access_token']}", "Accept": "application/json"}
            status, more = await self._fetch("GET", str(endpoint), headers=headers)
            # OpenID Connect Core 5.3.2: only about the same subject.
            if status == 200 and more.get("sub") == claims["sub"]:
                claims = {**more, **claims}
        raw = claims.get(config.groups_claim)
        groups = frozenset(str(group) for group in raw) if isinstance(raw, list) else frozenset()
        name = next((str(claims[c]) for c in (config.name_claim, "preferred_username", "email") if claims.get(c)), "")
        return Principal(
            id=f"{OIDC}:{claims['sub']}",
            kind=OIDC,
            name=name or str(claims["sub"]),
            groups=groups,
            admin=bool(groups & set(config.admin_groups)),
        )

    async def _discover(self) -> dict[str, Any]:
        if self._metadata and self._clock.monotonic() - self._read_at < _DISCOVERY_SECONDS:
            return self._metadata
        issuer = self._config.issuer.rstrip("/")
        status, metadata = await self._fetch("GET", f"{issuer}/.well-known/openid-configuration")
        if status != 200 or str(metadata.get("issuer", "")).rstrip("/") != issuer:
            logger.warning("discovery at %s failed: status %s, issuer %s", issuer, status, metadata.get("issuer"))
            raise ServiceError("sign_in_unavailable")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not self._may_call(str(metadata.get(name, ""))):
                raise ServiceError("sign_in_unavailable", f"The provider's {name} cannot be used.")
        self._metadata, self._keys, self._read_at = metadata, None, self._clock.monotonic()
        return metadata

    def _may_call(self, url: str) -> bool:
        return urlsplit(url).scheme == "https" or (self._config.allow_http and urlsplit(url).scheme == "http")

    async def _key_set(self, metadata: dict[str, Any], *, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            status, content = await self._fetch("GET", str(metadata["jwks_uri"]))
            if status != 200:
                raise ServiceError("sign_in_unavailable")
            self._keys = KeySet.import_key_set(content)  # type: ignore[arg-type]
        return self._keys

    async def _fetch(
        self, method: str, url: str, *, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        request = HTTPRequest(
            url,
            method=method,
            body=body,
            headers=headers,
            follow_redirects=False,
            connect_timeout=_DEADLINE_SECONDS / 2,
            request_timeout=_DEADLINE_SECONDS,
            ca_certs=self._config.ca_file,
        )
        try:
            response = await self._http.fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            logger.warning("the provider does not answer: %s", error)
            raise ServiceError("sign_in_unavailable") from None
        if response.code == 599:
            raise ServiceError("sign_in_unavailable")
        try:
            content = json.loads(response.body or b"{}")
        except ValueError:
            content = {}
        return response.code, content if isinstance(content, dict) else {}
