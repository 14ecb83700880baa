"""`rndfast.bench.plain` under its public name, `rndfast.plain`."""

from __future__ import annotations

import sys

from rndfast.bench import plain

sys.modules[__name__] = plain
