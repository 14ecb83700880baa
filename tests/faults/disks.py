"""Disks that are full at random moments: the run names the file, and older checkpoints stay whole.

With room again it is resumed, and ends as if nothing had happened. As root the disk is a small
tmpfs; otherwise, and in every second trial, a limit on the size of files stands for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults import campaign
from tests.faults.campaign import Broken

from rndfast.runs.checkpoint import list_checkpoints, load_checkpoint


@contextlib.contextmanager
def small_disk(folder: Path, num_bytes: int) -> Iterator[None]:
    """A folder as a disk of its own."""
    folder.mkdir()
    options = f"size={num_bytes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def limit_files(num_bytes: int) -> None:
    """Let no file of this process become larger; to write beyond that is an error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, resource.RLIM_INFINITY))


def trial(chance: random.Random, folder: Path, whole: Path) -> str:
    """Run into a limit, then finish without it."""
    files = [path for path in whole.rglob("*") if path.is_file()]
    if os.geteuid() == 0 and chance.randrange(2):
        total = sum(path.stat().st_size for path in files)
        disk = folder / "disk"
        with small_disk(disk, chance.randrange(4096, total)):
            outcome = fill(disk / "run", folder / "log", lambda: None)
            subprocess.run(["mount", "-o", f"remount,size={3 * total}", disk], check=True)
            campaign.finish_as(whole, disk / "run")
        return f"tmpfs: {outcome}, resumed, equal"
    largest = max(path.stat().st_size for path in files)
    limit = functools.partial(limit_files, chance.randrange(largest))
    outcome = fill(folder / "run", folder / "log", limit)
    campaign.finish_as(whole, folder / "run")
    return f"limit on files: {outcome}, resumed, equal"


def fill(run_dir: Path, log: Path, prepare: Callable[[], None]) -> str:
    """Run until the disk is full."""
    code = campaign.ended(campaign.start(run_dir, log, prepare))
    for path in list_checkpoints(run_dir / "checkpoints"):
        load_checkpoint(path)
    if code == 0:
        return "there was room"
    text = log.read_text()
    if code != campaign.SYSTEM_ERROR:
        raise Broken(f"exit code {campaign.signal_name(code)}: {text}")
    if str(run_dir) not in text.splitlines()[-1]:
        raise Broken(f"the error does not name the file: {text}")
    return "named the file"


if __name__ == "__main__":
    campaign.main(trial, __doc__)
