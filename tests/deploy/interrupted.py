"""Run a command, break it off in the middle, and run it again: what a lost connection does to a playbook.

    python -m tests.deploy.interrupted --at PATTERN -- COMMAND ...

The command is killed, with all it started, as soon as its output has a line with PATTERN, a regular expression. The
exit code is the second run's; it is 3 if the line never came.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys


def main() -> int:
    own, _, command = " ".join(sys.argv[1:]).partition(" -- ")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", required=True)
    at = re.compile(parser.parse_args(own.split()).at)
    first = subprocess.Popen(
        command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert first.stdout is not None
    broken = False
    for line in first.stdout:
        print(line, end="", flush=True)
        if not broken and at.search(line):
            broken = True
            os.killpg(first.pid, signal.SIGKILL)
    first.wait(60)
    if not broken:
        print(f"no line had {at.pattern}", file=sys.stderr)
        return 3
    print("--- broken off here, and run again", flush=True)
    return subprocess.run(command.split(), stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
