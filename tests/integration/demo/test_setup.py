"""``.ci/setup.py``: what a newcomer reads while it works, and when it cannot go on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
PIP_WITHOUT_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('Failed to establish a new connection:
 [Errno -3] Temporary failure in name resolution')': /simple/aioice/
ERROR: No matching distribution found for aioice==0.13.0"""
NPM_WITHOUT_NETWORK = """\
npm error code EAI_AGAIN
npm error request to the registry failed, reason: getaddrinfo EAI_AGAIN"""
APT_WITHOUT_NETWORK = "Err:1 bookworm InRelease\n  Temporary failure resolving 'the mirror'"
WRONG_HASH = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
NO_SPACE = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"


@pytest.fixture
def setup(tmp_path: Path) -> ModuleType:
    """The script as a module, for a checkout of its own."""
    return _load(_checkout(tmp_path))


def _checkout(place: Path) -> Path:
    """As much of the project as setting up looks at before it needs the network."""
    shutil.copytree(ROOT / ".ci", place / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "requirements", place / "requirements")
    shutil.copy(ROOT / "Makefile", place)
    return place


def _load(checkout: Path) -> ModuleType:
    spec = spec_from_file_location("checkout_setup", checkout / ".ci" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (PIP_WITHOUT_NETWORK, "no network"),
        (NPM_WITHOUT_NETWORK, "no network"),
        (APT_WITHOUT_NETWORK, "no network"),
        (f"{PIP_WITHOUT_NETWORK}\n{WRONG_HASH}", "not the one that was pinned"),
        (NO_SPACE, "the disk is full"),
    ],
)
def test_what_stops_most_people_is_one_sentence(setup: ModuleType, words: str, reason: str) -> None:
    text = setup.explain("Python packages", words.splitlines(), "a hint", Path("some.log"))
    assert "\n" not in text
    assert reason in text
    assert "some.log" in text


def test_anything_else_shows_its_last_words_and_the_hint(setup: ModuleType) -> None:
    text = setup.explain("web pages", [f"line {n}" for n in range(20)], "see above", Path("some.log"))
    assert text.splitlines()[:-1] == [f"line {n}" for n in range(12, 20)]
    assert "see above" in text.splitlines()[-1]


def test_a_step_says_that_it_goes_on_and_only_its_own_words_count(
    setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.TICK_SECONDS = setup.QUIET_SECONDS = 0.01
    setup.run("step one", [sys.executable, "-c", f"print({WRONG_HASH!r})"], "hint")
    assert capsys.readouterr().out.splitlines()[-1].endswith("done")
    with pytest.raises(setup.SetupError, match="the hint") as caught:
        setup.run("step two", [sys.executable, "-c", "print('broken'); raise SystemExit(3)"], "the hint")
    assert "broken" in str(caught.value)
    assert "pinned" not in str(caught.value)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[setup] step two ..."
    assert lines[-1].endswith("failed")


def test_a_program_that_is_not_there_is_named(setup: ModuleType) -> None:
    with pytest.raises(setup.SetupError, match="no-such-program"):
        setup.run("step", ["no-such-program-anywhere"], "hint")


def test_a_missing_venv_module_names_its_package(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["setup.py", "demo"])
    assert setup.main() == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv" in line


def test_packages_that_this_distribution_lacks_are_left_out(setup: ModuleType) -> None:
    if not shutil.which("apt-cache"):
        pytest.skip("no apt here")
    assert "no-such-package-anywhere" not in setup.on_offer(["coreutils", "no-such-package-anywhere"])


def _environment() -> dict[str, str]:
    """Ours without what a `make test` above us was told."""
    told = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ONLY", "NAME", "CHECK", "PORT", "PYTHON", "BIN"}
    return {name: value for name, value in os.environ.items() if name not in told}


def _make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {**_environment(), **environment}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, timeout=100
    )


def test_make_demo_without_network_is_one_sentence(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    nowhere = "http://127.0.0.1:9/simple"
    done = _make(
        checkout, "demo", PIP_INDEX_URL=nowhere, PIP_RETRIES="1", PIP_FIND_LINKS="", PIP_CONFIG_FILE=os.devnull
    )
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1, done.stderr
    assert "no network" in said[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench",), "say make bench NAME="),
        (("bench", "NAME=nonsense"), "no bench is called 'nonsense'"),
        (("test", "ONLY=nonsense"), "no part 'nonsense'"),
        (("demo", "PYTHON=no-such-python"), "no-such-python is not installed"),
    ],
)
def test_make_names_what_it_does_not_know_before_it_installs_anything(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    checkout = _checkout(tmp_path)
    done = _make(checkout, *arguments)
    assert done.returncode != 0
    assert words in done.stderr.splitlines()[0]
    assert not (checkout / ".venv").exists()


def test_ctrl_c_while_it_installs_is_no_traceback(tmp_path: Path) -> None:
    checkout = _checkout(tmp_path)
    process = subprocess.Popen(
        # What runs in the background (nohup, a CI) is told to ignore Ctrl-C, and would hand that on.
        ["env", "--default-signal=INT", "make", "demo"],
        cwd=checkout,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "[setup] venv for this checkout (.venv) ...\n"
    # As a terminal does: to everything in the foreground.
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "stopped" in output
    assert "Traceback" not in output
