"""A session from click to end, as a viewer, an invited friend and the host see it."""

from __future__ import annotations

from runtime.chassis.clock import SystemClock
from runtime.chassis.tokens import TokenVerifier
from runtime.protocol.states import EndReason, Role, SessionState
from tests.support.coordinator.stand import Stand
from tests.support.waiting import until

TITLE = {"name": "sample", "display_name": {"en": "Sample"}, "limits": {"max_sessions": 5}}


async def test_a_session_goes_from_click_to_end(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu.1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    owner = stand.viewer()
    titles = await owner.get("/api/v1/titles")
    assert [(t["name"], t["availability"]["state"]) for t in titles["items"]] == [("sample", "free")]

    session = await owner.start("sample")
    assert (session["state"], session["role"], session["steps"][0]["step"]) == ("leased", "owner", "leased")
    ready = await owner.session_in(session["id"], "ready")
    assert {step["step"] for step in ready["steps"]} >= {"relay_up", "streamer_connected", "first_frame"}
    assert (await owner.get("/api/v1/titles"))["items"][0]["availability"]["state"] == "busy"

    entry = await owner.post(f"/api/v1/sessions/{session['id']}/join", {"name": " Анна "}, status=200)
    assert entry["player_url"] == "ws://127.0.0.1:9000/gpu.1/player"
    assert entry["room_url"] == "ws://127.0.0.1:9000/gpu.1/room"
    request = host.sessions[session["id"]].request
    claims = TokenVerifier(request.token_public_key, session["id"], SystemClock()).verify(entry["token"])
    assert (claims.role, claims.name, claims.participant_id) == (Role.OWNER, "Анна", request.owner_participant)

    answer = await owner.call("DELETE", f"/api/v1/sessions/{session['id']}")
    assert answer.status == 202
    ended = await owner.session_in(session["id"], "ended")
    assert ended["reason"] == "owner_ended"
    assert host.stops == [(session["id"], EndReason.OWNER_ENDED)]
    assert await coordinator.service.store.slots.taken() == []
    titles = await owner.get("/api/v1/titles")
    assert titles["items"][0]["availability"]["state"] == "free"


async def test_an_invited_friend_enters_in_the_invited_role_until_it_is_withdrawn(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1")
    await stand.register([TITLE], {host: ["sample"]})
    owner, friend, stranger = stand.viewer(), stand.viewer(), stand.viewer()
    session = await owner.start("sample")
    await owner.session_in(session["id"], "ready")
    invite = await owner.post(f"/api/v1/sessions/{session['id']}/invites", {"role": "watcher", "label": "Boris"})
    link = invite["url"].rpartition("/")[2]
    preview = await friend.get(f"/api/v1/invites/{link}")
    assert (preview["session_id"], preview["role"], preview["title"]["name"]) == (session["id"], "watcher", "sample")

    path = f"/api/v1/sessions/{session['id']}/join"
    assert (await stranger.call("POST", path, {})).code == "forbidden"
    first = await friend.post(path, {"invite": link}, status=200)
    again = await friend.post(path, status=200)
    assert first["role"] == again["role"] == "watcher"
    assert first["participant"] == again["participant"]
    assert (await friend.get(f"/api/v1/sessions/{session['id']}"))["role"] == "watcher"
    listed = (await owner.get(f"/api/v1/sessions/{session['id']}/invites"))["items"]
    assert [(i["uses"], i["url"], i["label"]) for i in listed] == [(1, None, "Boris")]
    # Only the hash of the link's secret is kept.
    stored = await stand.coordinators[0].service.store.connection.collection("session").find_one({})
    assert link.partition("-")[2] not in str(stored)

    answer = await owner.call("DELETE", f"/api/v1/sessions/{session['id']}/invites/{invite['id']}")
    assert answer.json["revoked"] is True
    assert (await friend.call("POST", path)).code == "forbidden"
    assert (await friend.call("POST", path, {"invite": link})).code == "invite_revoked"
    assert (await friend.call("GET", f"/api/v1/invites/{link}")).code == "invite_revoked"
    assert (await friend.call("DELETE", f"/api/v1/sessions/{session['id']}")).code == "forbidden"


async def test_the_end_that_the_host_reports_frees_the_slot_with_its_reason(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    await stand.register([TITLE], {host: ["sample"]})
    owner = stand.viewer()
    session = await owner.start("sample")
    await owner.session_in(session["id"], "ready")
    await host.go(session["id"], SessionState.STREAMING, participants=2)
    assert (await owner.session_in(session["id"], "streaming"))["participants"] == 2
    event = host.change(session["id"], SessionState.ENDED, reason=EndReason.IDLE, ended_ms=1)
    await host.flush()
    # Delivered once more, as after a lost answer.
    assert await host.send([event]) == [event.event_id]
    ended = await owner.session_in(session["id"], "ended")
    assert (ended["reason"], ended["participants"]) == ("idle", 0)
    assert await coordinator.service.store.slots.taken() == []
    join = await owner.call("POST", f"/api/v1/sessions/{session['id']}/join", {})
    assert (join.status, join.code) == (410, "session_ended")


async def test_no_capacity_and_no_host_are_told_apart(stand: Stand) -> None:
    await stand.coordinator()
    host = await stand.host("gpu1", capacity=1)
    other = {"name": "other"}
    await stand.register([TITLE, other], {host: ["sample"]})
    owner = stand.viewer()
    assert (await owner.call("POST", "/api/v1/sessions", {"title": "other"})).code == "no_host"
    assert (await owner.call("POST", "/api/v1/sessions", {"title": "nothing"})).code == "title_not_found"
    await owner.start("sample")
    busy = await owner.call("POST", "/api/v1/sessions", {"title": "sample"})
    assert (busy.status, busy.code) == (503, "no_capacity")
    assert int(busy.headers["Retry-After"]) > 0


async def test_a_host_that_refuses_is_passed_over_and_its_slot_given_back(stand: Stand) -> None:
    coordinator = await stand.coordinator()
    full, good = await stand.host("a-full"), await stand.host("b-good")
    full.refuse = "host_full"
    await stand.register([TITLE], {full: ["sample"], good: ["sample"]})
    owner = stand.viewer()
    session = await owner.start("sample")
    await owner.session_in(session["id"], "ready")
    assert full.starts == good.starts == [session["id"]]
    slots = await coordinator.service.store.slots.taken()
    assert [(slot.host, slot.session) for slot in slots] == [("b-good", session["id"])]


async def test_a_title_that_cannot_start_fails_with_its_reason(stand: Stand) -> None:
    coordinator = await stand.coordinator(sessions={"lease_seconds": 0.5})
    host = await stand.host("gpu1")
    host.refuse = "title_unavailable"
    await stand.register([TITLE], {host: ["sample"]})
    owner = stand.viewer()
    session = await owner.start("sample")
    failed = await owner.session_in(session["id"], "failed")
    assert failed["reason"] == "start_failed"
    await until(lambda: _no_slots(coordinator), "slot freed")


async def _no_slots(coordinator: object) -> bool:
    return await coordinator.service.store.slots.taken() == []  # type: ignore[attr-defined]
