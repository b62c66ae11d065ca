"""What administrators do, and that nobody else does it."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

TITLE = {"name": "sample", "warm": 0}


async def test_a_drained_host_takes_nothing_new_and_serves_again_when_resumed(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=2)
    await stand.register([TITLE], {host: ["sample"]})
    admin, viewer = stand.admin(), stand.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    drained = await admin.post("/api/v1/admin/hosts/gpu1/drain", status=202)
    assert (drained["state"], drained["used"]) == ("draining", 1)
    assert (await host.beat()).desired_state == "draining"
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "no_host"

    await admin.post("/api/v1/admin/hosts/gpu1/drain", {"end_sessions": True}, status=202)
    assert (await viewer.session_in(session["id"], "ended"))["reason"] == "drained"
    assert (await admin.get("/api/v1/admin/hosts"))["items"][0]["state"] == "drained"
    assert (await admin.post("/api/v1/admin/hosts/gpu1/resume", status=202))["state"] == "serving"
    await viewer.start("sample")
    actions = [entry["action"] for entry in (await admin.get("/api/v1/admin/audit"))["items"]]
    assert actions == ["host.resume", "host.drain", "host.drain"]


async def test_an_admin_sees_ends_and_examines_any_session(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    admin, viewer = stand.admin(), stand.viewer()
    session = await viewer.start("sample")
    await viewer.session_in(session["id"], "ready")
    listed = (await admin.get("/api/v1/sessions?state=live"))["items"]
    assert [(s["id"], s["host"], s["owner"]["kind"]) for s in listed] == [(session["id"], "gpu1", "anonymous")]
    assert "gpu1 has 2 of 2 slots free" in listed[0]["placement"]
    assert "host" not in (await viewer.get("/api/v1/sessions"))["items"][0]
    logs = await admin.call("GET", f"/api/v1/admin/sessions/{session['id']}/logs?source=relay")
    assert logs.body.decode() == f"relay of {session['id']}\n"
    statistics = f"/api/v1/admin/sessions/{session['id']}/statistics"
    told = await admin.get(statistics)
    assert (told["stream"]["codec"], told["players"][0]["participant"]) == ("H264", "p")
    bundle = await admin.call("GET", f"/api/v1/admin/sessions/{session['id']}/bundle")
    assert zipfile.ZipFile(io.BytesIO(bundle.body)).namelist() == []
    await admin.call("DELETE", f"/api/v1/sessions/{session['id']}")
    assert (await viewer.session_in(session["id"], "ended"))["reason"] == "admin_ended"
    assert (await admin.call("GET", statistics)).code == "session_ended"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/admin/overview"),
        ("GET", "/api/v1/admin/hosts"),
        ("POST", "/api/v1/admin/hosts/gpu1/drain"),
        ("GET", "/api/v1/admin/titles"),
        ("PATCH", "/api/v1/admin/titles/sample"),
        ("GET", "/api/v1/admin/users"),
        ("DELETE", "/api/v1/admin/users/anna"),
        ("GET", "/api/v1/admin/keys"),
        ("POST", "/api/v1/admin/keys"),
        ("GET", "/api/v1/admin/audit"),
        ("GET", f"/api/v1/admin/sessions/{'a' * 26}/logs"),
        ("GET", f"/api/v1/admin/sessions/{'a' * 26}/statistics"),
    ],
)
async def test_others_are_refused(stand: Stand, method: str, path: str) -> None:
    await stand.coordinator()
    payload = (
        {"name": "k", "scopes": ["admin"]} if path.endswith("keys") else {} if method in ("POST", "PATCH") else None
    )
    assert (await stand.viewer().call(method, path, payload)).code == "forbidden"


async def test_keys_work_within_their_scopes_until_they_are_revoked(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    admin = stand.admin()
    made = await admin.post("/api/v1/admin/keys", {"name": "site", "scopes": ["titles:read", "sessions:read"]})
    program = stand.viewer(key=made["key"])
    assert (await program.get("/api/v1/titles"))["items"]
    refused = await program.call("POST", "/api/v1/sessions", {"title": "sample"})
    assert (refused.code, refused.json["error"]["details"]) == ("forbidden", {"scope": "sessions:write"})
    assert (await program.call("GET", "/api/v1/admin/hosts")).code == "forbidden"
    stored = await stand.coordinators[0].service.store.connection.collection("api_key").find_one({})
    assert made["key"] not in str(stored)
    assert (await admin.call("DELETE", f"/api/v1/admin/keys/{made['id']}")).json["revoked_at"] > 0
    assert (await program.call("GET", "/api/v1/titles")).code == "unauthenticated"
    assert (await admin.get("/api/v1/admin/keys"))["items"][0]["key"] is None


async def test_lists_of_administrators_come_in_pages(stand: Stand) -> None:
    await stand.coordinator()
    hosts = [await stand.host(f"gpu{number}") for number in range(3)]
    await stand.register([{"name": f"title-{n}"} for n in range(3)], {host: ["title-0"] for host in hosts})
    admin = stand.admin()
    for number in range(3):
        await admin.post("/api/v1/admin/keys", {"name": f"key{number}", "scopes": ["titles:read"]})
        await admin.post("/api/v1/admin/webhooks", {"url": f"http://127.0.0.1:9/{number}"})
        await admin.call("PUT", f"/api/v1/admin/users/user{number}", {"password": "correct horse"})
    for what in ("keys", "webhooks", "users", "hosts", "titles", "audit"):
        whole = (await admin.get(f"/api/v1/admin/{what}"))["items"]
        assert len(whole) >= 3, what
        seen: list[Any] = []
        cursor = ""
        while True:
            page = await admin.get(f"/api/v1/admin/{what}?limit=2{cursor}")
            seen += page["items"]
            if page["next"] is None:
                break
            assert len(page["items"]) == 2
            cursor = f"&cursor={page['next']}"
        assert [_name(item) for item in seen] == [_name(item) for item in whole], what


def _name(item: Any) -> str:
    return str(item.get("id") or item["name"])


async def test_figures_for_prometheus(stand: Stand) -> None:
    """The list that operators build their boards on: these names and labels stay."""
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    first, second = stand.viewer(), stand.viewer()
    session = await first.start("sample")
    waiting = await second.start("sample", wait=True)
    await first.session_in(session["id"], "ready")

    async def figures() -> dict[str, float]:
        text = (await first.call("GET", "/metrics")).body.decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    now = await figures()
    assert now['pixelstream_sessions{state="ready"}'] == 1
    assert now['pixelstream_sessions{state="queued"}'] == now["pixelstream_queue_length"] == 1
    assert now['pixelstream_slots{use="used"}'] == now['pixelstream_hosts{state="serving"}'] == 1
    assert now["pixelstream_database_available"] == 1
    assert now['pixelstream_sessions_ended_total{reason="owner_ended"}'] == 0, "said before it happens"
    assert now["pixelstream_queue_wait_seconds_count"] == 0
    for step in ("relay_up", "process_up", "streamer_connected", "first_frame"):
        assert now[f'pixelstream_start_seconds_count{{step="{step}"}}'] == 1
    await first.call("DELETE", f"/api/v1/sessions/{session['id']}")
    await second.session_in(waiting["id"], "ready")
    now = await figures()
    assert now['pixelstream_sessions_ended_total{reason="owner_ended"}'] == 1
    assert now["pixelstream_queue_wait_seconds_count"] == 1
    assert now["pixelstream_placement_seconds_count"] == now["pixelstream_sessions_created_total"] == 2
    assert any(name.startswith('pixelstream_request_seconds_count{handler="SessionsHandler"') for name in now)


async def test_titles_are_changed_only_from_the_version_that_was_read(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    admin, viewer = stand.admin(), stand.viewer()
    first = await admin.call("GET", "/api/v1/admin/titles/sample")
    etag = first.headers["ETag"]
    unchanged = await admin.call("GET", "/api/v1/admin/titles/sample", headers={"If-None-Match": etag})
    assert unchanged.status == 304
    patch = {"limits": {"max_sessions": 1}}
    changed = await admin.call("PATCH", "/api/v1/admin/titles/sample", patch, headers={"If-Match": etag})
    assert changed.json["limits"]["max_sessions"] == 1
    again = await admin.call("PATCH", "/api/v1/admin/titles/sample", {"warm": 3}, headers={"If-Match": etag})
    assert (again.status, again.code) == (412, "precondition_failed")
    await viewer.start("sample")
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "no_capacity"
    await admin.call("PATCH", "/api/v1/admin/titles/sample", {"retired": True, "limits": {"max_sessions": None}})
    assert (await viewer.get("/api/v1/titles"))["items"] == []
    assert (await viewer.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "title_not_found"


async def test_a_user_signs_in_and_is_signed_out_by_a_new_password(stand: Stand) -> None:
    await stand.coordinator(access={"mode": "password"})
    host = await stand.host("gpu1")
    staff = {"name": "staff-only", "access": {"groups": ["staff"]}}
    listed = {"name": "shown", "access": {"groups": ["others"], "listed": True}}
    await stand.register([TITLE, staff, listed], {host: ["sample", "staff-only", "shown"]})
    admin, anna = stand.admin(), stand.viewer()
    assert (await anna.me())["features"] | {"must_sign_in": True, "sign_in": "password"} == (await anna.me())[
        "features"
    ]
    assert (await anna.call("GET", "/api/v1/titles")).code == "unauthenticated"

    body = {"password": "correct horse", "groups": ["staff"], "display_name": "Анна"}
    await admin.call("PUT", "/api/v1/admin/users/anna", body)
    wrong = await anna.call("POST", "/api/v1/sign-in", {"name": "anna", "password": "wrong"})
    nobody = await anna.call("POST", "/api/v1/sign-in", {"name": "nobody", "password": "wrong"})
    assert wrong.code == nobody.code == "sign_in_failed"
    me = await anna.post("/api/v1/sign-in", {"name": "anna", "password": "correct horse"}, status=200)
    assert (me["id"], me["name"], me["groups"]) == ("user:anna", "Анна", ["staff"])
    anna.csrf = me["csrf_token"]
    titles = {t["name"]: t["startable"] for t in (await anna.get("/api/v1/titles"))["items"]}
    assert titles == {"sample": True, "staff-only": True, "shown": False}
    assert (await anna.call("POST", "/api/v1/sessions", {"title": "shown"})).code == "forbidden"
    session = await anna.start("staff-only")

    # Elsewhere, under another name, the session is somebody else's.
    guest = stand.viewer()
    assert (await guest.call("DELETE", f"/api/v1/sessions/{session['id']}")).code == "forbidden"
    stored = await stand.coordinators[0].service.store.connection.collection("user").find_one({})
    assert "correct horse" not in str(stored)

    async def signed_out() -> bool:
        # Cookies carry whole seconds, so that a change within the same second takes a second one to show.
        await admin.call("PUT", "/api/v1/admin/users/anna", {"password": "another horse"})
        return (await anna.call("GET", "/api/v1/titles")).status == 401

    await until(signed_out, "the old cookie no longer holds")


async def test_guests_with_an_invitation_enter_without_signing_in(stand: Stand) -> None:
    await stand.coordinator(access={"mode": "password"})
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    admin = stand.admin()
    session = await admin.start("sample")
    await admin.session_in(session["id"], "ready")
    invite = await admin.post(f"/api/v1/sessions/{session['id']}/invites", {"role": "controller"})
    guest = stand.viewer()
    link = invite["url"].rpartition("/")[2]
    assert (await guest.get(f"/api/v1/invites/{link}"))["role"] == "controller"
    entry = await guest.post(f"/api/v1/sessions/{session['id']}/join", {"invite": link, "name": "Guest"}, status=200)
    assert entry["role"] == "controller"
    assert (await guest.call("POST", "/api/v1/sessions", {"title": "sample"})).code == "unauthenticated"
