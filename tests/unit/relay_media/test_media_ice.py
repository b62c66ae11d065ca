"""Where one peer's media may go, decided without a network."""

from __future__ import annotations

import secrets
from typing import Any, cast

import pytest

from runtime.relay.core import stun
from runtime.relay.rtc.ice import IcePeer, Path
from runtime.relay.rtc.segmentation import Address


class Socket:
    """Remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []

    def send(self, data: bytes, address: Address) -> bool:
        self.sent.append((data, address))
        return True

    def claim(self, address: Address, peer: IcePeer) -> None:
        pass


class Agent:
    """A peer, and its browser's checks."""

    def __init__(self) -> None:
        self.peer = IcePeer(cast(Any, None))
        self.peer.remote_ufrag, self.peer.remote_pwd = "them", "p" * 24
        self.socket = Socket()
        self.path: Path = cast(Any, (self.socket, ("192.0.2.1", 4000)))

    def check(self, *, nominate: bool = True) -> None:
        username = f"{self.peer.local_ufrag}:them"
        data = stun.binding_request(
            secrets.token_bytes(12),
            username,
            self.peer.local_pwd.encode(),
            tie_breaker=1,
            controlled=False,
            nominate=nominate,
        )
        self.peer.validated(stun.parse(data), self.path)

    def answer(self, probe: bytes) -> None:
        reply = stun.binding_response(stun.parse(probe).transaction, b"\x7f\0\0\1", 1, b"p" * 24)
        self.peer.answered(stun.parse(reply), self.path)


@pytest.mark.parametrize("nominate", [True, False])
async def test_when_all_probes_were_lost_the_next_check_brings_more(nominate: bool) -> None:
    """A browser keeps checking from the same address; without a proof it would never get a picture."""
    agent = Agent()
    ready: list[bool] = []
    agent.peer.on_ready = lambda: ready.append(True)
    agent.check()
    assert not agent.socket.sent, "no probe before the handshake is over"
    agent.peer.want_media()
    for _ in range(5):
        agent.check(nominate=nominate)
    assert len(agent.socket.sent) == 1, "a probe is under way"
    assert agent.peer._probe_timer is not None
    agent.peer._probe_timer.cancel()
    agent.peer._probe_timer = None  # it was repeated for the last time
    agent.check(nominate=nominate)
    assert len(agent.socket.sent) == 2
    assert agent.peer.media_path is None
    agent.answer(agent.socket.sent[1][0])
    assert agent.peer.media_path == agent.path
    assert ready == [True]
    agent.check(nominate=nominate)
    assert len(agent.socket.sent) == 2, "proven"
