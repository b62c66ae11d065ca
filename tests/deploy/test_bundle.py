"""The bundle from which machines without internet install a release."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest

from .running import PROJECT, load_plugin

bundle = load_plugin("roles/runtime_install/files/build_bundle.py")

LOCK = """\
# made by a tool
alpha==1.0 \\
    --hash=sha256:bb \\
    --hash=sha256:aa
    # via something
beta==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:cc
beta==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
pywin==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:ee
"""


def test_markers_are_those_of_the_target() -> None:
    assert bundle.requirements_for([LOCK], "3.11", "linux-x86_64") == [
        "alpha==1.0 --hash=sha256:aa --hash=sha256:bb",
        "beta==2.0 --hash=sha256:cc",
    ]
    assert [line.split(" ")[0] for line in bundle.requirements_for([LOCK], "3.12", "windows-x86_64")] == [
        "alpha==1.0",
        "beta==3.0",
        "pywin==1.0",
    ]


def test_lock_files_that_overlap_count_once_and_may_not_disagree() -> None:
    assert len(bundle.requirements_for([LOCK, LOCK], "3.11", "linux-x86_64")) == 2
    with pytest.raises(bundle.BundleError, match="disagree about alpha"):
        bundle.requirements_for([LOCK, "alpha==9.0 --hash=sha256:ff\n"], "3.11", "linux-x86_64")


def test_a_requirement_without_a_hash_is_refused() -> None:
    with pytest.raises(bundle.BundleError, match=r"gamma==1\.0 has no hash.*make lock"):
        bundle.requirements_for(["gamma==1.0\n"], "3.11", "linux-x86_64")


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64", "windows-x86_64"])
def test_the_projects_own_lock_files_fit_every_target(python: str, platform: str) -> None:
    texts = [(PROJECT / "requirements" / name).read_text() for name in ("runtime.txt", "local.txt")]
    names = {line.split("==")[0] for line in bundle.requirements_for(texts, python, platform)}
    assert {"aiortc", "tornado", "pymongo", "msgspec", "nx-27017"} <= names
    assert "uvloop" not in names


def source_tree(place: Path) -> Path:
    package = place / "runtime/coordinator/static"
    package.mkdir(parents=True)
    (package / "index.html").write_text("<!doctype html>")
    (place / "runtime/__init__.py").write_text('__version__ = "1.2.3"\n')
    (place / "pyproject.toml").write_text("[project]\n")
    (place / "README.md").write_text("x")
    (place / "LICENSE").write_text("x")
    return place


def test_the_digest_follows_what_ends_up_in_the_wheel(tmp_path: Path) -> None:
    source = source_tree(tmp_path / "source")
    before = bundle.source_digest(source)
    (source / "runtime/web").mkdir()
    (source / "runtime/web/page.ts").write_text("not in the wheel")
    (source / "runtime/__pycache__").mkdir()
    (source / "runtime/__pycache__/x.pyc").write_bytes(b"x")
    assert bundle.source_digest(source) == before
    (source / "runtime/__init__.py").write_text('__version__ = "1.2.4"\n')
    assert bundle.source_digest(source) != before


def test_a_checkout_without_pages_is_refused_with_the_fix(tmp_path: Path) -> None:
    source = source_tree(tmp_path / "source")
    (source / "runtime/coordinator/static/index.html").unlink()
    with pytest.raises(bundle.BundleError, match="make web"):
        bundle.built_wheel(source, tmp_path / "cache")


@pytest.mark.parametrize(("platform", "suffix"), [("linux-x86_64", "tar"), ("windows-x86_64", "zip")])
def test_the_same_content_gives_the_same_release_and_bytes(tmp_path: Path, platform: str, suffix: str) -> None:
    source = source_tree(tmp_path / "source")
    (source / "lock.txt").write_text("")
    wheel = tmp_path / "pixelstream-1.2.3-py3-none-any.whl"
    wheel.write_bytes(b"wheel")

    def make(cache: str) -> dict[str, str]:
        options = Namespace(
            source=str(source),
            cache=str(tmp_path / cache),
            python="3.11",
            platform=platform,
            requirements=["lock.txt"],
            wheel=str(wheel),
        )
        # No requirement, so nothing is downloaded: the directory of wheels is there already.
        key = hashlib.sha256(f"3.11 {platform}\n\n".encode()).hexdigest()[:24]
        (tmp_path / cache / "wheels" / key).mkdir(parents=True, exist_ok=True)
        made: dict[str, str] = bundle.make_bundle(options)
        return made

    first, again = make("one"), make("two")
    assert first["version"] == "1.2.3"
    assert first["release"].startswith("1.2.3-")
    assert first["release"] == again["release"]
    assert first["sha256"] == again["sha256"]
    path = Path(first["bundle"])
    assert path.name == f"bundle.{suffix}"
    if suffix == "tar":
        with tarfile.open(path) as tar:
            names = tar.getnames()
    else:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    assert sorted(names) == ["requirements.txt", f"wheels/{wheel.name}"]
    wheel.write_bytes(b"another wheel")
    assert make("one")["release"] != first["release"]


def test_failures_are_json_with_the_fix(tmp_path: Path) -> None:
    script = str(PROJECT / "roles/runtime_install/files/build_bundle.py")
    command = [
        sys.executable,
        script,
        "--source",
        str(tmp_path),
        "--cache",
        str(tmp_path / "cache"),
        "--python",
        "3.11",
    ]
    result = subprocess.run(
        [*command, "--platform", "linux-x86_64", "--requirements", "none.txt", "--wheel", str(tmp_path / "no.whl")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 1
    assert "runtime_install_wheel" in json.loads(result.stdout)["msg"]
