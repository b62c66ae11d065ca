"""The coordinator against browsers that are lied to, people who guess, and programs that do not normalise."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from .conftest import PARTNER, TITLE, Live
from .people import Person, Reply, secret_of

_TRAVERSALS = (
    "/static/../coordinator.json",
    "/static/..%2f..%2fcoordinator.json",
    "/static/%2e%2e/%2e%2e/etc/passwd",
    "/static/....//....//etc/passwd",
    "/static//etc/passwd",
    "/static/%2fetc%2fpasswd",
    "/static/assets/..%5c..%5ccoordinator.json",
    "/static/index.html%00.js",
    "/static/" + "a" * 5000,
    "/api/v1/titles/../../coordinator.json/picture",
    "/api/v1/titles/..%2f..%2f..%2fetc%2fpasswd/picture",
    "/api/v1/titles/%2e%2e/picture",
    "/api/v1/admin/sessions/../../journal/logs",
    "/api/v1/admin/sessions/{session}/logs?source=../config",
    "/api/v1/admin/sessions/{session}/logs?source=relay/../../config.json",
    "/control/v1/sessions/{session}/logs?source=relay",
)


@pytest.mark.parametrize("path", _TRAVERSALS)
def test_no_path_leads_out_of_its_place(live: Live, path: str) -> None:
    for person in (live.stranger(), live.admin()):
        reply = person.get(path.replace("{session}", live.session_id))
        assert reply.status in (400, 403, 404), (reply.status, reply.body[:200])
        assert b"root:" not in reply.body
        assert b"control_secret" not in reply.body
        assert b"streamer_secret" not in reply.body


# --- pages and headers ---

_STYLES = re.compile(rb"<style[^>]*>(.*?)</style>", re.DOTALL)


def _policy(reply: Reply) -> dict[str, list[str]]:
    parts = (part.split() for part in reply.headers["Content-Security-Policy"].split(";"))
    return {part[0]: part[1:] for part in parts}


@pytest.mark.parametrize("path", ["/", "/schedule", "/admin", "/session/{session}", "/nowhere"])
def test_pages_run_only_their_own_scripts_and_are_framed_only_by_listed_sites(live: Live, path: str) -> None:
    reply = live.stranger().get(path.replace("{session}", live.session_id), Accept="text/html")
    assert reply.headers["Content-Type"].startswith("text/html")
    policy = _policy(reply)
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    # Besides our files only the build's own inline rules, by their hash.
    assert policy["style-src"][0] == "'self'"
    inline = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in _STYLES.findall(reply.body)]
    assert policy["style-src"][1:] == [f"'sha256-{digest}'" for digest in inline]
    assert b" style=" not in reply.body
    assert policy["base-uri"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'self'", PARTNER]
    assert not {"*", "'unsafe-inline'", "'unsafe-eval'", "http:", "https:"} & {
        w for words in policy.values() for w in words
    }
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Referrer-Policy"] in ("same-origin", "no-referrer", "strict-origin")
    assert "camera=()" in reply.headers["Permissions-Policy"]
    assert b"<script>" not in reply.body
    assert not re.search(rb"\son\w+=", reply.body)


def test_pictures_cannot_run_scripts(live: Live) -> None:
    reply = live.stranger().get("/api/v1/titles/sample/picture")
    assert reply.headers["Content-Type"] == "image/svg+xml"
    assert _policy(reply)["default-src"] == ["'none'"]
    assert "sandbox" in _policy(reply)
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_answers_name_no_software_and_are_not_kept(live: Live) -> None:
    for path in ("/api/v1/me", live.path, "/nowhere", "/healthz"):
        reply = live.stranger().get(path)
        assert reply.headers["Server"] == "pixelstream"
        assert reply.headers["Cache-Control"] in ("no-store", "no-cache, private")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites_forms(live: Live) -> None:
    line = live.stranger().get("/api/v1/me").headers["Set-Cookie"]
    assert re.search(r"(?i);\s*httponly", line)
    assert re.search(r"(?i);\s*samesite=(lax|strict)", line)
    assert re.search(r"(?i);\s*path=/(;|$)", line)
    assert "domain=" not in line.lower()


def test_a_changed_cookie_is_nobody(live: Live) -> None:
    owner = live.owner.cookies["viewer"]
    head, body, signature = owner.split(".")
    for cookie in (
        f"{head}.{body}.",
        f"{head}.{body[:-2]}AA.{signature}",
        f"{head}.{body}.{signature[::-1]}",
        "x" * 4000,
    ):
        reply = Person(live.stage.url, cookies={"viewer": cookie}).get(live.path)
        assert reply.json["role"] is None


# --- writes from other sites ---


def test_writes_need_the_token_of_the_same_cookie(live: Live) -> None:
    stranger = live.stranger()
    own = {"X-CSRF-Token": stranger.csrf()}
    tries = (
        live.owner.ask("DELETE", live.path, signed=False),
        live.owner.ask("DELETE", live.path, headers={"X-CSRF-Token": ""}),
        live.owner.ask("DELETE", live.path, headers={"X-CSRF-Token": "x" * 32}),
        live.owner.ask("DELETE", live.path, headers=own),
        live.owner.ask("POST", "/api/v1/sessions", {"title": TITLE}, signed=False),
        # A form of another site: no JSON, no header, the cookie comes along.
        live.owner.ask(
            "POST", f"{live.path}/invites", b"role=watcher", signed=False,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
        # Nobody has a cookie yet, so there is no token that could belong to one.
        live.stranger().ask("POST", "/api/v1/sessions", {"title": TITLE}, signed=False),
        live.stranger().ask("POST", "/api/v1/sessions", {"title": TITLE}, headers=own),
    )  # fmt: skip
    assert {(reply.status, reply.code) for reply in tries} == {(403, "csrf_failed")}
    assert live.owner.get(live.path).json["state"] in ("ready", "streaming")


@pytest.mark.parametrize(
    "origin", ["https://evil.example.org", "null", f"{PARTNER}.evil.org", "http://partner.example.org"]
)
def test_other_sites_are_told_nothing_and_may_change_nothing(live: Live, origin: str) -> None:
    reply = live.owner.get("/api/v1/me", Origin=origin)
    assert "Access-Control-Allow-Origin" not in reply.headers
    for method, path in (("POST", "/api/v1/sessions"), ("DELETE", live.path)):
        refused = live.owner.ask(method, path, {"title": TITLE}, headers={"Origin": origin})
        assert (refused.status, refused.code) == (403, "origin_refused")
    preflight = live.owner.ask(
        "OPTIONS", live.path, headers={"Origin": origin, "Access-Control-Request-Method": "DELETE"}
    )
    assert "Access-Control-Allow-Methods" not in preflight.headers


def test_listed_sites_may_use_keys_but_never_their_visitors_cookies(live: Live) -> None:
    reply = live.owner.get("/api/v1/titles", Origin=PARTNER)
    assert reply.headers["Access-Control-Allow-Origin"] == PARTNER
    assert "Origin" in reply.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in reply.headers
    preflight = live.stranger().ask(
        "OPTIONS", "/api/v1/sessions", headers={"Origin": PARTNER, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status == 204
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "x-csrf-token" not in preflight.headers["Access-Control-Allow-Headers"].lower()


# --- other people's sessions ---


def test_a_stranger_who_knows_the_id_can_do_nothing_with_a_session(live: Live) -> None:
    stranger = live.stranger()
    invite = live.owner.invite(live.session_id)
    tries = {
        "end": stranger.ask("DELETE", live.path),
        "join": stranger.ask("POST", f"{live.path}/join", {}),
        "invite": stranger.ask("POST", f"{live.path}/invites", {"role": "controller"}),
        "read invitations": stranger.get(f"{live.path}/invites"),
        "revoke": stranger.ask("DELETE", f"{live.path}/invites/{invite['id']}"),
        "read logs": stranger.get(f"/api/v1/admin/sessions/{live.session_id}/logs"),
        "read evidence": stranger.get(f"/api/v1/admin/sessions/{live.session_id}/bundle"),
        "drain": stranger.ask("POST", "/api/v1/admin/hosts/demo/drain", {}),
        "make a key": stranger.ask("POST", "/api/v1/admin/keys", {"name": "x", "scopes": ["admin"]}),
    }
    assert {what: reply.status for what, reply in tries.items()} == dict.fromkeys(tries, 403)
    shown = stranger.get(live.path).json
    assert shown["role"] is None
    assert not {"owner", "host", "detail"} & shown.keys()
    assert stranger.get("/api/v1/sessions").json["items"] == []
    assert live.owner.get(live.path).json["state"] in ("ready", "streaming")


def test_a_guest_may_not_do_what_only_the_owner_may(live: Live) -> None:
    guest, invite = live.stranger(), live.owner.invite(live.session_id, "controller")
    assert guest.join(live.session_id, invite=secret_of(invite))["role"] == "controller"
    for method, path in (
        ("DELETE", live.path),
        ("POST", f"{live.path}/invites"),
        ("GET", f"{live.path}/invites"),
        ("DELETE", f"{live.path}/invites/{invite['id']}"),
    ):
        reply = guest.ask(method, path, {"role": "controller"} if method == "POST" else None)
        assert (reply.status, reply.code) == (403, "forbidden"), (method, path)
    # With the invitation the role is what the owner meant, not what the guest asks for.
    again = guest.ask("POST", f"{live.path}/join", {"invite": secret_of(invite), "role": "owner", "name": "x"})
    assert again.status in (200, 400)
    assert again.status == 400 or again.json["role"] == "controller"


def test_a_withdrawn_invitation_opens_nothing_any_more(live: Live) -> None:
    invite, guest = live.owner.invite(live.session_id), live.stranger()
    assert guest.join(live.session_id, invite=secret_of(invite))["role"] == "watcher"
    assert live.owner.ask("DELETE", f"{live.path}/invites/{invite['id']}").status == 200
    late = live.stranger().ask("POST", f"{live.path}/join", {"invite": secret_of(invite)})
    assert late.code == "invite_revoked"
    # Who came by it has no standing of its own, with the link or without.
    assert guest.ask("POST", f"{live.path}/join", {"invite": secret_of(invite)}).status in (403, 404, 410)
    assert guest.ask("POST", f"{live.path}/join", {}).code == "forbidden"
    listed = live.owner.get(f"{live.path}/invites")
    assert secret_of(invite).partition("-")[2].encode() not in listed.body


def test_an_invitation_opens_its_own_session_only(live: Live) -> None:
    other = Person(live.stage.url)
    session_id = other.start(TITLE)
    try:
        link = secret_of(live.owner.invite(live.session_id))
        stranger = live.stranger()
        for tried in (link, f"{session_id}-{link.partition('-')[2]}", f"{session_id}-", session_id, "x"):
            reply = stranger.ask("POST", f"/api/v1/sessions/{session_id}/join", {"invite": tried})
            assert reply.status in (400, 403, 404), tried
        # Nor does the owner of one session own another.
        assert live.owner.ask("DELETE", f"/api/v1/sessions/{session_id}").status == 403
        assert other.ask("DELETE", live.path).status == 403
        ids = {live.session_id, session_id}
        assert all(re.fullmatch(r"[a-z2-7]{26}", each) for each in ids)
        # 130 random bits each: no common beginning, and no counter or time in them.
        assert live.session_id[:4] != session_id[:4]
        assert live.session_id[-4:] != session_id[-4:]
    finally:
        assert other.ask("DELETE", f"/api/v1/sessions/{session_id}").status == 202


def test_guessed_ids_and_links_find_nothing(live: Live) -> None:
    stranger = live.stranger()
    near = live.session_id[:-1] + ("a" if live.session_id[-1] != "a" else "b")
    for session_id in (near, "a" * 26):
        assert stranger.get(f"/api/v1/sessions/{session_id}").status == 404
        assert stranger.ask("POST", f"/api/v1/sessions/{session_id}/join", {}).status == 404
    link = secret_of(live.owner.invite(live.session_id))
    for guessed in (link[:-1] + ("A" if link[-1] != "A" else "B"), f"{live.session_id}-{'A' * 43}"):
        assert stranger.get(f"/api/v1/invites/{guessed}").code == "invite_not_found"


def test_admin_doors_need_an_administrator(live: Live) -> None:
    stranger = live.stranger()
    document = stranger.get("/openapi.json").json
    doors = [(m, p) for p, methods in document["paths"].items() if "/admin/" in p for m in methods if m != "parameters"]
    assert len(doors) > 10
    for method, path in doors:
        filled = re.sub(r"\{[^}]*\}", live.session_id if "/sessions/" in path else "a" * 16, path)
        for person in (stranger, live.owner):
            reply = person.ask(method.upper(), filled, {} if method in ("post", "put", "patch") else None)
            assert reply.status in (400, 403), (method, filled, reply.status)
            if reply.status == 400:
                assert b"items" not in reply.body
