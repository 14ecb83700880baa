"""`rndfast.runs.evaluate` under its public name, `rndfast.evaluate`."""

from __future__ import annotations

import sys

from rndfast.runs import evaluate

sys.modules[__name__] = evaluate
