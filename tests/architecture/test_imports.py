"""Dependencies point one way (docs/architecture.md, "Dependency rule")."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "runtime"
SERVICES = ("coordinator", "session_server", "relay", "streamer")
IMPURE = {
    "asyncio",
    "tornado",
    "pymongo",
    "aiortc",
    "aioice",
    "av",
    "socket",
    "subprocess",
    "time",
    "random",
    "secrets",
}
PURE = (
    "protocol",
    "relay/core",
    "coordinator/domain",
    "coordinator/scheduler.py",
    "session_server/policy",
)
# Libraries of which the relay uses private names, each by the one module that may know it.
PRIVATE_HOMES = {
    "aiortc": "runtime/relay/rtc/aiortc_adapter.py",
    "aioice": "runtime/relay/rtc/aiortc_adapter.py",
    "pylibsrtp": "runtime/relay/rtc/srtp.py",
}


def _modules(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Absolute dotted names imported by a module."""
    found: set[str] = set()
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, *([node.module] if node.module else [])])
            found.add(name)
            found.update(f"{name}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_services_never_import_each_other(service: str) -> None:
    others = tuple(f"runtime.{other}" for other in SERVICES if other != service)
    modules = _modules(RUNTIME / service)
    assert modules, f"runtime/{service} has no modules"
    for module in modules:
        wrong = {name for name in _imports(module) if name.startswith(others)}
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


@pytest.mark.parametrize("place", PURE)
def test_pure_modules_import_no_io_and_no_clock(place: str) -> None:
    modules = _modules(RUNTIME / place)
    assert modules, f"runtime/{place} has no modules"
    for module in modules:
        wrong = {name for name in _imports(module) if name.split(".")[0] in IMPURE}
        wrong |= {name for name in _imports(module) if name.startswith("runtime.chassis")}
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


def test_protocol_depends_on_nothing_of_ours() -> None:
    for module in _modules(RUNTIME / "protocol"):
        wrong = {n for n in _imports(module) if n.startswith("runtime.") and not n.startswith("runtime.protocol")}
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


def test_chassis_knows_no_service() -> None:
    names = tuple(f"runtime.{service}" for service in SERVICES)
    for module in _modules(RUNTIME / "chassis"):
        assert not {name for name in _imports(module) if name.startswith(names)}


def test_pymongo_is_known_to_the_store_alone() -> None:
    for module in _modules(RUNTIME):
        if "coordinator/store" in module.as_posix():
            continue
        wrong = {name for name in _imports(module) if name.split(".")[0] in {"pymongo", "bson"}}
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


def test_aiortc_and_pylibsrtp_are_known_to_one_module_of_the_relay_each() -> None:
    for module in _modules(RUNTIME / "relay"):
        here = module.relative_to(ROOT).as_posix()
        wrong = {name for name in _imports(module) if PRIVATE_HOMES.get(name.split(".")[0], here) != here}
        assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


def test_nothing_hangs_on_a_composition_root() -> None:
    """``app.py`` knows its whole package, so only what starts a process may know it."""
    for service in (*SERVICES, "demo"):
        for module in _modules(RUNTIME / service):
            # Windows' service manager and logon task start the session server through a door of their own.
            if module.name in {"app.py", "__main__.py", "windows_logon.py"}:
                continue
            wrong = {name for name in _imports(module) if name.startswith(f"runtime.{service}.app")}
            assert not wrong, f"{module.relative_to(ROOT)} imports {sorted(wrong)}"


def test_the_demo_drives_command_lines_and_imports_no_service() -> None:
    names = tuple(f"runtime.{service}" for service in SERVICES)
    for module in _modules(RUNTIME):
        imported = _imports(module)
        if module.is_relative_to(RUNTIME / "demo"):
            assert not {name for name in imported if name.startswith(names)}, module
        else:
            assert not {name for name in imported if name.startswith("runtime.demo")}, module


def test_functions_stay_short_enough_to_read_at_once() -> None:
    too_long = {}
    for module in _modules(RUNTIME):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                # A composition root is one list of parts, a table of routes one list of addresses: nothing to split.
                if lines > (80 if module.name in {"app.py", "routes.py"} else 60):
                    too_long[f"{module.relative_to(ROOT)}:{node.name}"] = lines
    assert not too_long


def test_files_stay_small_enough_to_live_in() -> None:
    too_long = {
        module.relative_to(ROOT).as_posix(): count
        for module in _modules(RUNTIME)
        if (count := module.read_text(encoding="utf-8").count("\n")) > 450
    }
    assert not too_long
