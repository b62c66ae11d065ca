"""Where models put themselves under their module's full name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.lab.winsim.state import State

Arguments = dict[str, Any]
Result = dict[str, Any]
Model = Callable[[State, Arguments], Result]

MODELS: dict[str, Model] = {}


def model(*names: str) -> Callable[[Model], Model]:
    """Register a function as the model of one or more modules."""

    def register(function: Model) -> Model:
        for name in names:
            MODELS[name] = function
        return function

    return register


def given(arguments: Arguments, *names: str) -> Result:
    """The named arguments, without the ones left out (None)."""
    return {name: arguments[name] for name in names if arguments.get(name) is not None}
