"""The control interface refuses what the coordinator did not sign, and shows evidence without secrets."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from runtime.chassis import codec
from runtime.chassis.client import HttpClient, SignedClient
from runtime.chassis.clock import ManualClock, SystemClock
from runtime.chassis.signing import sign_request
from runtime.protocol.control import HostHeartbeat
from runtime.protocol.errors import ServiceError
from tests.support.session_server.coordinator import HOST_KEY
from tests.support.session_server.host import HostUnderTest

UNKNOWN = "/control/v1/sessions/aaaaaaaaaaaaaaaaaaaaaaaaaa"


async def code_of(client: SignedClient, method: str, target: str, payload: object = None) -> str:
    with pytest.raises(ServiceError) as refused:
        await client.call(method, target, deadline_seconds=5, payload=payload)
    return refused.value.code


async def test_unsigned_and_wrongly_signed_requests_are_refused(host: HostUnderTest) -> None:
    http = HttpClient()
    clock = SystemClock()

    def client(key: str = HOST_KEY, issuer: str = "coordinator", audience: str = "gpu1", skew: int = 0) -> SignedClient:
        when = ManualClock(epoch_ms=clock.now_ms() + skew * 1000)
        return SignedClient(http, host.url, key=key, issuer=issuer, audience=audience, clock=when)

    try:
        assert await code_of(client(key="x" * 43), "GET", UNKNOWN) == "control_unsigned"
        assert await code_of(client(issuer="gpu1"), "GET", UNKNOWN) == "control_unsigned"
        assert await code_of(client(audience="gpu2"), "GET", UNKNOWN) == "control_unsigned"
        assert await code_of(client(skew=-3600), "GET", UNKNOWN) == "control_expired"
        assert await code_of(client(), "GET", UNKNOWN) == "session_not_found"

        async def send(header: str | None, target: str = "/control/v1/sessions") -> str:
            headers = {"Authorization": header} if header else {}
            try:
                await http.fetch("GET", host.url + target, deadline_seconds=5, headers=headers)
            except ServiceError as error:
                return error.code
            return "ok"

        def sign(target: str) -> str:
            return sign_request(
                HOST_KEY, issuer="coordinator", audience="gpu1", method="GET", target=target, body=b"", clock=clock
            )

        signed = sign("/control/v1/sessions")
        assert await send(None) == "control_unsigned"
        assert await send(signed, "/control/v1/host") == "control_mismatch"
        assert await send(signed) == "ok"
        assert await send(signed) == "control_replayed"
        assert await send(None, "/healthz") == "ok"
    finally:
        http.close()


async def test_bad_requests_name_the_fault(host: HostUnderTest) -> None:
    start = codec.to_builtins(host.request())
    other = dict(start, session_id="b" * 26)
    with pytest.raises(ServiceError, match="not the one in the address"):
        await host.call("PUT", UNKNOWN, other)
    del start["launch"]
    with pytest.raises(ServiceError, match="launch"):
        await host.call("PUT", f"/control/v1/sessions/{start['session_id']}", start)
    with pytest.raises(ServiceError, match="reason must be one of"):
        await host.call("DELETE", f"{UNKNOWN}?reason=boredom")
    assert (await host.call("DELETE", f"{UNKNOWN}?reason=idle")).status == 200
    for target in (f"{UNKNOWN}/logs", f"{UNKNOWN}/bundle", f"{UNKNOWN}/statistics"):
        with pytest.raises(ServiceError) as missing:
            await host.call("GET", target)
        assert missing.value.code == "session_not_found"


async def test_logs_are_bounded_and_carry_no_secret(idle_host: HostUnderTest) -> None:
    idle_host.settings["files"] = {"log_file_bytes": 65_536, "log_files": 2}
    await idle_host.start()
    session = await idle_host.begin("--shout-bytes", "1000000", "--say", "{streamer_url}")
    await idle_host.until_told(session, "ready")
    secret = idle_host.record(session)["config"]["streamer_secret"]
    title = idle_host.data / "sessions" / session / "title"
    written = {path.name: path.stat().st_size for path in title.glob("output.log*")}
    assert "output.log.1" in written
    assert len(written) <= 2
    # A file is closed by the piece that fills it, and a piece is at most 64 KiB.
    assert max(written.values()) < 2 * 65_536
    target = f"/control/v1/sessions/{session}/logs"
    tail = (await idle_host.call("GET", f"{target}?source=title&lines=5")).body.decode()
    assert tail == ("x" * 99 + "\n") * 5
    steps = (await idle_host.call("GET", f"{target}?source=steps&lines=100")).body.decode()
    assert "step first_frame" in steps
    relay = (await idle_host.call("GET", f"{target}?source=relay")).body.decode()
    assert f"stub relay {session}" in relay
    for text in (tail, steps, relay, idle_host.log.read_text()):
        assert secret not in text
    for query in ("source=/etc/passwd", "source=title&lines=0", "source=title&lines=many"):
        with pytest.raises(ServiceError) as refused:
            await idle_host.call("GET", f"{target}?{query}")
        assert refused.value.code == "bad_request"


async def test_bundle_holds_the_evidence_of_a_crash_without_secrets(host: HostUnderTest) -> None:
    crash = host.titles / "Game" / "Saved" / "Crashes" / "UECC-1"
    session = await host.begin(
        "--say", "{streamer_url}", "--exit-after", "2", "--exit-code", "42", environment={"LICENCE_KEY": "hush-hush"}
    )
    await host.until_told(session, "ready")
    secret = host.record(session)["config"]["streamer_secret"]
    crash.mkdir(parents=True)
    (crash / "CrashContext.runtime-xml").write_text(f"<c>-PixelStreamingURL=ws://127.0.0.1:1/streamer/{secret}</c>")
    (crash / "UEMinidump.dmp").write_bytes(b"MDMP")
    await host.until_told(session, "failed")
    reply = await host.call("GET", f"/control/v1/sessions/{session}/bundle")
    assert reply.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(reply.body)) as bundle:
        content = {name: bundle.read(name) for name in bundle.namelist()}
    assert {"session.json", "host.json", "logs/steps.log", "logs/title/output.log", "title/exit.json"} <= set(content)
    assert content["crash/Saved/Crashes/UECC-1/UEMinidump.dmp"] == b"MDMP"
    assert b"<c>" in content["crash/Saved/Crashes/UECC-1/CrashContext.runtime-xml"]
    told = json.loads(content["session.json"])
    assert told["report"]["exit_code"] == 42
    assert told["launch"]["environment_names"] == ["LICENCE_KEY"]
    whole = b"\n".join(content.values())
    assert secret.encode() not in whole
    assert b"hush-hush" not in whole
    assert HOST_KEY.encode() not in whole
    assert list(host.data.glob("bundle-*")) == []


async def test_host_and_metrics(host: HostUnderTest) -> None:
    session = await host.begin()
    await host.until_told(session, "ready")
    beat = (await host.call("GET", "/control/v1/host")).as_(HostHeartbeat)
    assert [report.session_id for report in beat.sessions] == [session]
    http = HttpClient()
    try:
        text = (await http.fetch("GET", f"{host.url}/metrics", deadline_seconds=5)).body.decode()
    finally:
        http.close()
    assert 'pixelstream_host_sessions{state="ready"} 1.0' in text
    assert "pixelstream_host_capacity 2.0" in text
