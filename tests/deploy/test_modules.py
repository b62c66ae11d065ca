"""Our Ansible modules, on this machine's real processes, sockets and files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .running import PROJECT, Run, load_plugin

prune = load_plugin("playbooks/library/prune_directories.py")
look = load_plugin("playbooks/library/machine_look.py")
probe = load_plugin("playbooks/library/udp_probe.py")
services = load_plugin("playbooks/library/service_look.py")
releases = load_plugin("playbooks/library/release_look.py")


def test_prune_keeps_what_is_current_new_or_in_use(ansible: Run, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    for age, name in enumerate(["r5", "r4", "r3", "r2", "r1"]):
        (releases / name).mkdir(parents=True)
        stamp = releases / name / ".stamp"
        stamp.touch()
        os.utime(stamp, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "current").symlink_to("releases/r2")
    (releases / "r1/tool").write_text("#!/bin/sh\n")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", str(releases / "r1/tool")], stdin=subprocess.PIPE
    )
    try:
        arguments = json.dumps({"path": str(releases), "keep": 1, "protect": [str(tmp_path / "current")]})
        check = ansible("ansible", "localhost", "-m", "prune_directories", "-a", arguments, "--check")
        assert "- r3" in check.stdout, check.stdout + check.stderr
        assert (releases / "r3").exists(), "check mode changes nothing"
        result = ansible("ansible", "localhost", "-m", "prune_directories", "-a", arguments)
        left = {path.name for path in releases.iterdir()}
        assert left == {"r5", "r2", "r1"}, result.stdout
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait(10)


def test_listeners_name_port_and_program() -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(("127.0.0.1", 0))
        found = {(entry["protocol"], entry["port"]): entry["command"] for entry in look.listeners()}
        assert "python" in found["tcp", tcp.getsockname()[1]] or "pytest" in found["tcp", tcp.getsockname()[1]]
        assert ("udp", udp.getsockname()[1]) in found


def test_free_bytes_of_a_path_that_is_still_to_be_made(tmp_path: Path) -> None:
    assert look.free_bytes(str(tmp_path / "not/yet")) > 0


def test_names_that_nobody_knows_have_no_address() -> None:
    assert look.addresses("nowhere.invalid") == []
    assert look.addresses("localhost")


def test_udp_probe_gets_an_answer_from_the_first_free_port() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        first = taken.getsockname()[1]
        answered: list[int | None] = []
        thread = threading.Thread(target=lambda: answered.append(probe.answer(first, 20, 10.0)))
        thread.start()
        asked = probe.ask("127.0.0.1", first, 20, 10.0)
        thread.join(15)
        assert asked is not None
        assert asked > first
        assert answered == [asked]


def test_udp_probe_without_anybody_says_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        assert probe.ask("127.0.0.1", silent.getsockname()[1], 1, 0.5) is None


def test_the_release_of_a_process_is_read_from_its_interpreter(tmp_path: Path) -> None:
    release = tmp_path / "releases/1.0-abc/bin"
    release.mkdir(parents=True)
    (release / "python").symlink_to(sys.executable)
    child = subprocess.Popen(
        [str(release / "python"), "-S", "-c", "import sys; print(flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.readline()  # the kernel fills in the command line a moment after exec returns
    try:
        assert services.running_release(child.pid, tmp_path / "releases") == "1.0-abc"
        assert services.running_release(os.getpid(), tmp_path / "releases") == ""
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.stdin is not None
        child.stdin.close()
        child.stdout.close()
        child.wait(10)


RUNNING = {
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": str(os.getpid()),
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "ExecMainStartTimestampMonotonic": "1000000",
}


@pytest.mark.parametrize(
    ("properties", "active", "settled"),
    [
        (RUNNING, True, True),
        (RUNNING | {"UnitFileState": "disabled"}, True, False),
        (RUNNING | {"NeedDaemonReload": "yes"}, True, False),
        (RUNNING | {"ActiveState": "failed", "SubState": "failed", "MainPID": "0"}, False, False),
        (RUNNING | {"ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0"}, False, False),
        # What loads something and is done, as the firewall's unit.
        (RUNNING | {"SubState": "exited", "MainPID": "0"}, True, True),
        ({"ActiveState": "inactive", "MainPID": "0", "UnitFileState": "", "NeedDaemonReload": "no"}, False, False),
    ],
)
def test_a_service_is_settled_when_it_runs_now_and_at_each_boot(
    properties: dict[str, str], active: bool, settled: bool
) -> None:
    seen = services.judged("some.service", "", [], properties)
    assert (seen["active"], seen["settled"], seen["stale"]) == (active, settled, [])


def test_a_service_is_stale_when_its_release_or_a_file_is_newer(tmp_path: Path) -> None:
    (tmp_path / "releases/new").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/new")
    (tmp_path / "late").touch()
    (tmp_path / "early").touch()
    os.utime(tmp_path / "early", (1, 1))
    files = [str(tmp_path / name) for name in ("late", "early", "missing")]
    seen = services.judged("some@2.service", str(tmp_path / "current"), files, RUNNING)
    assert seen["stale"] == [
        "runs from elsewhere, current is new",
        f"{tmp_path}/late was written after it was read",
    ]
    # A reload at the end of time reads every file again, but makes no release of another.
    reloaded = RUNNING | {"StateChangeTimestampMonotonic": str(int(1e6 * (time.monotonic() + 3600)))}
    seen = services.judged("some", "", files, reloaded, reloads=True)
    assert (seen["active"], seen["stale"]) == (True, [])
    assert [services.instance(name) for name in ("a@2", "a@b-1.service", "a")] == ["2", "b-1", ""]


@pytest.mark.parametrize(
    ("settings", "enabled"),
    [("# ENABLED=yes\nENABLED=no\n", False), ("LOGLEVEL=low\nENABLED = Yes\n", True), (None, False)],
)
def test_ufw_is_asked_for_by_its_own_settings(tmp_path: Path, settings: str | None, enabled: bool) -> None:
    file = tmp_path / "ufw.conf"
    if settings is not None:
        file.write_text(settings)
    assert look.ufw_enabled(file) is enabled


def test_what_is_installed_is_read_from_the_packages_database(ansible: Run) -> None:
    said = ansible("ansible", "localhost", "-m", "machine_look", "-a", json.dumps({"controller_seconds": 0})).stdout
    assert ("- dpkg\n" in said) == Path("/var/lib/dpkg/info/dpkg.list").exists()
    assert "no-package-of-this-name" not in said


def test_releases_are_told_from_those_that_broke_off(tmp_path: Path) -> None:
    empty = {"directories": [], "complete": [], "current": "", "previous": "", "predecessor": ""}
    assert releases.look(tmp_path / "nowhere") == empty
    for name in ("r1", "r2", "r3"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    (tmp_path / "releases/r1/.stamp").touch()
    (tmp_path / "releases/r2/.stamp").touch()
    (tmp_path / "releases/r2/.predecessor").write_text("r1\n")
    (tmp_path / "current").symlink_to("releases/r2")
    seen = {"directories": ["r1", "r2", "r3"], "complete": ["r1", "r2"], "current": "r2"}
    assert releases.look(tmp_path) == seen | {"previous": "", "predecessor": "r1"}
    (tmp_path / "previous").symlink_to("releases/r1")
    assert releases.look(tmp_path) == seen | {"previous": "r1", "predecessor": "r1"}
    (tmp_path / "releases/r1/.stamp").unlink()
    assert releases.look(tmp_path)["predecessor"] == "", "nobody goes back to a release that is not whole"


def test_an_interpreter_that_is_not_there_is_no_crash(ansible: Run, tmp_path: Path) -> None:
    arguments = json.dumps({"root": str(tmp_path), "python": "/usr/bin/python0"})
    said = ansible("ansible", "localhost", "-m", "release_look", "-a", arguments)
    assert said.returncode == 0, said.stdout
    assert "No such file" in said.stdout


def test_modules_are_documented(ansible: Run) -> None:
    modules = sorted(path.stem for path in (PROJECT / "playbooks/library").glob("*.py"))
    result = ansible("ansible-doc", "-M", "playbooks/library", "--json", *modules)
    documents = json.loads(result.stdout)
    assert sorted(documents) == modules, result.stderr
    for name in modules:
        assert documents[name]["doc"]["short_description"]
        assert documents[name]["examples"]
