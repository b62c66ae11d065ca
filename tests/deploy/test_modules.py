"""Our Ansible modules, on this machine's real processes, sockets and files."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from .running import PROJECT, Run, load_plugin

prune = load_plugin("playbooks/library/prune_directories.py")
look = load_plugin("playbooks/library/machine_look.py")
probe = load_plugin("playbooks/library/udp_probe.py")
freshness = load_plugin("playbooks/library/service_freshness.py")


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
        assert freshness.running_release(child.pid, tmp_path / "releases") == "1.0-abc"
        assert freshness.running_release(os.getpid(), tmp_path / "releases") == ""
    finally:
        child.send_signal(signal.SIGKILL)
        assert child.stdin is not None
        child.stdin.close()
        child.stdout.close()
        child.wait(10)


def test_modules_are_documented(ansible: Run) -> None:
    modules = sorted(path.stem for path in (PROJECT / "playbooks/library").glob("*.py"))
    result = ansible("ansible-doc", "-M", "playbooks/library", "--json", *modules)
    documents = json.loads(result.stdout)
    assert sorted(documents) == modules, result.stderr
    for name in modules:
        assert documents[name]["doc"]["short_description"]
        assert documents[name]["examples"]
