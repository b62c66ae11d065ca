"""Scripts that the roles run on Windows hosts, as themselves on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509

from tests.deploy.running import PROJECT, load_plugin

TOOLS = PROJECT / "roles/windows_base/files/tools"


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(TOOLS / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")


def archive(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in members.items():
            packed.writestr(name, text)
    return path


@pytest.fixture
def install() -> ModuleType:
    return load_plugin("roles/windows_base/files/tools/install_build.py")


@pytest.fixture
def prune() -> ModuleType:
    return load_plugin("roles/windows_base/files/tools/prune_directories.py")


class TestInstallBuild:
    def test_a_build_appears_whole_under_its_name(self, tmp_path: Path) -> None:
        source = archive(tmp_path / "b.zip", {"City/City.exe": "MZ", "City/Größe Пиксели.pak": "x"})
        done = run("install_build.py", source, tmp_path / "city" / "1", "--executable=City\\City.exe")
        assert done.returncode == 0, done.stdout
        assert (tmp_path / "city/1/City/Größe Пиксели.pak").read_text() == "x"
        assert (tmp_path / "city/1/.stamp").read_text() == "1\n"
        assert [entry.name for entry in (tmp_path / "city").iterdir()] == ["1"]

    def test_one_leading_directory_is_dropped(self, tmp_path: Path) -> None:
        source = archive(tmp_path / "b.zip", {"top/City.exe": "MZ"})
        done = run("install_build.py", source, tmp_path / "city/1", "--executable=City.exe", "--strip=yes")
        assert done.returncode == 0, done.stdout
        assert (tmp_path / "city/1/City.exe").exists()

    def test_a_directory_is_copied(self, tmp_path: Path) -> None:
        (tmp_path / "share").mkdir()
        (tmp_path / "share/City.exe").write_text("MZ")
        done = run("install_build.py", tmp_path / "share", tmp_path / "city/1", "--executable=City.exe")
        assert done.returncode == 0, done.stdout
        assert (tmp_path / "city/1/City.exe").exists()

    @pytest.mark.parametrize(
        ("members", "options", "message"),
        [
            ({"a": "x"}, ["--executable=City.exe"], "has no City.exe"),
            ({"a": "x", "b": "y"}, ["--strip=yes"], "not one directory"),
            ({"../../evil": "x"}, [], "leads out of the build"),
            ({"a": "x", "C:/evil": "x"}, [], "leads out of the build"),
            ({"a": "x"}, ["--sha256=" + "0" * 64], "has the checksum"),
        ],
    )
    def test_what_is_wrong_leaves_nothing(
        self, tmp_path: Path, members: dict[str, str], options: list[str], message: str
    ) -> None:
        done = run("install_build.py", archive(tmp_path / "b.zip", members), tmp_path / "city/1", *options)
        assert done.returncode == 1
        assert message in json.loads(done.stdout)["msg"]
        assert not list(tmp_path.glob("city/*"))
        assert not (tmp_path.parent / "evil").exists()

    def test_a_folder_that_is_scanned_gets_its_name_later(
        self, tmp_path: Path, install: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refusals = [PermissionError(13, "Access is denied")] * 3
        rename = Path.rename

        def refusing(path: Path, target: Path) -> Path:
            if refusals:
                raise refusals.pop()
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", refusing)
        monkeypatch.setattr(install, "RENAME_PAUSE_SECONDS", 0.0)
        (tmp_path / "new").mkdir()
        install.rename_patiently(tmp_path / "new", tmp_path / "1")
        assert (tmp_path / "1").is_dir()
        refusals += [PermissionError(13, "Access is denied")] * install.RENAME_ATTEMPTS
        with pytest.raises(PermissionError):
            install.rename_patiently(tmp_path / "1", tmp_path / "2")

    def test_what_is_no_archive_or_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "b.zip").write_text("text")
        for source in ("b.zip", "missing.zip"):
            done = run("install_build.py", tmp_path / source, tmp_path / "city/1")
            assert done.returncode == 1
            assert "msg" in json.loads(done.stdout)


class TestPruneDirectories:
    def versions(self, folder: Path, names: str) -> None:
        for number, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            (folder / name / ".stamp").write_text(name)
            os.utime(folder / name / ".stamp", (number, number))

    def test_the_newest_and_the_protected_stay(self, tmp_path: Path) -> None:
        self.versions(tmp_path / "r", "abcde")
        (tmp_path / "current").symlink_to(tmp_path / "r/a")
        done = run("prune_directories.py", tmp_path / "r", "--keep=2", "--protect", tmp_path / "current")
        assert json.loads(done.stdout) == {"removed": ["b", "c"], "busy": []}
        assert sorted(entry.name for entry in (tmp_path / "r").iterdir()) == ["a", "d", "e"]

    def test_what_is_in_use_stays_whole(
        self, tmp_path: Path, prune: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.versions(tmp_path / "r", "abc")
        rename = Path.rename

        def refusing(path: Path, target: Path) -> Path:
            if path.name == "a":
                raise PermissionError(13, "The process cannot access the file")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", refusing)
        assert prune.prune(tmp_path / "r", 1, []) == {"removed": ["b"], "busy": ["a"]}
        assert (tmp_path / "r/a/.stamp").exists()

    def test_what_is_held_after_it_was_renamed_goes_at_the_next_run(
        self, tmp_path: Path, prune: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.versions(tmp_path / "r", "ab")

        def refusing(path: Path, **_options: object) -> None:
            raise PermissionError(13, "The process cannot access the file", str(path))

        with monkeypatch.context() as patch:
            patch.setattr(prune.shutil, "rmtree", refusing)
            assert prune.prune(tmp_path / "r", 1, []) == {"removed": ["a"], "busy": []}
        assert (tmp_path / "r/.removing-a").is_dir()
        assert prune.prune(tmp_path / "r", 1, []) == {"removed": [], "busy": []}
        assert [entry.name for entry in (tmp_path / "r").iterdir()] == ["b"]

    def test_an_interrupted_removal_is_finished(self, tmp_path: Path) -> None:
        (tmp_path / ".removing-a").mkdir()
        done = run("prune_directories.py", tmp_path, "--keep=1")
        assert json.loads(done.stdout) == {"removed": [], "busy": []}
        assert not list(tmp_path.iterdir())

    def test_no_directory_is_no_work(self, tmp_path: Path) -> None:
        assert json.loads(run("prune_directories.py", tmp_path / "none", "--keep=1").stdout)["removed"] == []


def test_logs_are_rotated_when_they_have_grown(tmp_path: Path) -> None:
    told = tmp_path / "told"
    for number in range(4):
        (tmp_path / "access.log").write_text(f"{number}" * 200)
        (tmp_path / "error.log").write_text("small")
        done = run("rotate_logs.py", tmp_path, "--keep=2", "--bytes=100", "--", "/bin/touch", told)
        assert json.loads(done.stdout) == {"rotated": ["access.log"]}
    assert told.exists()
    assert (tmp_path / "access.1.log").read_text()[0] == "3"
    assert (tmp_path / "access.2.log").read_text()[0] == "2"
    assert not (tmp_path / "access.3.log").exists()
    told.unlink()
    assert json.loads(run("rotate_logs.py", tmp_path, "--keep=2", "--bytes=100", "--", "/bin/touch", told).stdout) == {
        "rotated": []
    }
    assert not told.exists()


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {number} ü\n" for number in range(20_000)))
    assert run("tail.py", log, "--lines=2").stdout.splitlines() == ["line 19998 ü", "line 19999 ü"]
    assert run("tail.py", tmp_path / "missing", "--lines=2").stdout.strip() == ""


def test_a_key_is_made_once_and_requests_name_everything(tmp_path: Path) -> None:
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    names = ["--name=gpu1.example.org", "--name=10.0.0.1"]
    first = run("certificate_request.py", key, *names, "--provisional", certificate)
    assert first.returncode == 0, first.stderr
    assert key.stat().st_mode & 0o077 == 0
    text = key.read_text()
    request = x509.load_pem_x509_csr(first.stdout.encode())
    assert request.is_signature_valid
    alternative = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternative.get_values_for_type(x509.DNSName) == ["gpu1.example.org"]
    assert [str(address) for address in alternative.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert made.public_key() == request.public_key()
    again = run("certificate_request.py", key, *names)
    assert key.read_text() == text
    assert x509.load_pem_x509_csr(again.stdout.encode()).public_key() == request.public_key()
