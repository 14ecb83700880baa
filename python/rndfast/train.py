"""`rndfast.runs.train` under its public name, `rndfast.train`."""

from __future__ import annotations

import sys

from rndfast.runs import train

sys.modules[__name__] = train
