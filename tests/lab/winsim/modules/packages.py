"""Installers, through win_package: what each leaves behind is in ``programs.installers``."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.programs import installers
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model


@model("ansible.windows.win_package")
def win_package(state: State, arguments: Arguments) -> Result:
    packages, source = state.section("packages"), arguments.get("path")
    product = arguments.get("product_id")
    unchanged: Result = {"rc": 0, "reboot_required": False}
    if arguments.get("state", "present") == "absent":
        if product not in packages:
            return unchanged
        return {**unchanged, "changed": state.drop(packages, product)}
    if _is_installed(state, arguments, packages):
        return unchanged
    if not source:
        raise ModelError("path can only be null when state=absent and product_id is not null")
    file = state.path(source)
    if not file.is_file():
        raise ModelError(f"the file at the path '{source}' cannot be reached")
    _check_sum(arguments, file.read_bytes())
    given = arguments.get("arguments") or ""
    words = paths.split_command_line(given) if isinstance(given, str) else [str(word) for word in given]
    installer = installers.find(paths.name(source))
    code = installers.exit_code(state, paths.name(source))
    if code not in [int(expected) for expected in arguments.get("expected_return_code") or [0, 3010]]:
        raise ModelError(f"unexpected rc from '{source}': see rc, stdout, and stderr for more details", rc=code)
    if state.writing and code in (0, 3010):
        installer(state, words)
        if product:
            packages[product] = {"path": source, "arguments": words}
        if code == 3010:
            state.document["reboot_pending"] = True
    return {"changed": True, "rc": code, "reboot_required": code == 3010}


def _is_installed(state: State, arguments: Arguments, packages: dict[str, Any]) -> bool:
    if arguments.get("creates_path"):
        return state.path(arguments["creates_path"]).exists()
    if arguments.get("creates_service"):
        return str(arguments["creates_service"]).lower() in state.section("services")
    if not arguments.get("product_id"):
        raise ModelError("product_id is required when path is not an msi and no creates_* is given")
    return arguments["product_id"] in packages


def _check_sum(arguments: Arguments, data: bytes) -> None:
    wanted = arguments.get("checksum")
    if wanted:
        got = hashlib.new(arguments.get("checksum_algorithm") or "sha1", data).hexdigest()
        if got != wanted.lower():
            raise ModelError(f"checksum mismatch: expected {wanted}, got {got}")
