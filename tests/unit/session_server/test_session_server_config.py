from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.chassis.config import ConfigError, load
from runtime.session_server.app import main
from runtime.session_server.config import SessionServerConfig, check

GOOD = {"host": "gpu1", "coordinator_url": "https://play.example.org", "host_key": "k" * 43, "data_directory": "/x"}


def configured(tmp_path: Path, **changes: Any) -> SessionServerConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GOOD, **changes}))
    return load(path, SessionServerConfig)


def test_good_configuration_shows_no_secret(tmp_path: Path) -> None:
    config = configured(tmp_path)
    check(config)
    assert "kkk" not in repr(config)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"host": "GPU 1"}, "host"),
        ({"coordinator_url": "play.example.org"}, "coordinator_url"),
        ({"host_key": "short"}, "host_key"),
        ({"capacity": -1}, "capacity"),
        ({"port_range": {"first": 9000, "last": 8999}}, "port_range"),
        ({"heartbeat_seconds": 0}, "heartbeat_seconds"),
        ({"files": {"log_files": 0}}, "files.log_files"),
        ({"gpus": [{"index": 0}, {"index": 0}]}, "gpus"),
        ({"log": {"level": "chatty"}}, "log.level"),
    ],
)
def test_values_that_cannot_be_used_are_named(tmp_path: Path, changes: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key} cannot be used: "):
        check(configured(tmp_path, **changes))


@pytest.mark.parametrize("changes", [{"capacty": 1}, {"capacity": "one"}, {"relay": {"listen": "x"}}])
def test_unknown_keys_and_wrong_types_refuse_to_start(
    tmp_path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GOOD, **changes}))
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "kkk" not in said
    assert next(iter(changes)) in said


def test_data_directory_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**GOOD, "data_directory": str(tmp_path / "file" / "data")}))
    assert main(["--config", str(path)]) == 2
    assert "data_directory" in capsys.readouterr().err
