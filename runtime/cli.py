"""The ``pixelstream`` command: parse the subcommand, import only that service, run it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from . import __version__

# name -> (module with main(arguments) -> exit code, help)
COMMANDS = {
    "demo": ("runtime.demo.app", "start everything on this machine and print one URL"),
    "coordinator": ("runtime.coordinator.app", "run a coordinator"),
    "session-server": ("runtime.session_server.app", "run a streaming host's session server"),
    "relay": ("runtime.relay.app", "run one session's relay (the session server does this)"),
    "streamer": ("runtime.streamer.app", "run the sample title"),
    "registry": ("runtime.coordinator.registry", "write titles and hosts into the database, or read them"),
    "bench": ("runtime.demo.bench", "measure this installation"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``pixelstream SUBCOMMAND ...``; the subcommand parses the rest itself."""
    parser = argparse.ArgumentParser(prog="pixelstream", description="Pixel streaming services.")
    parser.add_argument("--version", action="version", version=f"pixelstream {__version__}")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in COMMANDS.items():
        # The subcommand has its own parser, so -h must reach it.
        subcommands.add_parser(name, help=text, add_help=False)
    arguments = list(sys.argv[1:] if argv is None else argv)
    known, rest = parser.parse_known_args(arguments[:1])
    rest = [*rest, *arguments[1:]]
    module = importlib.import_module(COMMANDS[known.command][0])
    return int(module.main(rest))


if __name__ == "__main__":
    sys.exit(main())
