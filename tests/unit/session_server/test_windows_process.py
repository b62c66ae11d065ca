"""Children on Windows: keeper, Job Object, Ctrl-Break and adoption, on a machine in memory (``fake_windows``)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.session_server.process.base import ChildIdentity, ChildSpec, ProcessError
from runtime.session_server.process.names import CHILD_FILE, EXIT_FILE, MARK_VARIABLE, own_interpreter
from runtime.session_server.process.windows import WindowsChild, WindowsProcessHost
from runtime.session_server.process.windows_kernel import command_line, environment_block, own_kernel, quote
from tests.support.session_server.fake_windows import FakeKernel, FakeProcess, FakeWindows

PROGRAM = "C:\\Пиксели und Größe\\My Title.exe"
SOON = 5.0


@pytest.fixture
async def machine() -> AsyncIterator[FakeWindows]:
    machine = FakeWindows()
    yield machine
    for process in machine.processes.values():
        machine.end(process, 1)
    for thread in machine.keepers:
        await asyncio.to_thread(thread.join, SOON)
        assert not thread.is_alive()


@pytest.fixture
def host(machine: FakeWindows) -> WindowsProcessHost:
    return WindowsProcessHost(FakeKernel(machine), machine.start_keeper)


def spec(directory: Path, mark: str = "inst.session.title") -> ChildSpec:
    return ChildSpec(
        mark=mark,
        arguments=(PROGRAM, "-PixelStreamingURL=ws://127.0.0.1:1/x", "two words"),
        environment={"Path": "C:\\Windows", "ünï": "wert"},
        working_directory=directory,
        directory=directory,
        log_file_bytes=1000,
        log_files=2,
    )


def program(machine: FakeWindows, child: WindowsChild) -> FakeProcess:
    return machine.processes[child.identity.pid]


async def test_a_child_runs_in_its_job_before_its_first_instruction(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    started = program(machine, child)
    assert not started.suspended
    assert started.arguments[0] == PROGRAM
    assert started.environment[MARK_VARIABLE] == "inst.session.title"
    assert json.loads((tmp_path / CHILD_FILE).read_text())["pid"] == child.identity.pid
    assert [job.pids for job in machine.jobs()] == [[started.pid]]
    assert not child.exited.done()
    child.close()


async def test_the_exit_code_is_noted_for_whoever_asks_later(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    machine.end(program(machine, child), 0xC0000005)
    found = await asyncio.wait_for(asyncio.shield(child.exited), SOON)
    assert found.code == 0xC0000005
    assert await child.wait_gone(SOON)
    assert json.loads((tmp_path / EXIT_FILE).read_text())["code"] == 0xC0000005
    later = await host.adopt(child.identity)
    assert (await asyncio.wait_for(asyncio.shield(later.exited), SOON)).code == 0xC0000005
    assert await later.wait_gone(SOON)


async def test_what_the_program_leaves_behind_is_ended(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    crash_reporter = machine.child_of(program(machine, child))
    crash_reporter.obeys_break = False
    machine.end(program(machine, child), 3)
    assert await child.wait_gone(SOON)
    assert crash_reporter.code is not None
    assert machine.jobs() == []


async def test_ask_closes_windows_and_breaks_only_without_any(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    window_owner = machine.child_of(program(machine, child))
    window_owner.windows, window_owner.obeys_close = 2, False
    await child.ask()
    assert program(machine, child).breaks == 0
    window_owner.windows = 0
    await child.ask()
    assert (await asyncio.wait_for(asyncio.shield(child.exited), SOON)).code == 0xC000013A
    assert await child.wait_gone(SOON)
    await child.ask()


async def test_terminate_is_sent_by_the_keeper_and_may_be_ignored(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    program(machine, child).obeys_break = False
    await child.terminate()
    deadline = asyncio.get_running_loop().time() + SOON
    while program(machine, child).breaks == 0:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    assert not child.exited.done()
    assert not await child.wait_gone(0.05)
    await child.kill()
    assert (await asyncio.wait_for(asyncio.shield(child.exited), SOON)).code == 1
    assert await child.wait_gone(SOON)


async def test_kill_ends_the_whole_tree_at_once(machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path) -> None:
    child = await host.start(spec(tmp_path))
    tree = [program(machine, child), *(machine.child_of(program(machine, child)) for _ in range(3))]
    usage = child.usage()
    assert usage is not None
    assert (usage.processes, usage.memory_bytes, usage.cpu_seconds) == (4, 4000, 6.0)
    await child.kill()
    assert all(process.code is not None for process in tree)
    assert await child.wait_gone(SOON)
    assert child.usage() is None
    await child.kill()


async def test_another_logon_session_kills_by_the_keeper(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    first = await host.start(spec(tmp_path))
    kernel = FakeKernel(machine)
    kernel.sees_jobs = False
    second = await WindowsProcessHost(kernel, machine.start_keeper).adopt(first.identity)
    assert second.usage() is None
    await second.kill()
    assert await second.wait_gone(SOON)
    assert program(machine, first).code is not None
    assert await first.wait_gone(SOON)


async def test_a_killed_keeper_takes_its_tree_with_it(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    child = await host.start(spec(tmp_path))
    machine.kill_keeper(child.identity.keeper_pid)
    found = await asyncio.wait_for(asyncio.shield(child.exited), SOON)
    assert found.code is None
    assert await child.wait_gone(SOON)
    assert program(machine, child).code is not None


async def test_a_new_session_server_adopts_and_ends_a_running_child(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    first = await host.start(spec(tmp_path))
    first.close()
    second = await WindowsProcessHost(FakeKernel(machine), machine.start_keeper).adopt(first.identity)
    assert not second.exited.done()
    await second.kill()
    assert (await asyncio.wait_for(asyncio.shield(second.exited), SOON)).code == 1
    assert not first.exited.done()
    first.close()


async def test_a_process_number_used_again_is_not_our_child(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    stranger = machine.spawn({})
    keeper = machine.spawn({})
    identity = ChildIdentity(
        mark="inst.session.title",
        directory=str(tmp_path),
        pid=stranger.pid,
        started="0",
        keeper_pid=keeper.pid,
        keeper_started="0",
    )
    child = await host.adopt(identity)
    assert (await asyncio.wait_for(asyncio.shield(child.exited), SOON)).code is None
    assert await child.wait_gone(SOON)
    await child.kill()
    assert stranger.code is None
    assert keeper.code is None


async def test_orphans_are_found_by_their_mark(machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    doomed = await host.start(spec(tmp_path / "a", "inst.one.title"))
    spared = await host.start(spec(tmp_path / "b", "inst.two.title"))
    stranger = machine.spawn({"PATH": "x"})
    other = machine.spawn({MARK_VARIABLE: "elsewhere.one.title"})
    assert await host.kill_marked("inst.", ["inst.two.title"]) == ["inst.one.title"]
    assert await doomed.wait_gone(SOON)
    assert program(machine, doomed).code is not None
    assert program(machine, spared).code is None
    assert stranger.code is None
    assert other.code is None
    await spared.kill()
    assert await spared.wait_gone(SOON)


async def test_a_missing_program_is_an_error_an_operator_understands(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    machine.missing_programs.add(PROGRAM)
    with pytest.raises(ProcessError, match="cannot find the file"):
        await host.start(spec(tmp_path))
    assert all(process.code is not None for process in machine.processes.values())


async def test_a_program_that_cannot_be_put_into_its_job_never_runs(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    machine.refuse_job = True
    with pytest.raises(ProcessError, match="Access is denied"):
        await host.start(spec(tmp_path))
    launched = next(process for process in machine.processes.values() if process.arguments)
    assert launched.suspended
    assert launched.code is not None


async def test_a_keeper_that_says_nothing_is_an_error(machine: FakeWindows, tmp_path: Path) -> None:
    def silent(request: bytes, mark: str) -> bytes:
        raise OSError("none within 15 s")

    with pytest.raises(ProcessError, match="no answer"):
        await WindowsProcessHost(FakeKernel(machine), silent).start(spec(tmp_path))


async def test_closing_leaves_the_child_alone_and_ends_the_watch(
    machine: FakeWindows, host: WindowsProcessHost, tmp_path: Path
) -> None:
    kernel = FakeKernel(machine)
    host = WindowsProcessHost(kernel, machine.start_keeper)
    child = await host.start(spec(tmp_path))
    child.close()
    child.close()
    deadline = asyncio.get_running_loop().time() + SOON
    while kernel.own:
        assert asyncio.get_running_loop().time() < deadline, "handles are left open"
        await asyncio.sleep(0.01)
    assert program(machine, child).code is None


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("C:\\with space\\", '"C:\\with space\\\\"'),
        ("C:\\plain\\", "C:\\plain\\"),
        ('a\\"b', '"a\\\\\\"b"'),
        ("Größe", "Größe"),
    ],
)
def test_arguments_are_quoted_as_windows_reads_them(argument: str, quoted: str) -> None:
    assert quote(argument) == quoted


def test_a_command_line_is_read_back_word_for_word() -> None:
    from tests.lab.winsim.paths import split_command_line

    words = [
        PROGRAM,
        "",
        "a b",
        'q"q',
        "end\\",
        "end space\\",
        '\\"',
        "\\\\server\\share x\\",
        "tab\there",
        '"',
        "\\\\",
    ]
    assert split_command_line(command_line(words)) == words


def test_the_environment_is_sorted_and_ended_as_windows_wants_it() -> None:
    block = environment_block({"b": "2", "A": "1", "=C:": "C:\\"})
    assert block == "=C:=C:\\\0A=1\0b=2\0\0"
    for name, value in (("a=b", "1"), ("", "1"), ("a", "x\0y")):
        with pytest.raises(ValueError, match="cannot be passed on"):
            environment_block({name: value})


def test_elsewhere_there_is_no_windows_kernel() -> None:
    with pytest.raises(OSError, match="no Windows kernel"):
        own_kernel()


@pytest.mark.parametrize(
    ("own", "children"),
    [
        ("C:\\Pixelstream\\releases\\1\\Scripts\\pythonw.exe", "C:\\Pixelstream\\releases\\1\\Scripts\\python.exe"),
        ("C:\\Program Files\\Python312\\PythonW.EXE", "C:\\Program Files\\Python312\\python.exe"),
        ("C:\\Program Files\\Python312\\python.exe", "C:\\Program Files\\Python312\\python.exe"),
        ("/opt/pixelstream/current/bin/python3", "/opt/pixelstream/current/bin/python3"),
    ],
)
def test_children_of_a_desktop_s_session_server_have_a_console(own: str, children: str) -> None:
    assert own_interpreter(own) == children
