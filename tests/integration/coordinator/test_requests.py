"""What every request has to pass: identity, CSRF, origin, limits, the OpenAPI document, repetition."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.coordinator.stand import Stand

TITLE = {"name": "sample", "tags": ["demo"], "display_name": {"en": "Sample", "ru": "Пример"}}


async def test_writes_need_the_token_of_the_cookie(stand: Stand) -> None:
    await stand.coordinator()
    one, two = stand.viewer(), stand.viewer()
    await one.me()
    await two.me()
    body = {"title": "sample"}
    for token in ("", "wrong", two.csrf):
        answer = await one.call("POST", "/api/v1/sessions", body, headers={"X-CSRF-Token": token or ""})
        assert answer.code == "csrf_failed"
    assert (await one.call("POST", "/api/v1/sessions", body)).code == "title_not_found"


async def test_cookies_are_kept_from_scripts_and_cannot_be_forged(stand: Stand) -> None:
    await stand.coordinator(public_url="https://play.example.org")
    viewer = stand.viewer()
    answer = await viewer.call("GET", "/api/v1/me")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-viewer=")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    first = answer.json["id"]
    assert (await viewer.me())["id"] == first
    head, body, signature = viewer.cookies["__Host-viewer"].split(".")
    viewer.cookies["__Host-viewer"] = f"{head}.{body}.{signature[::-1]}"
    assert (await viewer.me())["id"] != first


async def test_other_origins_are_refused_unless_listed(stand: Stand) -> None:
    await stand.coordinator(cors_origins=["https://shop.example.org"])
    viewer = stand.viewer()
    await viewer.me()
    evil = {"Origin": "https://evil.example.org"}
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"}, headers=evil)).code == "origin_refused"
    read = await viewer.call("GET", "/api/v1/titles", headers=evil)
    assert "Access-Control-Allow-Origin" not in read.headers
    listed = {"Origin": "https://shop.example.org"}
    preflight = await viewer.call("OPTIONS", "/api/v1/sessions", headers=listed)
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, listed["Origin"])
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in preflight.headers
    own = {"Origin": stand.url}
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "x"}, headers=own)).code == "title_not_found"


@pytest.mark.parametrize(
    ("method", "path", "payload", "code"),
    [
        ("POST", "/api/v1/sessions", {}, "bad_request"),
        ("POST", "/api/v1/sessions", {"title": 5}, "bad_request"),
        ("POST", "/api/v1/sessions", {"title": "a", "unknown": 1}, "bad_request"),
        ("POST", "/api/v1/sessions", b"{", "bad_json"),
        ("POST", "/api/v1/sessions", b"", "bad_request"),
        ("GET", "/api/v1/titles?limit=0", None, "bad_request"),
        ("GET", "/api/v1/titles?limit=many", None, "bad_request"),
        ("GET", "/api/v1/sessions?state=asleep", None, "bad_request"),
        ("GET", "/api/v1/sessions?cursor=nonsense", None, "bad_request"),
        ("GET", "/api/v1/titles/UPPER", None, "not_found"),
        ("GET", "/api/v1/titles/missing", None, "title_not_found"),
        ("GET", f"/api/v1/sessions/{'a' * 26}", None, "session_not_found"),
        ("GET", f"/api/v1/invites/{'a' * 26}-xxxxxxxxxx", None, "invite_not_found"),
        ("PUT", "/api/v1/sessions", {}, "method_not_allowed"),
        ("GET", "/api/v1/nothing", None, "not_found"),
        ("GET", "/../../etc/passwd", None, "not_found"),
    ],
)
async def test_bad_requests_get_a_stable_code(stand: Stand, method: str, path: str, payload: Any, code: str) -> None:
    await stand.coordinator()
    raw = payload if isinstance(payload, bytes) else None
    answer = await stand.viewer().call(method, path, None if raw is not None else payload, raw=raw)
    assert answer.code == code
    error = answer.json["error"]
    assert error["message"]
    assert error["fix"]
    assert error["request_id"] == answer.headers["X-Request-ID"]


async def test_a_repeated_create_starts_one_session(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1", capacity=5)
    await stand.register([TITLE], {host: ["sample"]})
    viewer, other = stand.viewer(), stand.viewer()
    await viewer.me()
    await other.me()
    headers = {"Idempotency-Key": "click-12345678"}
    body = {"title": "sample"}
    answers = await asyncio.gather(*(viewer.call("POST", "/api/v1/sessions", body, headers=headers) for _ in range(5)))
    assert {a.status for a in answers} <= {201, 409}
    again = await viewer.call("POST", "/api/v1/sessions", body, headers=headers)
    assert {a.json["id"] for a in answers if a.status == 201} == {again.json["id"]}
    mismatch = await viewer.call("POST", "/api/v1/sessions", {"title": "sample", "wait": True}, headers=headers)
    assert mismatch.code == "idempotency_mismatch"
    theirs = await other.call("POST", "/api/v1/sessions", body, headers=headers)
    assert theirs.json["id"] != again.json["id"]
    assert len(await coordinator.service.store.slots.taken()) == 2


async def test_a_failed_create_leaves_its_key_free(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    first, second = stand.viewer(), stand.viewer()
    session = await first.start("sample")
    await first.session_in(session["id"], "ready")
    headers = {"Idempotency-Key": "try-again-123"}
    refused = await second.call("POST", "/api/v1/sessions", {"title": "sample"}, headers=headers)
    assert refused.code == "no_capacity"
    await first.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await first.session_in(session["id"], "ended")
    again = await second.call("POST", "/api/v1/sessions", {"title": "sample"}, headers=headers)
    assert again.status == 201


async def test_requests_and_creates_are_limited_per_person_and_sessions_too(stand: Stand) -> None:
    limits = {"enabled": True, "creates_per_minute": 1, "creates_burst": 2, "requests_burst": 30}
    await stand.coordinator(rate_limits=limits, sessions={"per_viewer": 2})
    host = await stand.host("gpu1", capacity=9)
    await stand.register([TITLE], {host: ["sample"]})
    eager, calm = stand.viewer(), stand.viewer()
    await eager.start("sample")
    session = await eager.start("sample")
    third = await eager.call("POST", "/api/v1/sessions", {"title": "sample"})
    assert (third.code, len(third.json["error"]["details"]["sessions"])) == ("session_limit", 2)
    await eager.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await eager.session_in(session["id"], "ended")
    limited = await eager.call("POST", "/api/v1/sessions", {"title": "sample"})
    assert (limited.status, limited.code) == (429, "rate_limited")
    assert int(limited.headers["Retry-After"]) > 1
    assert (await calm.start("sample"))["state"] == "leased"
    codes = {(await eager.call("GET", "/api/v1/titles")).status for _ in range(40)}
    assert codes == {200, 429}


async def test_an_address_that_comes_with_ever_new_cookies_is_limited_too(stand: Stand) -> None:
    await stand.coordinator(rate_limits={"enabled": True, "creates_per_minute": 1, "creates_burst": 2})
    host = await stand.host("gpu1", capacity=20)
    await stand.register([TITLE], {host: ["sample"]})
    answers = [await stand.viewer().call("POST", "/api/v1/sessions", {"title": "sample"}) for _ in range(9)]
    assert [answer.status for answer in answers] == [201] * 8 + [429]


async def test_the_catalogue_is_cached_searched_and_paged(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1")
    names = [f"title-{letter}" for letter in "abcde"]
    await stand.register([TITLE, *({"name": name} for name in names)], {host: ["sample", *names]})
    viewer = stand.viewer()
    first = await viewer.call("GET", "/api/v1/titles")
    same = await viewer.call("GET", "/api/v1/titles", headers={"If-None-Match": first.headers["ETag"]})
    assert (same.status, same.body) == (304, b"")
    assert [t["name"] for t in (await viewer.get("/api/v1/titles?search=%D0%BF%D1%80%D0%B8%D0%BC"))["items"]] == [
        "sample"
    ]
    assert [t["name"] for t in (await viewer.get("/api/v1/titles?tag=demo"))["items"]] == ["sample"]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await viewer.get(f"/api/v1/titles?limit=2{cursor}")
        seen += [t["name"] for t in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["sample", *names]


async def test_own_history_is_paged_newest_first(stand: Stand) -> None:
    await stand.coordinator(sessions={"per_viewer": 0})
    host = await stand.host("gpu1", capacity=9)
    await stand.register([TITLE], {host: ["sample"]})
    viewer, other = stand.viewer(), stand.viewer()
    await other.start("sample")
    mine = [(await viewer.start("sample"))["id"] for _ in range(5)]
    await viewer.call("DELETE", f"/api/v1/sessions/{mine[0]}")
    await viewer.session_in(mine[0], "ended")
    first = await viewer.get("/api/v1/sessions?limit=3")
    rest = await viewer.get(f"/api/v1/sessions?limit=3&cursor={first['next']}")
    found = [s["id"] for s in first["items"] + rest["items"]]
    assert sorted(found) == sorted(mine)
    assert rest["next"] is None
    created = [s["created_at"] for s in first["items"] + rest["items"]]
    assert created == sorted(created, reverse=True)
    assert [s["id"] for s in (await viewer.get("/api/v1/sessions?state=ended"))["items"]] == [mine[0]]
    assert len((await viewer.get("/api/v1/sessions?state=live"))["items"]) == 4


async def test_pages_come_with_a_strict_policy_and_know_where_relays_are(stand: Stand) -> None:
    coordinator = await stand.coordinator(public_url="https://play.example.org", cors_origins=["https://a.example.org"])
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    coordinator.service.static = coordinator.service.static.parent / "nowhere"
    answer = await stand.viewer().call("GET", f"/session/{'a' * 26}")
    assert answer.status == 503  # not built; the headers are the same
    policy = answer.headers["Content-Security-Policy"]
    assert "connect-src 'self' ws://127.0.0.1:*;" in policy
    assert "frame-ancestors 'self' https://a.example.org" in policy
    assert "unsafe" not in policy
    assert "script-src 'self';" in policy
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")


IN_A_FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe", "Accept": "text/html"}


async def test_a_frame_of_another_site_has_a_cookie_that_browsers_keep_there(stand: Stand) -> None:
    await stand.coordinator(public_url="https://play.example.org", cors_origins=["https://www.example.com"])
    viewer = stand.viewer()
    page = await viewer.call("GET", "/", headers=IN_A_FRAME)
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-viewer-framed=")
    parts = {part.strip() for part in cookie.split(";")}
    assert {"HttpOnly", "Secure", "SameSite=None", "Partitioned", "Path=/"} <= parts
    assert list(viewer.cookies) == ["__Host-viewer-framed"]
    assert (await viewer.me())["id"] == (await viewer.me())["id"], "requests of the page bring it"
    # Writes need the token of this cookie as of the other one.
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"}, headers={"X-CSRF-Token": ""})).code == (
        "csrf_failed"
    )
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "title_not_found"


@pytest.mark.parametrize(
    ("origins", "headers"),
    [
        ([], IN_A_FRAME),  # nobody may show our pages in a frame
        (["https://www.example.com"], IN_A_FRAME | {"Sec-Fetch-Site": "same-site"}),
        (["https://www.example.com"], IN_A_FRAME | {"Sec-Fetch-Dest": "document"}),
        (["https://www.example.com"], {"Accept": "text/html"}),
    ],
)
async def test_everywhere_else_the_cookie_stays_with_our_own_pages(
    stand: Stand, origins: list[str], headers: dict[str, str]
) -> None:
    await stand.coordinator(public_url="https://play.example.org", cors_origins=origins)
    cookie = (await stand.viewer().call("GET", "/", headers=headers)).headers["Set-Cookie"]
    assert cookie.startswith("__Host-viewer=")
    assert "SameSite=Lax" in cookie
