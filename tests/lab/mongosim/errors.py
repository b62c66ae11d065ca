"""What a server answers instead of a result, with MongoDB's own codes."""

from __future__ import annotations


class CommandError(Exception):
    """An error document: ``code`` and ``name`` as in MongoDB's list of error codes."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name = code, name


class NotModelledError(CommandError):
    """Used although this stand-in does not know what a real server would do."""

    def __init__(self, what: str) -> None:
        super().__init__(59, "CommandNotFound", f"mongosim: not modelled: {what}")


class StartError(Exception):
    """mongod would not start; ``status`` is its exit code."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def unauthorized(what: str) -> CommandError:
    return CommandError(13, "Unauthorized", f"not authorized on {what} to execute command")


def not_primary() -> CommandError:
    return CommandError(10107, "NotWritablePrimary", "not primary")
