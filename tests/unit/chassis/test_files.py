"""Replacing a file that somebody has open, as Windows refuses it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.chassis import files


class Busy:
    """``os.replace`` that is refused a number of times."""

    def __init__(self, refusals: int) -> None:
        self.left, self._replace = refusals, os.replace

    def __call__(self, source: str, target: str) -> None:
        if self.left:
            self.left -= 1
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        self._replace(source, target)


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "_PAUSE_SECONDS", 0.0)
    (tmp_path / "file").write_text("old")
    (tmp_path / "new").write_text("new")
    return tmp_path / "new"


def test_a_file_that_is_looked_at_is_replaced_a_little_later(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", Busy(3))
    files.replace_patiently(str(new), str(new.with_name("file")))
    assert new.with_name("file").read_text() == "new"
    assert not new.exists()


def test_a_file_that_stays_open_is_an_error(new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "replace", Busy(1000))
    with pytest.raises(PermissionError):
        files.replace_patiently(str(new), str(new.with_name("file")))
    assert new.with_name("file").read_text() == "old"


def test_other_errors_come_at_once(new: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.replace_patiently(str(new.with_name("missing")), str(new))
