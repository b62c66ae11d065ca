"""What session servers write is what relays read: the services share no code, so a test compares both sides."""

from __future__ import annotations

import json
from pathlib import Path

from runtime.chassis.clock import SystemClock
from runtime.chassis.tokens import TokenSigner, new_signing_key
from runtime.protocol.control import IceServer, Launch, SessionPolicy, StartSession
from runtime.relay.config import load_relay_config
from runtime.session_server.policy.relay_settings import relay_settings


def test_relay_takes_every_setting(tmp_path: Path) -> None:
    start = StartSession(
        session_id="a" * 26,
        title="hall",
        launch=Launch(executable="/x"),
        token_public_key=TokenSigner(new_signing_key(), SystemClock()).public_key_pem,
        policy=SessionPolicy(max_players=3, idle_seconds=5, max_length_seconds=60, control="free", microphone=True),
        ice_servers=(IceServer(urls=("turn:example.org",), username="u", credential="c"), IceServer(urls=("stun:x",))),
        allowed_origins=("https://play.example.org", "https://both.example.org"),
        owner_participant="b" * 16,
    )
    settings = relay_settings(
        start,
        listen_address="127.0.0.1",
        port=8901,
        private_port=41_000,
        media_addresses=("10.0.0.5", "127.0.0.1"),
        announced_addresses=("203.0.113.7",),
        allowed_origins=("https://both.example.org", "https://embed.example.org"),
        ready_file=str(tmp_path / "ready.json"),
        streamer_secret="s" * 43,
        private_secret="p" * 43,
        log_level="debug",
    )
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings))
    config = load_relay_config(str(path))
    assert (config.session_id, config.title, config.token_public_key) == ("a" * 26, "hall", start.token_public_key)
    assert (config.listen.address, config.listen.port, config.private_port) == ("127.0.0.1", 8901, 41_000)
    assert (config.media.addresses, config.media.announced_addresses) == (("10.0.0.5", "127.0.0.1"), ("203.0.113.7",))
    assert (config.policy, config.ice_servers) == (start.policy, start.ice_servers)
    assert config.owner_participant == "b" * 16
    assert (config.streamer_secret, config.private_secret) == ("s" * 43, "p" * 43)
    assert config.ready_file == settings["ready_file"]
    assert config.allowed_origins == (
        "https://play.example.org",
        "https://both.example.org",
        "https://embed.example.org",
    )
    assert config.log.level == "debug"
