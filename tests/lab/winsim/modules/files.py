"""Files, folders, archives and copies."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import io
import re
import zipfile
from pathlib import Path

from tests.lab.winsim import paths
from tests.lab.winsim.errors import ModelError
from tests.lab.winsim.state import State

from .registry_of_models import Arguments, Result, model


def checksum(file: Path, algorithm: str = "sha1") -> str:
    return hashlib.new(algorithm, file.read_bytes()).hexdigest()


@model("ansible.windows.win_stat")
def win_stat(state: State, arguments: Arguments) -> Result:
    path = state.expand(arguments["path"])
    file = state.path(path)
    if not file.exists():
        return {"stat": {"exists": False}}
    about = file.stat()
    stat = {
        "exists": True,
        "isdir": file.is_dir(),
        "isreg": file.is_file(),
        "islnk": file.is_symlink(),
        "isjunction": file.is_symlink(),
        "path": path,
        "filename": paths.name(path),
        "size": about.st_size,
        "creationtime": about.st_ctime,
        "lastwritetime": about.st_mtime,
        "lastaccesstime": about.st_atime,
        "owner": "BUILTIN\\Administrators",
        "ishidden": False,
    }
    if file.is_symlink():
        stat["lnk_target"] = stat["lnk_source"] = state.windows_path(file.resolve())
    if file.is_file() and arguments.get("get_checksum", True):
        stat["checksum"] = checksum(file, arguments.get("checksum_algorithm") or "sha1")
    return {"stat": stat}


@model("ansible.windows.win_file")
def win_file(state: State, arguments: Arguments) -> Result:
    path, wanted = arguments["path"], arguments.get("state")
    file = state.path(path)
    if wanted is None:
        wanted = "directory" if file.is_dir() else "file"
    if wanted == "absent":
        return {"changed": state.remove(path)}
    if wanted == "directory":
        return {"changed": state.make_folder(path)}
    if wanted == "touch":
        if file.is_dir():
            raise ModelError(f"Target {path} is not a file. Will not attempt to touch it.")
        changed = True
        if file.exists():
            if state.writing:
                file.touch()
        else:
            state.write(path, b"")
            changed = True
        return {"changed": changed}
    if not file.exists():
        raise ModelError(f"path {path} will not be created")
    return {}


@model("ansible.windows.win_copy")
def win_copy(state: State, arguments: Arguments) -> Result:
    """The four steps that the action plugin drives: ask what differs, then one file, a zip of many, or host to host."""
    mode = arguments.get("_copy_mode", "single")
    steps = {"query": _copy_query, "single": _copy_single, "explode": _copy_explode, "remote": _copy_remote}
    return steps[mode](state, arguments)


def _copy_query(state: State, arguments: Arguments) -> Result:
    destination, different = arguments["dest"], []
    for item in arguments.get("files") or []:
        target = state.path(paths.join(destination, item["dest"]) if item["dest"] else destination)
        if target.is_dir():
            raise ModelError(f"cannot copy file to dest '{destination}': object at path is already a directory")
        if not target.exists() or (arguments.get("force", True) and checksum(target) != item["checksum"]):
            different.append(item)
    folders = [
        item
        for item in arguments.get("directories") or []
        if not state.path(paths.join(destination, item["dest"])).is_dir()
    ]
    links = arguments.get("symlinks") or []
    return {"files": different, "directories": folders, "symlinks": links, "changed": bool(different or folders)}


def _copy_single(state: State, arguments: Arguments) -> Result:
    source, destination = state.path(arguments["src"]), arguments["dest"]
    if destination[-1] in "\\/" or state.path(destination).is_dir():
        if destination[-1] in "\\/":
            state.make_folder(destination)
        destination = paths.join(destination, arguments["_original_basename"])
    if not state.path(paths.parent(destination)).is_dir():
        raise ModelError(f"Destination directory '{paths.parent(destination)}' does not exist")
    result: Result = {}
    target = state.path(destination)
    if arguments.get("backup") and target.exists():
        result["backup_file"] = destination + ".bak"
        state.write(result["backup_file"], target.read_bytes())
    data = source.read_bytes()
    state.write(destination, data)
    digest = hashlib.sha1(data).hexdigest()
    described = {
        "dest": destination,
        "src": arguments["src"],
        "checksum": digest,
        "size": len(data),
        "operation": "file_copy",
    }
    return {**result, **described, "changed": True, "original_basename": arguments["_original_basename"]}


def _copy_explode(state: State, arguments: Arguments) -> Result:
    """A zip whose member names are base64, because .NET Framework garbles others."""
    destination = arguments["dest"]
    with zipfile.ZipFile(io.BytesIO(state.path(arguments["src"]).read_bytes())) as archive:
        for member in archive.infolist():
            relative = base64.b64decode(member.filename.rstrip("/")).decode()
            target = paths.join(destination, relative)
            if member.is_dir():
                state.make_folder(target)
            else:
                state.write(target, archive.read(member), parents=True)
    return {"changed": True, "dest": destination, "operation": "folder_copy"}


def _copy_remote(state: State, arguments: Arguments) -> Result:
    source, destination = state.path(arguments["src"]), arguments["dest"]
    if not source.exists():
        raise ModelError(f"Cannot copy src file: '{arguments['src']}' as it does not exist")
    if not source.is_file():
        raise ModelError("winsim: copying a folder on the host is not modelled")
    if state.path(destination).is_dir():
        destination = paths.join(destination, source.name)
    target = state.path(destination)
    if target.exists() and (not arguments.get("force", True) or checksum(target) == checksum(source)):
        return {"dest": destination}
    state.write(destination, source.read_bytes(), parents=True)
    return {"changed": True, "dest": destination, "checksum": checksum(source)}


@model("community.windows.win_unzip")
def win_unzip(state: State, arguments: Arguments) -> Result:
    source, destination, creates = arguments["src"], arguments["dest"], arguments.get("creates")
    described = {"src": source, "dest": destination}
    if creates and state.path(creates).exists():
        return {**described, "skipped": True, "msg": f"The file or directory '{creates}' already exists."}
    if not state.path(source).is_file():
        raise ModelError(f"File '{source}' does not exist.")
    state.make_folder(destination)
    with zipfile.ZipFile(state.path(source)) as archive:
        for member in archive.infolist():
            target = paths.join(destination, member.filename)
            if member.is_dir():
                state.make_folder(target)
            else:
                state.write(target, archive.read(member), parents=True)
    if arguments.get("delete_archive"):
        state.remove(source)
    return {**described, "changed": True, "removed": bool(arguments.get("delete_archive"))}


@model("community.windows.win_robocopy")
def win_robocopy(state: State, arguments: Arguments) -> Result:
    """Mirrors or copies a folder; ``flags`` other than the ones below are refused rather than guessed."""
    source, destination = arguments["src"], arguments["dest"]
    flags = set(str(arguments.get("flags") or "").lower().split())
    unknown = {
        flag
        for flag in flags
        if not re.fullmatch(r"/(mir|e|purge|np|njh|njs|nfl|ndl|mt(:\d+)?|r:\d+|w:\d+|fft|dcopy:\w+|copy:\w+)", flag)
    }
    if unknown:
        raise ModelError(f"winsim: robocopy flags not modelled: {' '.join(sorted(unknown))}")
    root = state.path(source)
    if not root.is_dir():
        raise ModelError(f"{source} does not exist!")
    purge = bool(arguments.get("purge")) or "/mir" in flags or "/purge" in flags
    recurse = bool(arguments.get("recurse")) or bool({"/mir", "/e"} & flags)
    wanted = {
        file.relative_to(root): file for file in (root.rglob("*") if recurse else root.glob("*")) if file.is_file()
    }
    target = state.path(destination)
    present = (
        {file.relative_to(target): file for file in target.rglob("*") if file.is_file()} if target.is_dir() else {}
    )
    extra = [name for name in present if name not in wanted] if purge else []
    missing = [
        name for name, file in wanted.items() if name not in present or present[name].read_bytes() != file.read_bytes()
    ]
    state.make_folder(destination)
    for name in missing:
        state.write(paths.join(destination, *name.parts), wanted[name].read_bytes(), parents=True)
    for name in extra:
        state.remove(paths.join(destination, *name.parts))
    # robocopy's exit code is a set of bits: 1 copied, 2 extra files, 8 and above failed.
    code = (1 if missing else 0) | (2 if extra else 0)
    return {"changed": bool(missing or extra), "rc": code, "src": source, "dest": destination, "output": []}


@model("community.windows.win_lineinfile")
def win_lineinfile(state: State, arguments: Arguments) -> Result:
    path, line = arguments["path"], arguments.get("line")
    file = state.path(path)
    if not file.exists() and not arguments.get("create"):
        raise ModelError(f"Path {path} does not exist !")
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    pattern = re.compile(arguments["regex"]) if arguments.get("regex") else None
    hits = [number for number, text in enumerate(lines) if (pattern.search(text) if pattern else text == line)]
    if arguments.get("state", "present") == "absent":
        after = [text for number, text in enumerate(lines) if number not in hits]
    elif hits:
        after = [*lines[: hits[-1]], str(line), *lines[hits[-1] + 1 :]]
    else:
        after = [*lines, str(line)]
    if after == lines:
        return {}
    state.write(path, ("\r\n".join(after) + "\r\n").encode())
    return {"changed": True}


@model("ansible.windows.win_find")
def win_find(state: State, arguments: Arguments) -> Result:
    found = []
    for start in arguments["paths"]:
        folder = state.path(start)
        if not folder.is_dir():
            continue
        for entry in sorted(folder.rglob("*") if arguments.get("recurse") else folder.iterdir()):
            kind = arguments.get("file_type", "file")
            patterns = arguments.get("patterns") or ["*"]
            if (kind == "directory") != entry.is_dir() or not any(
                _name_matches(entry.name, pattern, arguments) for pattern in patterns
            ):
                continue
            about = entry.stat()
            found.append(
                {
                    "path": state.windows_path(entry),
                    "filename": entry.name,
                    "isdir": entry.is_dir(),
                    "islnk": entry.is_symlink(),
                    "size": about.st_size,
                    "creationtime": about.st_ctime,
                    "lastwritetime": about.st_mtime,
                }
            )
    return {"files": found, "matched": len(found), "examined": len(found)}


def _name_matches(name: str, pattern: str, arguments: Arguments) -> bool:
    if arguments.get("use_regex"):
        return re.match(pattern, name, re.IGNORECASE) is not None
    return fnmatch.fnmatch(name.lower(), pattern.lower())
