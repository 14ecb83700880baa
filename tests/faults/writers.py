"""Two processes that would train in the same run: one does, the other is told who has it.

The one is killed at a random moment, and the other's next try takes over at once.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.faults import campaign
from tests.faults.campaign import Broken


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Let two processes begin a run, the second at a random moment; then kill the first."""
    run_dir = folder / "run"
    seconds = campaign.run_seconds(whole)
    texts = [folder / "first", folder / "second"]
    first = campaign.start(run_dir, texts[0])
    time.sleep(chance.uniform(0, seconds) * chance.choice((0, 0.1, 1)))
    second = campaign.start(run_dir, texts[1])
    time.sleep(chance.uniform(0, seconds))
    first.kill()
    codes = [campaign.ended(process) for process in (first, second)]
    if codes[1] == 0:
        outcome = "one after the other"
    elif codes[1] == campaign.SYSTEM_ERROR:
        text = texts[1].read_text()
        if not (f"in use by process {first.pid} on " in text or "exists already" in text):
            raise Broken(f"the second was told: {text}")
        outcome = "the second was told who has it"
    else:
        raise Broken(f"the second ended with {campaign.signal_name(codes[1])}")
    campaign.finish_as(whole, run_dir)
    return f"{outcome}, then it took over, equal"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
