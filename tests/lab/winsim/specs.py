"""Check module arguments against the documentation of the installed collections, as AnsibleModule would on the host."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import ModelError

Options = Mapping[str, Mapping[str, Any]]
Arguments = dict[str, Any]

# Arguments that only a module's own action plugin sends.
PRIVATE = {"ansible.windows.win_copy": {"files", "directories", "symlinks"}}
# Their PowerShell files carry no documentation of their own.
UNDOCUMENTED = {"ansible.windows.setup", "ansible.windows.async_status", "ansible.windows.slurp"}
_TRUE, _FALSE = {"yes", "true", "1", "on", "y", "t"}, {"no", "false", "0", "off", "n", "f"}


class Specs:
    """Documented options per module name."""

    def __init__(self, options: Mapping[str, Options]) -> None:
        self._options = options

    @classmethod
    def load(cls, names: Iterable[str], cache_folder: Path) -> Specs:
        """Ask ``ansible-doc`` once and keep its answer in ``cache_folder``, keyed by the names and the installed
        collections.
        """
        wanted = sorted(set(names) - UNDOCUMENTED)
        program = _ansible_doc()
        key = hashlib.sha256(
            "\n".join([str(program.resolve()), str(program.stat().st_mtime_ns), *wanted]).encode()
        ).hexdigest()[:16]
        cached = cache_folder / f"specs-{key}.json"
        if not cached.exists():
            environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
            answer = subprocess.run(
                [program, "-t", "module", "-j", *wanted],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
                timeout=120,
            )
            documents = json.loads(answer.stdout)
            options = {name: documents[name]["doc"].get("options") or {} for name in wanted}
            temporary = cached.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(options))
            temporary.replace(cached)
        return cls(json.loads(cached.read_text()))

    def check(self, module: str, arguments: Arguments) -> Arguments:
        """Arguments with aliases resolved, types converted and defaults filled in; raises :class:`ModelError`."""
        if module not in self._options:
            return dict(arguments)
        return _check(module, arguments, self._options[module], PRIVATE.get(module, set()), "")


def _ansible_doc() -> Path:
    beside = Path(sys.executable).with_name("ansible-doc")
    found = str(beside) if beside.exists() else shutil.which("ansible-doc")
    if found is None:
        raise FileNotFoundError(
            "ansible-doc is neither beside this Python nor on PATH: install the deploy requirements"
        )
    return Path(found)


def _check(module: str, arguments: Arguments, options: Options, private: set[str], where: str) -> Arguments:
    aliases = {alias: name for name, option in options.items() for alias in option.get("aliases") or []}
    checked: Arguments = {}
    for given, value in arguments.items():
        name = aliases.get(given, given)
        if given.startswith("_") or given in private:
            checked[given] = value
        elif name not in options:
            supported = ", ".join(sorted(options))
            raise ModelError(
                f"Unsupported parameters for ({module}) module: {where}{given}. Supported parameters: {supported}"
            )
        else:
            checked[name] = _convert(module, where + name, value, options[name])
    for name, option in options.items():
        if name == "free_form":
            continue
        if option.get("required") and checked.get(name) in (None, ""):
            raise ModelError(f"missing required arguments: {where}{name}")
        if name not in checked and "default" in option:
            checked[name] = option["default"]
    return checked


def _convert(module: str, name: str, value: Any, option: Mapping[str, Any]) -> Any:
    if value is None:
        return None
    kind = option.get("type", "str")
    try:
        value = _CONVERTERS.get(kind, lambda given: given)(value)
    except (TypeError, ValueError):
        raise ModelError(
            f"argument for {name} is of type {type(value).__name__} and we were unable to convert to {kind}: {value!r}"
        ) from None
    choices = option.get("choices")
    if choices:
        known = [str(choice).lower() for choice in choices]
        for chosen in value if isinstance(value, list) else [value]:
            if str(chosen).lower() not in known:
                raise ModelError(
                    f"value of {name} must be one of: {', '.join(map(str, choices))}. Got no match for: {chosen}"
                )
    suboptions = option.get("suboptions")
    if suboptions and isinstance(value, dict):
        return _check(module, value, suboptions, set(), name + ".")
    if suboptions and isinstance(value, list):
        return [
            _check(module, item, suboptions, set(), name + ".") if isinstance(item, dict) else item for item in value
        ]
    return value


def _bool(value: Any) -> bool:
    lower = str(value).lower()
    if lower not in _TRUE | _FALSE:
        raise ValueError(value)
    return lower in _TRUE


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _text(value: Any) -> Any:
    return value if isinstance(value, str | dict | list) else str(value)


_CONVERTERS: dict[str, Any] = {
    "bool": _bool,
    "int": int,
    "float": float,
    "list": _list,
    "dict": _dict,
    "str": _text,
    "path": _text,
}
