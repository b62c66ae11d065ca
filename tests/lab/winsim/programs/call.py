"""What a modelled program gets and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.winsim import paths
from tests.lab.winsim.state import State


@dataclass(frozen=True)
class Call:
    """One start of a program; ``words`` are its arguments, ``path`` its own Windows path."""

    state: State
    path: str
    words: tuple[str, ...]
    become: str | None = None
    folder: str | None = None

    def absolute(self, path: str) -> str:
        """A path as the program sees it: relative ones start at the folder it was started in."""
        return path if ":" in path or path.startswith("\\\\") or self.folder is None else paths.join(self.folder, path)


@dataclass(frozen=True)
class Finished:
    rc: int = 0
    stdout: str = ""
    stderr: str = ""


Program = Callable[[Call], Finished]
PROGRAMS: dict[str, Program] = {}


def program(*names: str) -> Callable[[Program], Program]:
    """Register a function as the model of programs with these file names."""

    def register(function: Program) -> Program:
        for name in names:
            PROGRAMS[name] = function
        return function

    return register


def refuse(call: Call) -> Finished:
    """What a model answers to arguments it does not know: a failure, never a guess."""
    return Finished(1, "", f"winsim: {call.path} with these arguments is not modelled: {' '.join(call.words)}")
