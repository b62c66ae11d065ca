"""Decoding names the fault and survives anything."""

from __future__ import annotations

import pytest

from runtime.chassis.codec import decode
from runtime.protocol.control import SessionReport
from runtime.protocol.errors import ServiceError


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", "bad_json", "JSON"),
        (b"\xff", "bad_json", "JSON"),
        (b'{"session_id": 1}', "bad_request", "session_id"),
        (b'{"session_id": "x", "title": "t", "state": "nonsense"}', "bad_request", "state"),
        (b"[" * 100_000 + b"]" * 100_000, "bad_request", "object"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "bad_json", "nested"),
    ],
)
def test_a_wrong_body_is_a_named_error(body: bytes, code: str, words: str) -> None:
    with pytest.raises(ServiceError) as caught:
        decode(body, SessionReport)
    assert caught.value.code == code
    assert words in caught.value.message


def test_unknown_fields_are_ignored_so_that_either_side_may_be_updated_first() -> None:
    body = b'{"session_id": "x", "title": "t", "state": "ready", "added_later": [1, 2]}'
    assert decode(body, SessionReport).state == "ready"
