"""``python -m runtime`` is ``pixelstream``."""

import sys

from .cli import main

sys.exit(main())
