"""The real ansible-core and pywinrm against the simulator: what connects, what is refused, what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.simulated import SimulatedHost, expired_certificate, simulated_host

PING: dict[str, Any] = {"ansible.windows.win_ping": {}}
SECRET = "a-secret-that-no-log-may-show"


def task(module: str, **arguments: Any) -> dict[str, Any]:
    return {module: arguments}


@pytest.mark.parametrize("tls", [True, False])
def test_ntlm_over_https_and_sealed_over_http(tmp_path: Path, shared: Path, tls: bool) -> None:
    with simulated_host(tmp_path, shared, "127.77.2.12", tls=tls) as host:
        done = host.play([PING, task("ansible.windows.win_stat", path="C:\\Windows")])
        assert done.code == 0, done.output


def test_wrong_password_is_unreachable_and_says_so(host: SimulatedHost) -> None:
    host.variables["ansible_password"] = "another"
    done = host.play([PING])
    assert done.unreachable
    assert "credentials were rejected" in done.output


def test_an_expired_certificate_is_unreachable_and_says_so(tmp_path: Path, shared: Path) -> None:
    old = expired_certificate(tmp_path / "old")
    with simulated_host(tmp_path, shared, "127.77.2.13", certificate=old) as host:
        host.variables["ansible_winrm_ca_trust_path"] = str(old / "winrm.pem")
        done = host.play([PING])
    assert done.unreachable
    assert "certificate has expired" in done.output


def test_a_stranger_s_certificate_is_unreachable(tmp_path: Path, host: SimulatedHost) -> None:
    host.variables["ansible_winrm_ca_trust_path"] = str(expired_certificate(tmp_path / "other") / "winrm.pem")
    done = host.play([PING])
    assert done.unreachable
    assert "certificate verify failed" in done.output


def test_an_unmodelled_module_fails_the_play(host: SimulatedHost) -> None:
    done = host.play([task("ansible.windows.win_dns_client", adapter_names="*", dns_servers=["10.0.0.1"])])
    assert done.code == 2
    assert "ansible.windows.win_dns_client is not modelled" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "C:\\x", "state": "directory", "mode": "0755"}, "Unsupported parameters"),
        ({"state": "directory"}, "missing required arguments: path"),
        ({"path": "C:\\x", "state": "folder"}, "value of state must be one of"),
    ],
)
def test_arguments_are_held_to_the_collection_s_documentation(
    host: SimulatedHost, arguments: dict[str, Any], message: str
) -> None:
    done = host.play([{"ansible.windows.win_file": arguments}])
    assert done.code == 2
    assert message in done.output


def test_unknown_powershell_fails(host: SimulatedHost) -> None:
    done = host.play([{"ansible.windows.win_powershell": {"script": "Get-Process"}}])
    assert done.code == 2
    assert "no canned answer" in done.output


@pytest.mark.parametrize(("mode", "code"), [("timeout", 0), ("fail", 2), ("drop", 2)])
def test_injected_faults_reach_ansible_and_a_second_run_completes(host: SimulatedHost, mode: str, code: int) -> None:
    tasks = [task("ansible.windows.win_file", path="C:\\made", state="directory"), PING]
    host.write("faults.json", [{"match": "win_file", "mode": mode, "msg": "disk on fire"}])
    done = host.play(tasks)
    assert done.code == code, done.output
    if mode == "fail":
        assert "disk on fire" in done.output
    assert [call["mode"] for call in host.calls() if call["kind"] == "fault"] == [mode]
    again = host.play(tasks)
    assert again.code == 0, again.output
    assert host.state().path("C:\\made").is_dir()


def test_check_mode_writes_nothing_and_no_log_is_kept(host: SimulatedHost) -> None:
    tasks = [
        task("ansible.windows.win_file", path="C:\\made", state="directory"),
        task("ansible.windows.win_regedit", path="HKLM:\\SOFTWARE\\X", name="y", data=1, type="dword"),
        task("ansible.windows.win_user", name="someone", password=SECRET) | {"no_log": True},
        task("ansible.windows.win_copy", content="text", dest="C:\\Users\\Public\\text"),
    ]
    before = host.digest()
    done = host.play(tasks, "--check", "--diff")
    assert done.code == 0, done.output
    assert done.changed() == 4
    assert host.digest() == before
    done = host.play(tasks)
    assert (done.code, done.changed()) == (0, 4), done.output
    assert (done := host.play(tasks)).changed() == 0, done.output
    assert SECRET not in (host.state_folder / "calls.jsonl").read_text()
    assert SECRET not in done.output
