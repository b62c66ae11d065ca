"""How a title is told where to stream: command line and environment by engine.

Unreal's names by version are those of Epic's Pixel Streaming 2 migration guide and of the command lines in Epic's
PixelStreamingInfrastructure (``.github/workflows``): Pixel Streaming 1 ``-PixelStreamingURL``, Pixel Streaming 2
``-PixelStreamingSignallingURL`` (5.5) and ``-PixelStreamingConnectionURL`` (5.7). Only one style may be passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runtime.protocol.control import Launch

GENERIC = "generic"
_UNREAL = re.compile(r"unreal-([4-9])\.(\d{1,2})(-ps1)?")
_SECRETIVE = re.compile(r"(?i)(secret|token|passw|credential|private_key|api_?key)")
# Of our own process, not of the title's: service manager sockets, Python's start-up, our own settings.
_OWN = re.compile(
    r"(PIXELSTREAM|PYTHON|VIRTUAL_ENV|LISTEN_|NOTIFY_SOCKET|WATCHDOG_|INVOCATION_ID|JOURNAL_STREAM|CREDENTIALS_)"
)
_ADDRESS_FLAGS = frozenset(
    {
        "-pixelstreamingurl",
        "-pixelstreamingsignallingurl",
        "-pixelstreamingconnectionurl",
        "-pixelstreamingip",
        "-pixelstreamingport",
        "-pixelstreamingid",
    }
)
_COMMANDS_FLAG = "-AllowPixelStreamingCommands"


class UnknownEngineError(ValueError):
    """``Launch.engine`` names something we cannot start; the text says what is accepted."""


@dataclass(frozen=True)
class Command:
    """What to run, after the executable's path."""

    arguments: tuple[str, ...]
    environment: dict[str, str]


def check_engine(engine: str) -> None:
    """Raise :class:`UnknownEngineError`."""
    if engine != GENERIC:
        _unreal_version(engine)


def title_command(
    launch: Launch,
    *,
    streamer_url: str,
    streamer_id: str,
    gpu: int | None,
    allow_commands: bool,
    inherited: Mapping[str, str],
) -> Command:
    """Arguments and whole environment of a title's process.

    ``gpu`` is the index of the GPU it is pinned to; ``inherited`` the session server's own environment.
    """
    environment = {**inherited_environment(inherited), **launch.environment}
    if launch.engine == GENERIC:
        environment |= {"PIXELSTREAM_STREAMER_URL": streamer_url, "PIXELSTREAM_STREAMER_ID": streamer_id}
        if gpu is not None:
            # What CUDA, NVENC and most GPU libraries obey; a title's own setting wins.
            environment = {"CUDA_VISIBLE_DEVICES": str(gpu), "PIXELSTREAM_GPU": str(gpu), **environment}
        arguments = tuple(_fill(text, streamer_url, streamer_id) for text in launch.arguments)
        return Command(arguments, environment)
    flags = _unreal_flags(launch, streamer_url, streamer_id, gpu)
    own = tuple(text for text in launch.arguments if _name(text) not in _ADDRESS_FLAGS)
    given = {_name(text) for text in own}
    flags = [flag for flag in flags if _name(flag) not in given]
    if allow_commands and _COMMANDS_FLAG.lower() not in given:
        flags.append(_COMMANDS_FLAG)
    # The title's own come first: Unreal takes its map or project from the first word without a dash.
    return Command((*own, *flags), environment)


def _unreal_version(engine: str) -> tuple[int, int, bool]:
    """Major, minor, and whether the title uses the Pixel Streaming 2 plugin."""
    match = _UNREAL.fullmatch(engine)
    if match is None:
        raise UnknownEngineError(
            f"engine {engine!r} is not known: use generic, unreal-4.27, unreal-5.0 and so on (with -ps1 after it when "
            "a title of 5.5 or later still uses the first Pixel Streaming plugin)"
        )
    major, minor = int(match[1]), int(match[2])
    if (major, minor) < (4, 27):
        # Its -PixelStreamingIP and -PixelStreamingPort cannot carry the path with the session's secret.
        raise UnknownEngineError(f"engine {engine!r} is too old: Pixel Streaming takes an address since unreal-4.27")
    return major, minor, (major, minor) >= (5, 5) and match[3] is None


def _unreal_flags(launch: Launch, streamer_url: str, streamer_id: str, gpu: int | None) -> list[str]:
    major, minor, second = _unreal_version(launch.engine)
    if not second:
        address = "-PixelStreamingURL"
    elif (major, minor) < (5, 7):
        address = "-PixelStreamingSignallingURL"
    else:
        address = "-PixelStreamingConnectionURL"
    flags = [
        f"{address}={streamer_url}",
        f"-PixelStreamingID={streamer_id}",
        "-RenderOffscreen",
        "-ForceRes",
        f"-ResX={launch.width}",
        f"-ResY={launch.height}",
        "-AudioMixer",
        "-Unattended",
        # Builds are for reading only, and several sessions may run one: settings and logs go to the account's folder.
        "-SaveToUserDir",
        "-stdout",
        "-FullStdOutLogOutput",
    ]
    if gpu is not None:
        flags.append(f"-graphicsadapter={gpu}")
    return flags


def _fill(text: str, streamer_url: str, streamer_id: str) -> str:
    # Not str.format: arguments may hold braces of their own, JSON for example.
    return text.replace("{streamer_url}", streamer_url).replace("{streamer_id}", streamer_id)


def _name(argument: str) -> str:
    return argument.partition("=")[0].lower()


def inherited_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` without what is ours alone or looks like a secret."""
    return {name: value for name, value in environment.items() if not _OWN.match(name) and not _SECRETIVE.search(name)}


def redact(arguments: Iterable[str], secret: str) -> list[str]:
    """``arguments`` fit for a log: without the session's streamer secret."""
    return [text.replace(secret, "[scrubbed]") for text in arguments]
