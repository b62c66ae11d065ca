"""Sign-in at a provider: a real one for the way through, a forging one for everything that must be refused."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from runtime.demo.processes import free_port
from tests.support.coordinator.browser import Browser
from tests.support.coordinator.stand import Stand
from tests.support.oidc import CLIENT_ID, CLIENT_SECRET, oidc_provider
from tests.support.raw_server import silent_server

PORT = free_port("127.0.0.1")
PUBLIC = f"http://127.0.0.1:{PORT}"
CALLBACK = f"{PUBLIC}/api/v1/sign-in/oidc/callback"
PEOPLE = {
    "anna": {"name": "Анна", "groups": ["staff", "operators"]},
    "boris": {"name": "Boris", "groups": ["staff"]},
}


def access(issuer: str) -> dict[str, Any]:
    oidc = {
        "issuer": issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "admin_groups": ["operators"],
        "allow_http": True,
    }
    return {"listen": {"port": PORT}, "public_url": PUBLIC, "access": {"mode": "oidc", "oidc": oidc}}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place: Path = tmp_path_factory.mktemp("oidc")
    with oidc_provider(PEOPLE, CALLBACK, place) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    browser = Browser()
    yield browser
    browser.close()


async def me(browser: Browser) -> Any:
    return json.loads((await browser.fetch(f"{PUBLIC}/api/v1/me")).body)


async def test_people_sign_in_at_a_real_provider(stand: Stand, issuer: str, browser: Browser) -> None:
    await stand.coordinator(**access(issuer))
    before = await me(browser)
    assert (before["kind"], before["features"]["sign_in"], before["features"]["must_sign_in"]) == (
        "anonymous",
        "oidc",
        True,
    )
    start = f"{PUBLIC}/api/v1/sign-in/oidc?{urlencode({'after': '/schedule'})}"
    await browser.go(start, until=f"{PUBLIC}/schedule", forms={"login": "anna", "password": "any"})
    found = await me(browser)
    assert (found["id"], found["name"], found["groups"]) == ("oidc:anna", "Анна", ["operators", "staff"])
    assert found["roles"] == ["viewer", "admin"]
    assert (await browser.fetch(f"{PUBLIC}/api/v1/titles")).code == 200
    # PKCE was used, and no code or token is in an address of ours but the callback's.
    authorize = next(url for url in browser.seen if "code_challenge=" in url)
    assert parse_qs(urlsplit(authorize).query)["code_challenge_method"] == ["S256"]

    other = Browser()
    try:
        await other.go(start, until=f"{PUBLIC}/schedule", forms={"login": "boris", "password": "any"})
        assert (await me(other))["roles"] == ["viewer"]
        # The first browser's callback brought to another browser signs nobody in.
        callback = next(url for url in browser.seen if url.startswith(CALLBACK))
        answer = await other.fetch(callback)
        assert answer.headers["Location"] == "/?error=sign_in_failed"
        assert (await me(other))["id"] == "oidc:boris"
    finally:
        other.close()


class Forger:
    """A provider whose answers a test bends."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.claims: dict[str, Any] = {}
        self.signer: Any = self.key
        self.header = {"alg": "RS256", "kid": "one"}
        self.discovery: dict[str, Any] = {}
        self.token_status = 200
        sockets = bind_sockets(0, "127.0.0.1")
        self.issuer = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self._server = HTTPServer(Application([(r"/(.*)", _ForgerHandler, {"forger": self})], log_function=_silent))
        self._server.add_sockets(sockets)
        self.nonce = ""

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()

    def token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "x", "iat": now, "exp": now + 60, "nonce": self.nonce}
        claims |= self.claims
        claims = {key: value for key, value in claims.items() if value is not None}
        return jwt.encode(self.header, claims, self.signer, algorithms=[self.header["alg"]])


def _silent(_: RequestHandler) -> None:
    """No access log."""


class _ForgerHandler(RequestHandler):
    def initialize(self, forger: Forger) -> None:
        self.forger = forger

    def get(self, path: str) -> None:
        forger = self.forger
        if path == ".well-known/openid-configuration":
            metadata = {
                "issuer": forger.issuer,
                "authorization_endpoint": f"{forger.issuer}/auth",
                "token_endpoint": f"{forger.issuer}/token",
                "jwks_uri": f"{forger.issuer}/jwks",
            }
            self.finish({**metadata, **forger.discovery})
        elif path == "jwks":
            self.finish({"keys": [forger.key.as_dict(private=False)]})
        else:
            self.send_error(404)

    def post(self, path: str) -> None:
        self.set_status(self.forger.token_status)
        self.finish({"access_token": "t", "token_type": "Bearer", "id_token": self.forger.token()})


@pytest.fixture
async def forger() -> AsyncIterator[Forger]:
    forger = Forger()
    yield forger
    await forger.close()


