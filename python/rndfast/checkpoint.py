"""`rndfast.runs.checkpoint` under its public name, `rndfast.checkpoint`."""

from __future__ import annotations

import sys

from rndfast.runs import checkpoint

sys.modules[__name__] = checkpoint
