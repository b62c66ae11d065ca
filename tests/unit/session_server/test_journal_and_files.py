from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.protocol.control import Launch, SessionEvent, StartSession
from runtime.protocol.states import SessionState
from runtime.session_server import installation
from runtime.session_server.files import SAMPLE_TITLE, SessionDirectory, resolve_executable
from runtime.session_server.installation import installation_id
from runtime.session_server.journal import Journal, JournalError
from runtime.session_server.process.base import ChildIdentity
from runtime.session_server.process.keeper import RotatedLog
from runtime.session_server.record import SessionRecord


def record(letter: str = "a", **changes: object) -> SessionRecord:
    start = StartSession(session_id=letter * 26, title="t", launch=Launch(executable="/x"), token_public_key="pem")
    known = {"streamer_secret": "s", "private_secret": "p", "boot_id": "b", "started_ms": 5, **changes}
    return SessionRecord(start=start, **known)  # type: ignore[arg-type]


def event(of: SessionRecord, sequence: int) -> SessionEvent:
    return SessionEvent(event_id=f"{of.session_id[0]}{sequence}", sequence=sequence, at_ms=sequence, report=of.report())


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite", max_events=10)
    await opened.open()
    yield opened
    await opened.close()


async def reopened(journal: Journal, path: Path) -> Journal:
    await journal.close()
    again = Journal(path / "journal.sqlite", max_events=10)
    await again.open()
    return again


async def test_records_and_events_survive_together(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    assert stat.S_IMODE((tmp_path / "journal.sqlite").stat().st_mode) == 0o600
    child = ChildIdentity(mark="m", directory="/d", pid=1, started="x", keeper_pid=2, keeper_started="y")
    wanted = record(relay=child, steps={"relay_up": 7}, state=SessionState.STARTING)
    await journal.save(wanted, [event(wanted, 1), event(wanted, 2)])
    assert await journal.installation("own") == "own"
    journal = await reopened(journal, tmp_path)
    assert await journal.records() == [wanted]
    assert await journal.installation("another") == "own", "marks that are in use stay"
    assert [found.event_id for found in await journal.waiting(10)] == ["a1", "a2"]
    await journal.delivered(["a1", "unknown"])
    await journal.save(wanted, [event(wanted, 2)])  # again, as after a failed save
    assert [found.event_id for found in await journal.waiting(10)] == ["a2"]
    await journal.forget(wanted.session_id)
    assert await journal.records() == []
    assert await journal.waiting_sessions() == (1, frozenset({wanted.session_id})), "the event must still be told"
    await journal.close()


async def test_waiting_skips_sessions_and_keeps_order(journal: Journal) -> None:
    one, two = record("a"), record("b")
    await journal.save(one, [event(one, 1)])
    await journal.save(two, [event(two, 1)])
    await journal.save(one, [event(one, 2)])
    assert [found.event_id for found in await journal.waiting(2)] == ["a1", "b1"]
    assert [found.event_id for found in await journal.waiting(9, frozenset({two.session_id}))] == ["a1", "a2"]


@pytest.mark.expects_errors
async def test_outbox_is_bounded_and_keeps_each_sessions_newest(journal: Journal) -> None:
    one, two = record("a"), record("b")
    await journal.save(two, [event(two, 1)])
    for sequence in range(1, 14):
        await journal.save(one, [event(one, sequence)])
    kept = [found.event_id for found in await journal.waiting(100)]
    assert len(kept) <= 10
    assert kept[0] == "b1"
    assert kept[-1] == "a13"


@pytest.mark.expects_errors
async def test_damaged_journal_is_kept_aside_and_a_new_one_begins(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is no database" * 100)
    journal = Journal(path)
    await journal.open()
    assert await journal.records() == []
    await journal.close()
    assert path.with_name("journal.sqlite.broken").read_bytes().startswith(b"this is no database")


async def test_journal_is_held_by_one_service(journal: Journal, tmp_path: Path) -> None:
    second = Journal(tmp_path / "journal.sqlite", busy_seconds=0.1)
    with pytest.raises(JournalError, match="locked"):
        await second.open()


@pytest.mark.expects_errors
async def test_record_that_cannot_be_read_spares_the_others(journal: Journal) -> None:
    good = record("b")
    await journal.save(good)
    await journal._call(lambda: journal._run("INSERT INTO session VALUES ('a', 1, '{}')"))
    assert await journal.records() == [good]


def test_rotation_keeps_the_newest_in_bounds(tmp_path: Path) -> None:
    log = RotatedLog(str(tmp_path / "output.log"), 100, 3)
    for number in range(100):
        log.write(f"{number:09d}\n".encode())
    log.write(b"last\n")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["output.log", "output.log.1", "output.log.2"]
    assert all(path.stat().st_size <= 110 for path in files)
    text = "".join(path.read_text() for path in reversed(files))
    assert text.splitlines() == [f"{number:09d}" for number in range(80, 100)] + ["last"]


def test_rotation_with_a_single_file_starts_over(tmp_path: Path) -> None:
    log = RotatedLog(str(tmp_path / "output.log"), 50, 1)
    for _ in range(12):
        log.write(b"123456789\n")
    assert (tmp_path / "output.log").read_bytes() == b"123456789\n" * 2


def test_a_full_disk_does_not_stop_a_title(tmp_path: Path) -> None:
    log = RotatedLog("/dev/full", 100, 2)
    log.write(b"lost")
    log = RotatedLog(str(tmp_path / "missing" / "output.log"), 100, 2)
    log.write(b"lost")
    (tmp_path / "missing").mkdir()
    log.write(b"found")
    assert (tmp_path / "missing" / "output.log").read_bytes() == b"found"


def test_session_directory_is_private_and_forgets_secrets(tmp_path: Path) -> None:
    directory = SessionDirectory(tmp_path, "a" * 26)
    directory.create()
    for number in range(1, 9):
        files = directory.create_relay(number, {"streamer_secret": "s"})
        assert stat.S_IMODE(files.config.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    assert [path.name for path in directory.relay_directories()] == [f"relay-{number}" for number in range(4, 9)]
    directory.drop_secrets()
    assert list(directory.path.rglob("config.json")) == []
    directory.note(0, "started with token=abcdefgh")
    assert directory.steps.read_text() == "1970-01-01T00:00:00.000Z started with token=[scrubbed]\n"
    directory.remove()
    assert not directory.path.exists()


def test_sample_title_is_this_installations_own() -> None:
    assert resolve_executable(SAMPLE_TITLE, (), True)[1:] == ("-m", "runtime", "streamer")


def test_an_installation_is_named_by_its_machine_and_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, machine_id = tmp_path / "data", tmp_path / "machine-id"
    machine_id.write_text("0123\n")
    monkeypatch.setattr(installation, "_MACHINE_IDS", (tmp_path / "missing", machine_id))
    name = installation_id(data)
    assert "." not in name
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    for written in (data, tmp_path / "link", tmp_path / "x" / ".." / "data"):
        assert installation_id(written) == name
    assert installation_id(tmp_path / "other") != name
    machine_id.write_text("4567\n")
    assert installation_id(data) != name
    machine_id.write_text("")  # as in containers
    assert installation_id(data) == installation_id(data)
