"""The simulator's own rules: paths, command lines, check mode, locks, junctions."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.lab.winsim import access, faults, modules, programs
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.paths import split_command_line, split_path
from tests.lab.winsim.programs import daemons, pip
from tests.lab.winsim.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "win1", "WIN1", "ansible")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('a "b c" d', ["a", "b c", "d"]),
        (r'"C:\Program Files\x.exe" run', [r"C:\Program Files\x.exe", "run"]),
        (r"a\\\"b c", ['a\\"b', "c"]),
        (r'"a\\" b', ["a\\", "b"]),
        (r"a\\b", [r"a\\b"]),
        ('"" x', ["", "x"]),
    ],
)
def test_command_lines_are_split_as_windows_does(line: str, words: list[str]) -> None:
    assert split_command_line(line) == words


def test_unbalanced_quotes_are_refused() -> None:
    with pytest.raises(ModelError, match="unbalanced"):
        split_command_line('"C:\\Program Files\\x.exe run')


@pytest.mark.parametrize("path", ["relative", "C:relative", "C:\\a|b", "C:\\..\\x", "C:\\ends with dot.", "/opt/x"])
def test_paths_that_windows_refuses(path: str) -> None:
    with pytest.raises(ModelError):
        split_path(path)


def test_names_match_in_any_case_and_shares_are_places(state: State) -> None:
    state.write("C:\\Größe\\Datei.TXT", b"x", parents=True)
    assert state.path("c:/größe/dAtEI.txt").read_bytes() == b"x"
    state.write("\\\\server\\builds\\a.zip", b"y", parents=True)
    assert state.path("//SERVER/builds/A.ZIP").read_bytes() == b"y"


def test_long_paths_need_their_policy(state: State) -> None:
    path = "C:\\" + "\\".join(["directory-of-some-length"] * 12) + "\\file"
    with pytest.raises(ModelError, match="too long"):
        state.path(path)
    key = {"longpathsenabled": {"type": "dword", "data": 1}}
    state.section("registry")["hklm\\system\\currentcontrolset\\control\\filesystem"] = key
    assert state.path(path).name == "file"


def test_check_mode_drops_writes_and_catches_models_that_go_round(state: State) -> None:
    with state.check_mode():
        assert state.make_folder("C:\\new")
        assert state.write("C:\\Users\\Public\\file", b"x")
        assert state.put(state.section("settings"), "a", 1)
    assert not state.path("C:\\new").exists()
    assert "a" not in state.section("settings")
    with pytest.raises(ModelError, match="wrote in check mode"), state.check_mode():
        state.section("settings")["a"] = 1
    assert "a" not in state.section("settings")


def test_removing_a_junction_leaves_what_it_points_to(state: State) -> None:
    state.write("C:\\releases\\1\\file", b"x", parents=True)
    assert programs.run(state, ["cmd.exe", "/c", "mklink", "/J", "C:\\current", "C:\\releases\\1"]).rc == 0
    assert programs.run(state, ["cmd.exe", "/c", "mklink", "/J", "C:\\current", "C:\\releases\\1"]).rc == 1
    assert state.path("C:\\current\\file").read_bytes() == b"x"
    assert programs.run(state, ["cmd.exe", "/c", "rmdir", "C:\\releases\\1"]).rc == 145
    assert programs.run(state, ["cmd.exe", "/c", "rmdir", "C:\\current"]).rc == 0
    assert state.path("C:\\releases\\1\\file").exists()


def test_files_in_use_cannot_be_replaced_or_removed(state: State) -> None:
    state.write("C:\\app\\app.exe", b"x", parents=True)
    (state.root / "locks.json").write_text(json.dumps(["C:\\app\\app.exe"]))
    with pytest.raises(ModelError, match="used by another process"):
        state.remove("C:\\app")
    with pytest.raises(ModelError, match="used by another process"):
        state.write("C:\\app\\app.exe", b"y")


def test_programs_must_be_there_and_modelled(state: State) -> None:
    with pytest.raises(ModelError, match="cannot find the file"):
        programs.run(state, ["C:\\tools\\x.exe"])
    state.write("C:\\tools\\x.exe", b"MZ", parents=True)
    with pytest.raises(ModelError, match="not modelled"):
        programs.run(state, ["C:\\tools\\x.exe"])
    assert programs.run(state, ["schtasks.exe", "/delete"]).rc == 1
    assert programs.run_powershell(state, "Get-Process", "raw").rc == 1


def test_wrappers_are_read_as_strictly_as_they_read(state: State) -> None:
    state.write("C:\\shawl.exe", b"MZ", parents=True)
    state.write("C:\\python.exe", b"MZ")
    daemons.start(state, "x", "C:\\shawl.exe run --name x --restart -- C:\\python.exe", "LocalSystem")
    for line in (
        "C:\\shawl.exe run --name x C:\\python.exe",
        "C:\\shawl.exe run --reboot -- C:\\python.exe",
        "C:\\shawl.exe run -- C:\\missing.exe",
    ):
        with pytest.raises(ModelError):
            daemons.start(state, "x", line, "LocalSystem")


def test_rights_are_those_of_account_groups_and_folders_above(state: State) -> None:
    acl, inheritance = modules.MODELS["ansible.windows.win_acl"], modules.MODELS["ansible.windows.win_acl_inheritance"]
    state.section("users")["player"] = {"name": "player"}
    state.section("groups")["users"].append("player")
    state.write("C:\\Open\\file", b"x", parents=True)
    assert access.rights(state, "player", "C:\\Open\\file") == {access.READ, access.CHANGE}
    assert access.rights(state, "player", "C:\\Windows\\System32") == {access.READ}
    for user, right in (("S-1-5-32-544", "FullControl"), ("S-1-5-32-545", "ReadAndExecute")):
        acl(state, {"path": "C:\\Open", "user": user, "rights": right, "type": "allow"})
    inheritance(state, {"path": "C:\\Open", "state": "absent"})
    assert access.rights(state, "player", "C:\\Open\\file") == {access.READ}
    state.write("C:\\Shut\\secret", b"x", parents=True)
    inheritance(state, {"path": "C:\\Shut", "state": "absent"})
    with pytest.raises(ModelError, match="player may not read"):
        access.demand(state, "player", "C:\\Shut\\secret", access.READ)
    acl(state, {"path": "C:\\Shut\\secret", "user": access.sid_of("player"), "rights": "Read", "type": "allow"})
    access.demand(state, "player", "C:\\Shut\\secret", access.READ)
    with pytest.raises(ModelError, match="no such SID"):
        access.resolve(state, "S-1-5-21-1-2-3-4")


def test_a_service_that_may_not_read_what_it_needs_does_not_start(state: State) -> None:
    model = modules.MODELS["ansible.windows.win_service"]
    state.write("C:\\Shut\\x.exe", b"MZ", parents=True)
    modules.MODELS["ansible.windows.win_acl_inheritance"](state, {"path": "C:\\Shut", "state": "absent"})
    settings = {"name": "x", "path": "C:\\Shut\\x.exe", "username": "NT SERVICE\\x"}
    assert model(state, settings)["changed"]
    with pytest.raises(ModelError, match="Access is denied"):
        model(state, settings | {"state": "started"})


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("av-19.0.2-cp311-abi3-win_amd64.whl", True),
        ("psutil-7.2.2-cp37-abi3-win_amd64.whl", True),
        ("tornado-6.6.1-cp39-abi3-win_amd64.whl", True),
        ("msgspec-0.22.0-cp312-cp312-win_amd64.whl", True),
        ("pyee-13.0.1-py3-none-any.whl", True),
        ("six-1.17.0-py2.py3-none-any.whl", True),
        ("msgspec-0.22.0-cp313-cp313-win_amd64.whl", False),
        ("msgspec-0.22.0-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("future-1.0-cp313-abi3-win_amd64.whl", False),
    ],
)
def test_wheels_for_this_machine(wheel: str, fits: bool) -> None:
    assert pip.fits(wheel) is fits


def test_faults_are_used_up(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    assert faults.take(file, "ansible.windows.win_ping") is None
    file.write_text(json.dumps([{"match": "win_ping", "mode": "fail", "msg": "no", "times": 2}]))
    assert faults.take(file, "ansible.windows.win_copy") is None
    assert [faults.take(file, "ansible.windows.win_ping") is not None for _ in range(3)] == [True, True, False]


def test_services_of_missing_programs_or_accounts_do_not_start(state: State) -> None:
    model = modules.MODELS["ansible.windows.win_service"]
    settings = {"name": "x", "path": "C:\\nowhere\\x.exe", "username": "NT SERVICE\\x"}
    assert model(state, settings)["changed"]
    with pytest.raises(ModelError, match="cannot find the file"):
        model(state, settings | {"state": "started"})
    with pytest.raises(ModelError, match="not a valid account"):
        model(state, settings | {"username": "nobody"})


def test_an_interactive_task_waits_for_its_user(state: State) -> None:
    state.section("users")["pixelstream"] = {"name": "pixelstream"}
    state.write("C:\\x.exe", b"MZ")
    task = {
        "name": "t",
        "path": "\\P",
        "username": "pixelstream",
        "logon_type": "interactive_token",
        "actions": [{"path": "C:\\x.exe", "arguments": ""}],
        "triggers": [{"type": "logon"}],
    }
    assert modules.MODELS["community.windows.win_scheduled_task"](state, task)["changed"]
    assert programs.run(state, ["schtasks.exe", "/run", "/tn", "\\P\\t"]).rc == 0
    assert state.section("tasks")["\\P\\t"]["_status"] == "TASK_STATE_QUEUED"
    state.section("settings")["auto_logon"] = {"user": "pixelstream"}
    daemons.power_cycle(state)
    assert state.section("tasks")["\\P\\t"]["_status"] == "TASK_STATE_RUNNING"


def test_downloads_come_from_the_host_s_own_address(state: State) -> None:
    seen: list[str] = []

    class Files(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.client_address[0])
            self.send_response(200)
            self.send_header("Content-Length", "3")
            self.end_headers()
            self.wfile.write(b"abc")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Quiet."""

    state.address = "127.77.2.17"
    with ThreadingHTTPServer(("127.77.2.16", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.77.2.16:{server.server_port}/x"
        model = modules.MODELS["ansible.windows.win_get_url"]
        assert model(state, {"url": url, "dest": "C:\\Users\\Public\\x"})["changed"]
        with pytest.raises(ModelError, match="did not match"):
            model(state, {"url": url, "dest": "C:\\Users\\Public\\x", "checksum": "0" * 40})
        server.shutdown()
    assert seen == ["127.77.2.17"] * 2
    assert state.path("C:\\Users\\Public\\x").read_bytes() == b"abc"
