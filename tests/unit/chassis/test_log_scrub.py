"""Secrets never reach a log line."""

from __future__ import annotations

import pytest

from runtime.chassis.log import scrub


@pytest.mark.parametrize(
    "line",
    [
        "GET /player?token=SECRETSECRET&x=1",
        "Authorization: Bearer SECRETSECRET",
        "ws://127.0.0.1:4000/streamer/SECRETSECRET refused",
        "https://play.example/join/SECRETSECRET opened",
        "GET /api/v1/invites/abcdefghijklmnopqrstuvwxyz-SECRETSECRETSECRETSECRET -> 200",
        "GET /api/v1/calendar/dXNlcjphbm5h.SECRETSECRET_SECRETSECRET-x.ics -> 200 in 3.1 ms",
        "mongodb://user:SECRETSECRET@db:27017/x",
        "password=SECRETSECRET",
        "jwt eyJhbGciOi.SECRETSECRET.SECRETSECRET",
    ],
)
def test_secrets_are_scrubbed_and_the_rest_stays(line: str) -> None:
    cleaned = scrub(line)
    assert "SECRETSECRET" not in cleaned
    assert "[scrubbed]" in cleaned


def test_ordinary_lines_are_untouched() -> None:
    line = "session abc started on gpu1 in 1.2 s, port 42001"
    assert scrub(line) == line
    line = "GET /api/v1/bookings/abcdefghijklmnopqrstuvwxyz/calendar.ics -> 200 in 3.1 ms"
    assert scrub(line) == line
    line = "DELETE /api/v1/sessions/abcdefghijklmnopqrstuvwxyz/invites/abcdefghijklmnop -> 200 in 3.1 ms"
    assert scrub(line) == line
