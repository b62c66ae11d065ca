"""The one error that models raise; the task then fails with its text, as a real module's ``FailJson`` would."""

from __future__ import annotations

from typing import Any


class ModelError(Exception):
    """A module or program refuses; ``result`` holds further keys of the module's answer."""

    def __init__(self, message: str, **result: Any) -> None:
        super().__init__(message)
        self.message = message
        self.result = result
