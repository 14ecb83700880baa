"""Signals at any moment, also while threads of Python share locks with the one that is stopped."""

from __future__ import annotations

import subprocess
import sys

# An exception between the taking of a lock and the `with` that gives it back, both in Python's own
# `threading`, leaves it taken: other threads then wait for ever.
SCRIPT = """
import faulthandler, random, signal, sys, time
from rndfast.config import RunConfig
from rndfast.runtime.compute import CpuCompute
from rndfast.runtime.interruption import Interrupted, Interruption

faulthandler.dump_traceback_later(60, exit=True)

def work(number):
    time.sleep(0.0005)
    return number

def instructions_until_end(moment):
    '''Send SIGTERM at this instruction of the main thread.'''
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        frame.f_trace_opcodes = True
        count += 1
        if count == moment:
            signal.raise_signal(signal.SIGTERM)
        return trace

    with CpuCompute(RunConfig(num_threads=2, precision="float32")) as compute:
        sys.settrace(trace)
        try:
            results = list(compute.map(work, range(3)))
        finally:
            sys.settrace(None)
    assert results == [0, 1, 2]
    return count

total = instructions_until_end(0)
moments = random.Random(0).sample(range(1, total + 1), min(total, int(sys.argv[1])))
num_interrupted = 0
for moment in moments:
    try:
        with Interruption():
            instructions_until_end(moment)
    except Interrupted:
        num_interrupted += 1
print(num_interrupted, len(moments))
"""


def test_an_interruption_of_work_on_threads_leaves_no_thread_waiting() -> None:
    command = [sys.executable, "-c", SCRIPT, "300"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    num_interrupted, num_moments = map(int, done.stdout.split())
    assert num_interrupted > 0.9 * num_moments  # the last instructions may not be reached
