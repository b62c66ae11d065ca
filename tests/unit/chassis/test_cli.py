"""``pixelstream COMMAND``: every command answers ``-h``, and brings in no other service than its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from runtime import __version__
from runtime.cli import COMMANDS, main

SERVICES = {"coordinator", "session_server", "relay", "streamer", "demo"}
REPORT = """
import json, sys
from runtime.cli import main
try:
    main([sys.argv[1], "-h"])
except SystemExit as ended:
    code = ended.code
loaded = sorted({name.split(".")[1] for name in sys.modules if name.startswith("runtime.")})
print(json.dumps({"code": code, "loaded": loaded}))
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command(command: str) -> None:
    done = subprocess.run([sys.executable, "-c", REPORT, command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    *words, report = done.stdout.strip().splitlines()
    assert words[0].startswith(f"usage: pixelstream {command}")
    result = json.loads(report)
    assert result["code"] == 0
    own = COMMANDS[command][0].split(".")[1]
    assert SERVICES & set(result["loaded"]) == {own}


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["bench"], ["bench", "nonsense"], ["demo", "--nonsense"]])
def test_what_is_not_known_is_refused_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pixelstream {__version__}\n"
