"""``kill -9`` at random moments: the run is resumed, and ends as if nothing had happened.

In each trial a run is killed one to three times, at any moment since its process started, before it
is let go on to its end.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.faults import campaign
from tests.faults.campaign import Broken


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Kill a run some times, then finish it."""
    run_dir = folder / "run"
    num_kills = 0
    for _ in range(chance.randint(1, 3)):
        process = campaign.start(run_dir)
        time.sleep(chance.uniform(0, campaign.run_seconds(whole)))
        process.kill()
        code = campaign.ended(process)
        if code == 0:
            break  # it was at its end before
        if code != -signal.SIGKILL:
            raise Broken(f"a resumed run failed: exit code {campaign.signal_name(code)}")
        num_kills += 1
    campaign.finish_as(whole, run_dir)
    return f"killed {num_kills} times, resumed, equal"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
