"""``python -m rndfast``."""

from __future__ import annotations

import sys

from rndfast.cli import main

if __name__ == "__main__":
    sys.exit(main())
