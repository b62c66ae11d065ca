"""Where Unreal leaves crash reports and logs of a packaged title (its ``FPaths::ProjectSavedDir``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath

# A packaged build is <root>/<Project>/Binaries/<Platform>/<exe> with a starter <root>/<exe> beside <Project>.
_SAVED = ("Saved/Crashes/**/*", "Saved/Logs/*")


def crash_patterns(executable: str, environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(directory, glob below it) pairs, for an absolute path of either system."""
    path = PureWindowsPath(executable) if "\\" in executable else PurePosixPath(executable)
    found = []
    parts = [part.lower() for part in path.parts]
    project = path.stem.split("-")[0]
    if "binaries" in parts:
        place = path.parents[len(parts) - 1 - parts.index("binaries")]
        project = place.name
        found += [(str(place), pattern) for pattern in _SAVED]
    else:
        found += [(str(path.parent), f"*/{pattern}") for pattern in _SAVED]
    # Shipping builds write below the user's directory instead.
    if local := environment.get("LOCALAPPDATA"):
        found += [(local, f"{project}/{pattern}") for pattern in _SAVED]
    elif home := environment.get("HOME"):
        found += [(home, f".config/Epic/{project}/{pattern}") for pattern in _SAVED]
    return tuple(found)
