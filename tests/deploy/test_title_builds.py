"""The role title on a Linux host, which is this machine: builds from the web and from a share, beside each other."""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from .running import Run
from .serving import QuietFiles


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is served."""
    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietFiles, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def archive(file: Path, text: str, top: str = "") -> str:
    """Pack a build with one executable; its checksum as ``titles.yml`` has it."""
    start = file.with_suffix(".sh")
    start.write_text(text)
    with tarfile.open(file, "w:gz") as tar:
        tar.add(start, f"{top}start.sh")
    start.unlink()
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


def deploy(ansible: Run, home: Path, *builds: dict[str, Any]) -> tuple[int, str]:
    """Run the role for one title with each of ``builds`` in turn; (tasks that changed something, what was said)."""
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "private_address": "127.0.0.1"}
    inventory = home / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"streaming": {"hosts": {"box": host}}}))
    titles = [[{"name": "city", "executable": "start.sh", "build": build}] for build in builds]
    common = {"hosts": "box", "gather_facts": True, "gather_subset": ["!all", "min"], "roles": ["title"]}
    plays = [{**common, "vars": {"titles": items, "title_root": str(home / "builds")}} for items in titles]
    playbook = home / "play.yml"
    playbook.write_text(yaml.safe_dump(plays))
    result = ansible("ansible-playbook", "-i", str(inventory), str(playbook))
    assert result.returncode in (0, 2), result.stdout + result.stderr
    changed = -1 if result.returncode else int(result.stdout.rsplit("changed=", 1)[1].split()[0])
    return changed, " ".join(result.stdout.split())


@pytest.fixture
def umask_of_a_strict_host() -> Iterator[None]:
    """Files are private unless the role says otherwise."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.timeout(300)
@pytest.mark.root  # builds belong to root
def test_builds_lie_beside_each_other_until_they_are_old(
    ansible: Run, tmp_path: Path, web: tuple[Path, str], umask_of_a_strict_host: None
) -> None:
    folder, address = web
    builds, share = tmp_path / "builds/city", tmp_path / "share"
    share.mkdir()
    first = {"url": f"{address}/one.tar.gz", "version": "1", "checksum": archive(folder / "one.tar.gz", "echo one")}
    second = {"share": str(share / "two.tar.gz"), "version": "2", "strip": True}
    archive(share / "two.tar.gz", "echo two", top="city-2/")
    third = {"url": f"{address}/three.tar.gz", "version": "3"}
    third["checksum"] = archive(folder / "three.tar.gz", "echo three")
    changed, said = deploy(ansible, tmp_path, first, second)
    assert changed > 0, said
    assert (builds / "1/start.sh").read_text() == "echo one", "sessions finish on the build they started with"
    assert (builds / "2/start.sh").read_text() == "echo two"
    assert (builds / "1/start.sh").stat().st_mode & 0o005 == 0o005, "the session server's account runs it"
    assert deploy(ansible, tmp_path, second)[0] == 0
    changed, said = deploy(ansible, tmp_path, {**second, "version": "3", "checksum": "sha256:" + "0" * 64})
    assert changed == -1
    assert "city 3 could not be installed" in said
    assert {path.name for path in builds.iterdir()} == {"1", "2"}, "what is wrong leaves nothing"
    assert deploy(ansible, tmp_path, third)[0] > 0
    assert {path.name for path in builds.iterdir()} == {"2", "3"}, "one besides the active build is kept"
