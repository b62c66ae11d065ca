"""Files that another process may look at right now. Standard library only: keepers load it too."""

from __future__ import annotations

import os
import time

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.05


def replace_patiently(source: str, target: str) -> None:
    """``os.replace``, tried again for a second: Windows refuses it while somebody, a virus scanner say, has either file
    open. Raises ``OSError``."""
    for attempt in range(_ATTEMPTS):
        try:
            os.replace(source, target)
        except PermissionError:
            if attempt + 1 == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
