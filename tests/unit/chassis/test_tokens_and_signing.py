"""Join tokens and signed control requests: accepted once, by the right party, in time."""

from __future__ import annotations

import pytest

from runtime.chassis.clock import ManualClock
from runtime.chassis.signing import RequestVerifier, host_key, sign_request
from runtime.chassis.tokens import TokenSigner, TokenVerifier, new_signing_key
from runtime.protocol.control import IceServer
from runtime.protocol.errors import ServiceError
from runtime.protocol.states import Role

SESSION = "a" * 26


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_token_opens_its_own_session_in_its_role(clock: ManualClock) -> None:
    signer = TokenSigner(new_signing_key(), clock)
    token, expires = signer.sign(SESSION, "p" * 16, Role.WATCHER, "Анна", 60)
    claims = TokenVerifier(signer.public_key_pem, SESSION, clock).verify(token)
    assert (claims.participant_id, claims.role, claims.name) == ("p" * 16, Role.WATCHER, "Анна")
    assert claims.expires_at == expires == clock.now_ms() // 1000 + 60


def test_a_token_carries_its_participants_own_turn_servers(clock: ManualClock) -> None:
    signer = TokenSigner(new_signing_key(), clock)
    servers = (
        IceServer(urls=("turn:a:3478", "turns:a:5349"), username="1:p", credential="c"),
        IceServer(urls=("stun:b",)),
    )
    token, _ = signer.sign(SESSION, "p" * 16, Role.WATCHER, "x", 60, servers)
    assert TokenVerifier(signer.public_key_pem, SESSION, clock).verify(token).ice_servers == servers


@pytest.mark.parametrize("wrong", ["other session", "other key", "garbage", "none", "expired", "unsigned"])
def test_a_wrong_token_is_refused_with_its_code(clock: ManualClock, wrong: str) -> None:
    signer = TokenSigner(new_signing_key(), clock)
    token, _ = signer.sign(SESSION, "p" * 16, Role.OWNER, "x", 60)
    verifier = TokenVerifier(signer.public_key_pem, SESSION, clock)
    code = "token_invalid"
    if wrong == "other session":
        verifier = TokenVerifier(signer.public_key_pem, "b" * 26, clock)
    elif wrong == "other key":
        verifier = TokenVerifier(TokenSigner(new_signing_key(), clock).public_key_pem, SESSION, clock)
    elif wrong == "garbage":
        token = "not.a.token"
    elif wrong == "none":
        token, code = "", "token_missing"
    elif wrong == "expired":
        clock.advance(120)
        code = "token_expired"
    else:
        head, body, _ = token.split(".")
        token = f"{head}.{body}."
    with pytest.raises(ServiceError) as caught:
        verifier.verify(token)
    assert caught.value.code == code


def _signed(clock: ManualClock, key: str, body: bytes = b"{}", target: str = "/control/v1/x?a=1") -> str:
    return sign_request(key, issuer="coordinator", audience="gpu1", method="PUT", target=target, body=body, clock=clock)


def _verify(verifier: RequestVerifier, header: str | None, key: str, body: bytes = b"{}", method: str = "PUT") -> None:
    verifier.verify(header, key, issuer="coordinator", method=method, target="/control/v1/x?a=1", body=body)


def test_a_signed_request_is_accepted_once(clock: ManualClock) -> None:
    key = host_key("master", "gpu1")
    verifier = RequestVerifier("gpu1", clock)
    header = _signed(clock, key)
    _verify(verifier, header, key)
    with pytest.raises(ServiceError) as caught:
        _verify(verifier, header, key)
    assert caught.value.code == "control_replayed"


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("no header", "control_unsigned"),
        ("key of another host", "control_unsigned"),
        ("late", "control_expired"),
        ("clock far ahead", "control_expired"),
        ("other body", "control_mismatch"),
        ("other method", "control_mismatch"),
        ("other path", "control_mismatch"),
    ],
)
def test_a_wrong_request_is_refused_with_its_code(clock: ManualClock, case: str, code: str) -> None:
    key = host_key("master", "gpu1")
    verifier = RequestVerifier("gpu1", clock)
    header: str | None = _signed(clock, key)
    body, method = b"{}", "PUT"
    if case == "no header":
        header = None
    elif case == "key of another host":
        header = _signed(clock, host_key("master", "gpu2"))
    elif case == "late":
        clock.advance(120)
    elif case == "clock far ahead":
        clock.advance(-120)
    elif case == "other body":
        body = b'{"a": 1}'
    elif case == "other method":
        method = "DELETE"
    else:
        header = _signed(clock, key, target="/control/v1/y")
    with pytest.raises(ServiceError) as caught:
        _verify(verifier, header, key, body, method)
    assert caught.value.code == code


def test_replay_memory_forgets_only_what_has_expired(clock: ManualClock) -> None:
    key = host_key("master", "gpu1")
    verifier = RequestVerifier("gpu1", clock)
    first = _signed(clock, key)
    _verify(verifier, first, key)
    clock.advance(50)
    _verify(verifier, _signed(clock, key), key)
    with pytest.raises(ServiceError) as caught:
        _verify(verifier, first, key)
    assert caught.value.code == "control_replayed"
