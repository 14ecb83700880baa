"""``python -m rndfast``."""

from __future__ import annotations

import sys

from rndfast.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
