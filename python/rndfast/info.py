"""`rndfast.commands.info` under its public name, `rndfast.info`."""

from __future__ import annotations

import sys

from rndfast.commands import info

sys.modules[__name__] = info