async def sign_in(forger: Forger, browser: Browser, *, after: str = "/schedule", **changes: str) -> str:
    """Where the browser ends up after the provider's answer."""
    begin = await browser.fetch(f"{PUBLIC}/api/v1/sign-in/oidc?{urlencode({'after': after})}")
    if begin.headers["Location"].startswith("/"):
        return str(begin.headers["Location"])
    query = {key: values[0] for key, values in parse_qs(urlsplit(begin.headers["Location"]).query).items()}
    forger.nonce = query["nonce"]
    answer = {"code": "c", "state": query["state"], **changes}
    return str((await browser.fetch(f"{CALLBACK}?{urlencode(answer)}")).headers["Location"])


FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "honest": ({}, "/schedule"),
    "other audience": ({"claims": {"aud": "other"}}, "/?error=sign_in_failed"),
    "other issuer": ({"claims": {"iss": "http://other"}}, "/?error=sign_in_failed"),
    "other nonce": ({"claims": {"nonce": "other"}}, "/?error=sign_in_failed"),
    "no nonce": ({"claims": {"nonce": None}}, "/?error=sign_in_failed"),
    "no subject": ({"claims": {"sub": None}}, "/?error=sign_in_failed"),
    "expired": ({"claims": {"exp": int(time.time()) - 3600}}, "/?error=sign_in_failed"),
    "foreign key": ({"signer": RSAKey.generate_key(2048, {"kid": "one"})}, "/?error=sign_in_failed"),
    "shared secret": (
        {"signer": OctKey.import_key(CLIENT_SECRET * 2), "header": {"alg": "HS256", "kid": "one"}},
        "/?error=sign_in_failed",
    ),
    "refused code": ({"token_status": 400}, "/?error=sign_in_failed"),
    "other issuer in discovery": ({"discovery": {"issuer": "http://other"}}, "/?error=sign_in_unavailable"),
    "endpoint of another scheme": ({"discovery": {"jwks_uri": "file:///etc/passwd"}}, "/?error=sign_in_unavailable"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_only_an_honest_answer_signs_in(stand: Stand, forger: Forger, browser: Browser, forgery: str) -> None:
    await stand.coordinator(**access(forger.issuer))
    bends, expected = FORGERIES[forgery]
    for name, value in bends.items():
        setattr(forger, name, value)
    assert await sign_in(forger, browser) == expected
    assert (await me(browser))["kind"] == ("oidc" if expected == "/schedule" else "anonymous")


async def test_a_new_key_of_the_provider_is_fetched(stand: Stand, forger: Forger, browser: Browser) -> None:
    await stand.coordinator(**access(forger.issuer))
    assert await sign_in(forger, browser) == "/schedule"
    forger.key = forger.signer = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
    forger.header = {"alg": "RS256", "kid": "two"}
    assert await sign_in(forger, browser) == "/schedule"


@pytest.mark.parametrize(
    "after",
    [
        "//evil.example.org/",
        "https://evil.example.org/",
        "/\\evil.example.org",
        "/schedule\\..\\..\\evil.example.org",
        # Browsers drop what follows the first slash here, and are left with "//evil.example.org".
        "/\t/evil.example.org",
        "/\n/evil.example.org",
        "/\r/evil.example.org",
        "/\x7f/evil.example.org",
        "/ /evil.example.org",
    ],
)
async def test_a_sign_in_returns_to_our_own_pages_only(
    stand: Stand, forger: Forger, browser: Browser, after: str
) -> None:
    await stand.coordinator(**access(forger.issuer))
    assert await sign_in(forger, browser, after=after) == "/"


@pytest.mark.parametrize(
    "changes", [{"state": "other"}, {"iss": "http://other"}, {"error": "access_denied"}], ids=["state", "iss", "error"]
)
async def test_a_bent_callback_is_refused(
    stand: Stand, forger: Forger, browser: Browser, changes: dict[str, str]
) -> None:
    await stand.coordinator(**access(forger.issuer))
    assert await sign_in(forger, browser, **changes) == "/?error=sign_in_failed"


async def test_a_provider_that_never_answers_is_said_so(
    stand: Stand, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.coordinator.oidc._DEADLINE_SECONDS", 0.2)
    async with silent_server() as port:
        await stand.coordinator(**access(f"http://127.0.0.1:{port}"))
        begin = await browser.fetch(f"{PUBLIC}/api/v1/sign-in/oidc")
    assert begin.headers["Location"] == "/?error=sign_in_unavailable"


async def test_a_provider_that_hangs_up_is_said_so(stand: Stand, browser: Browser) -> None:
    async with silent_server(hangs_up=True) as port:
        await stand.coordinator(**access(f"http://127.0.0.1:{port}"))
        begin = await browser.fetch(f"{PUBLIC}/api/v1/sign-in/oidc")
    assert begin.headers["Location"] == "/?error=sign_in_unavailable"


async def test_a_provider_that_is_away_is_said_so(stand: Stand, browser: Browser) -> None:
    await stand.coordinator(**access(f"http://127.0.0.1:{free_port('127.0.0.1')}"))
    begin = await browser.fetch(f"{PUBLIC}/api/v1/sign-in/oidc")
    assert begin.headers["Location"] == "/?error=sign_in_unavailable"
