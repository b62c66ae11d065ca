"""``python -m runtime.coordinator.passwords``: reads a password, prints its hash for the configuration file."""

from __future__ import annotations

import getpass
import sys

from argon2 import PasswordHasher


def main() -> int:
    """From a terminal the password is asked for, else it is the first line of standard input."""
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < 8:
        print("A password has at least 8 characters.", file=sys.stderr)
        return 2
    print(PasswordHasher().hash(password))
    return 0


if __name__ == "__main__":
    sys.exit(main())
