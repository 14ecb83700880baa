"""Signals at random moments: the run saves its last whole rollout, says which signal, and ends.

Resumed, it ends as if nothing had happened.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from tests.faults import campaign
from tests.faults.campaign import Broken

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Send a signal to a run, then finish it."""
    run_dir, signum = folder / "run", chance.choice(SIGNALS)
    process = campaign.start(run_dir)
    time.sleep(chance.uniform(0, campaign.run_seconds(whole)))
    assert process.pid is not None
    os.kill(process.pid, signum)
    code = campaign.ended(process)
    outcomes = {
        0: "was at its end",
        128 + signum: "saved and left",
        # forked, and not yet so far that it could handle signals
        -signum: "ended before it began",
        1: "ended before it began",
    }
    is_begun = (run_dir / "config.toml").exists()
    if code not in outcomes or (code in (-signum, 1) and is_begun):
        raise Broken(f"after {signum.name}: exit code {campaign.signal_name(code)}")
    campaign.finish_as(whole, run_dir)
    return f"{signum.name}: {outcomes[code]}, resumed, equal"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
