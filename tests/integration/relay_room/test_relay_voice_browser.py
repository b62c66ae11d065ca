"""The voice call with Chromium at both ends: its SDP, its Opus, its audio levels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from runtime.protocol.states import Role
from tests.integration.relay_room.relay_harness import DEADLINE_SECONDS, RelayProcess, person, running_relay
from tests.support.waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",  # beeps once a second
    "--autoplay-policy=no-user-gesture-required",
]
# What a page does with the protocol, in as few lines as it takes.
CALL = """
async ([url, token]) => {
  const call = window.call = { heard: [], peer: new RTCPeerConnection({ bundlePolicy: "max-bundle" }) };
  const microphone = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
  call.peer.ontrack = ({ streams }) => {
    const audio = new Audio();
    audio.srcObject = streams[0];
    void audio.play();
  };
  const socket = new WebSocket(url);
  const say = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => { say({ type: "hello", version: 1, token }); say({ type: "voice.join" }); };
  socket.onmessage = async ({ data }) => {
    const message = JSON.parse(data);
    call.heard.push(message);
    if (message.type !== "voice.offer") return;
    await call.peer.setRemoteDescription({ type: "offer", sdp: message.sdp });
    const mine = call.peer.getTransceivers().find(({ mid }) => mid === "mic");
    mine.direction = "sendonly";
    await mine.sender.replaceTrack(microphone);
    await call.peer.setLocalDescription(await call.peer.createAnswer());
    say({ type: "voice.answer", sdp: call.peer.localDescription.sdp });
  };
}
"""
ENERGY = """
async () => {
  let energy = 0, lost = 0;
  for (const entry of (await window.call.peer.getStats()).values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "audio") {
      energy += entry.totalAudioEnergy ?? 0;
      lost += entry.packetsLost ?? 0;
    }
  }
  return { energy, lost, state: window.call.peer.connectionState };
}
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (as root: apt install chromium)"),
]


async def join(page: Page, relay: RelayProcess, name: str, role: Role) -> None:
    # Any page of this origin will do: microphones need a secure context, which 127.0.0.1 is.
    await page.goto(f"http://{relay.public}/healthz")
    await page.evaluate(CALL, [f"ws://{relay.public}/room", relay.token(name, role)])


async def heard(page: Page) -> dict[str, Any] | None:
    """What ``ENERGY`` says, once there is sound."""
    found: dict[str, Any] = await page.evaluate(ENERGY)
    return found if found["energy"] > 0.01 else None


async def test_two_browsers_talk(tmp_path: Path) -> None:
    async with running_relay(tmp_path) as relay, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            pages = [await browser.new_page(), await browser.new_page()]
            await join(pages[0], relay, "anna", Role.OWNER)
            await join(pages[1], relay, "ben", Role.WATCHER)
            for page in pages:
                # Not page.wait_for_function, which takes a promise for true.
                found = await until(lambda page=page: heard(page), "sound", 2 * DEADLINE_SECONDS)
                assert found["state"] == "connected"
                assert found["lost"] <= 0, "pauses must not read as loss"
            await pages[0].wait_for_function(
                "id => window.call.heard.some(m => m.type === 'voice.speaking' && m.participants.includes(id))",
                arg=person("ben"),
                timeout=1000 * DEADLINE_SECONDS,
            )
        finally:
            await browser.close()
