"""The module managed_files, sent by the real Ansible to this machine."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from .running import Run

Manage = Callable[..., dict[str, Any]]
# Files of whoever runs the tests; the module's own defaults are root's.
MINE = {"owner": "", "group": ""}


@pytest.fixture
def manage(ansible: Run) -> Manage:
    """Run the module and return its result, which says ``failed`` instead of raising."""

    def run(*files: dict[str, Any], flags: tuple[str, ...] = ()) -> dict[str, Any]:
        arguments = json.dumps({"files": [MINE | file for file in files]})
        command = ("ansible", "localhost", "-m", "managed_files", "-a", arguments, "-vvv", *flags)
        said = ansible(*command).stdout
        verdict, _, document = said.partition("localhost | ")[2].partition(" =>")
        result: dict[str, Any] = yaml.safe_load(document)
        return result | {"failed": verdict.startswith("FAILED"), "said": document}

    return run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return an empty directory; Ansible keeps its own things in the test's."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.lstat().st_mode):04o}"


def test_what_is_wanted_is_made_and_then_left_alone(manage: Manage, place: Path) -> None:
    (place / "old").write_text("gone\n")
    (place / "copied").write_bytes(b"\xff\x00")
    wanted: list[dict[str, Any]] = [
        {"path": f"{place}/new/deep", "state": "directory", "mode": "0750"},
        {"path": f"{place}/new/deep/text", "content": "grüße\n"},
        {"path": f"{place}/new/deep/copy", "source": f"{place}/copied", "mode": "0600"},
        {"path": f"{place}/new/link", "state": "link", "target": "deep/text"},
        {"path": f"{place}/old", "state": "absent"},
    ]
    dry = manage(*wanted, flags=("--check",))
    assert dry["changed"]
    assert not (place / "new").exists()
    assert (place / "old").exists(), "a dry run changes nothing"

    done = manage(*wanted)
    assert done["changed_paths"] == dry["changed_paths"] == [item["path"] for item in wanted]
    deep = place / "new/deep"
    assert (mode(deep), mode(deep / "text"), mode(deep / "copy")) == ("0750", "0644", "0600")
    assert (place / "new/link").read_text() == "grüße\n"
    assert (deep / "copy").read_bytes() == b"\xff\x00"
    assert not (place / "old").exists()
    assert sorted(path.name for path in deep.iterdir()) == ["copy", "text"], "nothing temporary is left"

    before = (deep / "text").stat()
    again = manage(*wanted)
    assert not again["changed"]
    assert again["changed_paths"] == []
    assert ((deep / "text").stat().st_ino, (deep / "text").stat().st_mtime) == (before.st_ino, before.st_mtime)


def test_a_mode_that_drifted_is_set_right(manage: Manage, place: Path) -> None:
    file = place / "secret"
    file.write_text("same\n")
    file.chmod(0o666)
    item = {"path": str(file), "content": "same\n", "mode": "0640"}
    assert manage(item, flags=("--check",))["changed"]
    assert mode(file) == "0666"
    assert manage(item)["changed"]
    assert mode(file) == "0640"
    assert not manage(item)["changed"]


def test_a_validator_keeps_the_old_file_and_is_quoted(manage: Manage, place: Path) -> None:
    file, first = place / "config", place / "first"
    file.write_text("good\n")
    validator = """sh -c 'grep -q good "$0" || { echo "line 1 of $0 is bad" >&2; exit 3; }' %s"""
    refused = manage(
        {"path": str(first), "content": "first\n"}, {"path": str(file), "content": "evil\n", "validate": validator}
    )
    assert refused["failed"]
    assert f"{file} stays as it was" in refused["msg"]
    assert f"line 1 of {file} is bad" in refused["msg"], "the name of the trial file would help nobody"
    assert refused["changed_paths"] == [str(first)], "what was done before is told"
    assert file.read_text() == "good\n"
    assert sorted(path.name for path in place.iterdir() if path.name.startswith(".config")) == []
    assert not manage({"path": str(file), "content": "good, again\n", "validate": validator})["failed"]
    assert file.read_text() == "good, again\n"


def test_readers_never_see_half_a_file(manage: Manage, place: Path) -> None:
    file = place / "big"
    sizes, seen = (300_000, 400_000), set()
    file.write_text("x" * sizes[0])
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(len(file.read_bytes()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert manage({"path": str(place / "long"), "source": str(file)})["changed"]
        (place / "long").write_text("x" * sizes[1])
        assert manage({"path": str(file), "source": str(place / "long")})["changed"]
    finally:
        over.set()
        reader.join(10)
    assert seen <= set(sizes)


def test_contents_are_shown_as_a_difference_and_nowhere_else(manage: Manage, place: Path) -> None:
    (place / "open").write_text("one\n")
    done = manage(
        {"path": f"{place}/open", "content": "two\n"},
        {"path": f"{place}/closed", "content": "never-shown\n", "diff": False},
        {"path": f"{place}/binary", "source": "/bin/true"},
        flags=("--diff",),
    )
    shown = {entry["after_header"]: (entry["before"].strip(), entry["after"].strip()) for entry in done["diff"]}
    assert shown[f"{place}/open"] == ("one", "two")
    assert shown[f"{place}/closed"] == ("", "(not shown)")
    assert "no text" in shown[f"{place}/binary"][1]
    assert done["invocation"]["module_args"]["files"] == [f"{place}/{name}" for name in ("open", "closed", "binary")]
    assert "never-shown" not in done["said"]
    assert manage({"path": f"{place}/quiet", "content": "x\n"})["diff"] == []


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"path": "taken", "content": "x"}, "a directory has that name"),
        ({"path": "taken", "state": "absent"}, "it is a directory"),
        ({"path": "taken", "state": "link", "target": "x"}, "a directory has that name"),
        ({"path": "file", "state": "directory"}, "something else has that name"),
        ({"path": "nowhere/file", "content": "x"}, "nowhere/file: "),
        ({"path": "copy", "source": "/nonexistent"}, "/nonexistent"),
        ({"path": "file"}, "content, source"),
        ({"path": "file", "content": "x", "source": "/bin/true"}, "mutually exclusive"),
        ({"path": "link", "state": "link"}, "target"),
    ],
)
def test_what_cannot_be_is_refused_by_name(manage: Manage, place: Path, item: dict[str, Any], word: str) -> None:
    (place / "taken").mkdir()
    (place / "file").write_text("kept\n")
    before = sorted(path.name for path in place.iterdir())
    result = manage(item | {"path": f"{place}/{item['path']}"})
    assert result["failed"]
    assert word in result["msg"]
    assert sorted(path.name for path in place.iterdir()) == before
    assert (place / "file").read_text() == "kept\n"


def test_a_dry_run_forgives_what_an_earlier_step_would_have_made(manage: Manage, place: Path) -> None:
    item = {"path": f"{place}/not/yet", "source": f"{place}/neither", "owner": "nobody-has-this-name"}
    assert manage(item, flags=("--check",))["changed"]
    assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files away")
def test_owner_and_group_are_root_unless_named(manage: Manage, place: Path) -> None:
    file = place / "file"
    file.write_text("x")
    os.chown(file, 1, 1)
    assert manage({"path": str(file), "content": "x", "owner": "root", "group": "root"})["changed"]
    assert (file.stat().st_uid, file.stat().st_gid) == (0, 0)
    assert manage({"path": str(file), "content": "y", "owner": "daemon", "group": "root", "mode": "0640"})["changed"]
    assert (file.stat().st_uid, file.stat().st_gid, mode(file)) == (1, 0, "0640")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_full_disk_leaves_the_old_file(manage: Manage, place: Path) -> None:
    small = place / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=64k tmpfs {small}") == 0
    try:
        (small / "file").write_text("old\n")
        (small / "fill").write_bytes(b"0" * 48_000)
        result = manage({"path": f"{small}/file", "content": "y" * 60_000})
        assert result["failed"]
        assert f"{small}/file: " in result["msg"]
        assert "No space left" in result["msg"]
        assert (small / "file").read_text() == "old\n"
        assert sorted(path.name for path in small.iterdir()) == ["file", "fill"]
    finally:
        assert os.system(f"umount {small}") == 0
