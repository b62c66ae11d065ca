"""The Windows registry: keys and value names in lower case, because Windows does not tell cases apart."""

from __future__ import annotations

import re
from typing import Any

from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model

_HIVE = re.compile(r"^(HKLM|HKCU|HKCR|HKU|HKCC)(\\|$)", re.IGNORECASE)


def key_of(path: str) -> str:
    """Key in the state of a path such as ``HKLM:\\SOFTWARE\\X``; raises :class:`ModelError` for another form."""
    normal = re.sub(r"^(HK\w+):\\?", r"\1\\", path)
    if not _HIVE.match(normal):
        raise ModelError(f"path: {path} is not a valid registry path, see module documentation for examples.")
    return normal.lower().rstrip("\\")


def read(state: State, path: str, name: str) -> Any:
    """Data of a value, or None."""
    return state.section("registry").get(key_of(path), {}).get(name.lower(), {}).get("data")


def write(state: State, path: str, name: str, data: Any, kind: str = "string") -> None:
    """Set a value as an installer would."""
    key = state.section("registry").setdefault(key_of(path), {})
    key[name.lower()] = {"type": kind, "data": data}


@model("ansible.windows.win_regedit")
def win_regedit(state: State, arguments: Arguments) -> Result:
    keys, key, name = state.section("registry"), key_of(arguments["path"]), (arguments.get("name") or "").lower()
    if arguments.get("state", "present") == "absent":
        return _remove(state, arguments, key, name)
    value = {"type": arguments.get("type", "string"), "data": _data(arguments)}
    only_key = arguments.get("name") is None and arguments.get("data") is None
    present = keys.get(key)
    if present is not None and (only_key or present.get(name) == value):
        return {"data_changed": False, "data_type_changed": False}
    state.put(keys, key, {**(present or {}), **({} if only_key else {name: value})})
    return {"changed": True, "data_changed": True, "data_type_changed": False}


def _data(arguments: Arguments) -> Any:
    kind, data = arguments.get("type", "string"), arguments.get("data")
    if data is None:
        return 0 if kind in ("dword", "qword") else ""
    if kind in ("dword", "qword"):
        number = int(str(data), 0)
        if not 0 <= number < 2 ** (32 if kind == "dword" else 64):
            raise ModelError(f"cannot convert {data} to {kind}")
        return number
    if kind == "multistring":
        return [str(item) for item in (data if isinstance(data, list) else [data])]
    return str(data)


def _remove(state: State, arguments: Arguments, key: str, name: str) -> Result:
    keys = state.section("registry")
    if arguments.get("delete_key") and not name:
        gone = [known for known in keys if known == key or known.startswith(key + "\\")]
        for known in gone:
            state.drop(keys, known)
        return {"changed": bool(gone)}
    if name not in keys.get(key, {}):
        return {}
    state.put(keys, key, {known: value for known, value in keys[key].items() if known != name})
    return {"changed": True}


@model("ansible.windows.win_reg_stat")
def win_reg_stat(state: State, arguments: Arguments) -> Result:
    path = key_of(arguments["path"])
    keys = state.section("registry")
    key = keys.get(path)
    below = sorted({known[len(path) + 1 :].split("\\")[0] for known in keys if known.startswith(path + "\\")})
    if key is None and not below:
        return {"exists": False}
    key = key or {}
    if arguments.get("name") is None:
        properties = {
            name: {"raw_value": value["data"], "value": value["data"], "type": value["type"]}
            for name, value in key.items()
        }
        return {"exists": True, "properties": properties, "sub_keys": below}
    value = key.get(arguments["name"].lower())
    if value is None:
        return {"exists": False}
    return {"exists": True, "value": value["data"], "raw_value": value["data"], "type": value["type"]}
