"""Backup and restore of the embedded database's files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tarfile
from pathlib import Path

import pytest

from .running import load_plugin

copy = load_plugin("roles/mongodb/files/embedded_copy.py")


def write(path: Path, value: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE IF NOT EXISTS kept (value TEXT)")
        database.execute("INSERT INTO kept VALUES (?)", (value,))
        database.commit()


def values(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [row[0] for row in database.execute("SELECT value FROM kept ORDER BY rowid")]


def test_what_is_restored_is_what_was_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data / "pixelstream.db", "before")
    # A connection of the running engine is open all the time, with rows that are still in the write-ahead log.
    with contextlib.closing(sqlite3.connect(data / "pixelstream.db")) as running:
        running.execute("INSERT INTO kept VALUES ('in the log')")
        running.commit()
        assert copy.backup(data, tmp_path / "archive") == 1
    assert (tmp_path / "archive").stat().st_mode & 0o077 == 0, "a backup is nobody else's to read"
    write(data / "pixelstream.db", "after")
    assert copy.restore(data, tmp_path / "archive") == 1
    assert values(data / "pixelstream.db") == ["before", "in the log"]
    assert values(data / "pixelstream.db.before-restore") == ["before", "in the log", "after"]
    assert (data / "pixelstream.db").stat().st_uid == os.stat(data).st_uid


def test_nothing_to_back_up_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="has no database"):
        copy.backup(tmp_path, tmp_path / "archive")


def test_other_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    with tarfile.open(tmp_path / "archive", "w") as tar:
        tar.add(tmp_path / "x.txt", arcname="../x.db")
    with pytest.raises(SystemExit, match="no backup"):
        copy.restore(tmp_path, tmp_path / "archive")
    assert not (tmp_path.parent / "x.db").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [("cut", "cannot be restored: "), ("spoilt", "cannot be restored: "), ("no archive", "is no backup of")],
)
def test_an_archive_that_is_not_whole_leaves_everything(tmp_path: Path, damage: str, words: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with contextlib.closing(sqlite3.connect(data / "pixelstream.db")) as database:
        database.execute("CREATE TABLE kept (value TEXT)")
        database.executemany("INSERT INTO kept VALUES (?)", [(os.urandom(2000).hex(),) for _ in range(100)])
        database.commit()
    before = (data / "pixelstream.db").read_bytes()
    archive = tmp_path / "archive"
    copy.backup(data, archive)
    whole = archive.read_bytes()
    archive.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "spoilt": whole[:5000] + bytes(5000) + whole[10000:],
            "no archive": b"streaming:\n  hosts: {}\n",
        }[damage]
    )
    with pytest.raises(SystemExit, match=f"archive {words}"):
        copy.restore(data, archive)
    assert [path.name for path in data.iterdir()] == ["pixelstream.db"]
    assert (data / "pixelstream.db").read_bytes() == before
