# SPDX-License-Identifier: MIT
"""Random programs in lockstep with ale-py: what no game does, or not yet in the frames compared.

`python -m tests.exactness --micro-roms 5000` runs others, and more of them.
"""

from __future__ import annotations

import os
import time

import pytest
from tests.reference.isolated import run_isolated
from tests.reference.micro_roms import (
    BNE,
    COLUP0,
    DEX,
    ENABL,
    ENAM0,
    HMOVE,
    JMP,
    KINDS,
    LDA,
    LDX,
    NOP,
    NOP_ZP,
    RESBL,
    RESM0,
    RESM1,
    STA_ZP,
    WSYNC,
    Program,
    difference,
    make_program,
    program_difference,
)

PROGRAMS_PER_KIND = 12


@pytest.mark.parametrize("kind", KINDS)
def test_random_programs_run_as_in_ale(kind: str) -> None:
    calls = [(kind, seed) for seed in range(PROGRAMS_PER_KIND)]
    outcomes = list(run_isolated(program_difference, calls, timeout=30))
    failures = {
        outcome.arguments: outcome.failure or outcome.value
        for outcome in outcomes
        if outcome.failure or outcome.value
    }
    assert len(outcomes) == len(calls)
    assert failures == {}


def rom(code: str, start: int = 0xF000, filler: str = "EA") -> Program:
    """Put code into 4 KiB of the filler; the vectors point to the start."""
    image = bytes.fromhex(code).ljust(4092, bytes.fromhex(filler))
    return Program(image + start.to_bytes(2, "little") * 2)


STARS = "A9 70 85 22 A9 02 85 1D 85 2A A9 60" + "EA" * 8 + "85 22"
FRAME_END = "A9 02 85 00 85 02 85 02 A9 00 85 00"
REPRODUCERS = {
    "overflow of SBC in decimal mode": rom("F8 38 A9 91 E9 28 08 68 85 80 85 02 4C 00 F0"),
    "bus noise as the first opcode": rom("", start=0x0202, filler="02"),
    "reset of a stopped processor": rom("EA" * 500 + "A9 46 85 09" + "EA" * 3000 + "85 3E 02"),
    "stars and a NUSIZ0 that is written again": rom(
        f"A9 EC 85 06 {STARS} A2 FF 85 02 85 04 CA D0 F9 {FRAME_END} 4C 00 F0"
    ),
    "stars armed just after a line's end": rom(
        f"A9 EC 85 06 A0 06 85 02 {'EA' * 24} {STARS} A2 28 85 02 CA D0 FB 88 D0 C6"
        f"{FRAME_END} 4C 00 F0"
    ),
    # PAL; the frame goes on after the reset, with 34 lines more than a picture has
    "collision below the picture in a frame that was reset": rom(
        "A2 FA 85 02 CA D0 FB 85 2C A9 FF 85 0D 85 1B A2 0A 85 02 CA D0 FB A5 32 85 80 4C 1A F0"
    ),
    # ends only because of the number of instructions; RAM tells how many were run
    "loop without an end": rom("E8 86 80 4C 00 F0"),
    "loop without an end of the shortest instructions": rom(f"E6 80 {'EA' * 2000} 4C 00 F0"),
    # in another line of each frame; RESM0 draws up to column 0, and the loop is longer than a call
    "HMOVE's blank in the line where a call ends": rom(
        "A9 EC 85 09 E6 80 A5 80 29 0F 09 50 AA 85 02 CA D0 FB 85 2A EA EA EA EA EA 85 12"
        "A0 3C A2 00 CA D0 FD 88 D0 F8 4C 04 F0"
    ),
}


@pytest.mark.parametrize("name", REPRODUCERS)
def test_differences_found_before(name: str) -> None:
    [outcome] = run_isolated(difference, [(REPRODUCERS[name], 0)], timeout=30)
    assert (outcome.failure, outcome.value) == (None, None)


def pause(cycles: int) -> bytes:
    """Pass that many cycles, 0 or at least 2."""
    return bytes((NOP_ZP, 0x80)) * (cycles % 2) + bytes((NOP,)) * ((cycles - cycles % 2 * 3) // 2)


# a register, the cycles from a line's start to HMOVE, and those from HMOVE to the register's strobe
STROBES = [(RESM0, 3, 20), (RESM1, 3, 3), (RESBL, 3, 3), (RESBL, 3, 7), (RESBL, 3, 6)]
STROBES += [(RESBL, 78, 18), (RESBL, 5, 18)]


@pytest.mark.parametrize(("register", "hmove", "strobe"), STROBES)
def test_strobes_soon_after_hmove(register: int, hmove: int, strobe: int) -> None:
    show = bytes((LDA, 2, STA_ZP, ENAM0, STA_ZP, ENAM0 + 1, STA_ZP, ENABL, LDA, 0x46))
    show += bytes((STA_ZP, COLUP0, STA_ZP, COLUP0 + 1, STA_ZP, COLUP0 + 2))
    line = bytes((STA_ZP, WSYNC)) + pause(hmove - 3) + bytes((STA_ZP, HMOVE)) + pause(strobe - 3)
    line += bytes((STA_ZP, register, STA_ZP, WSYNC))
    lines = bytes((LDX, 110)) + line + bytes((DEX, BNE, 256 - len(line) - 3))
    code = show + lines + bytes.fromhex(FRAME_END) + bytes((JMP, 0x00, 0xF0))
    [outcome] = run_isolated(difference, [(rom(code.hex()), 0)], timeout=30)
    assert (outcome.failure, outcome.value) == (None, None)


def waiting_difference(setup: str, loop: str, start: int) -> str | None:
    """Compare a program that waits in each frame, not always as long, and tells how it went."""
    begin = f"A5 80 69 1D 85 80 AA A8 {setup} 4C" + start.to_bytes(2, "little").hex()
    tell = "86 81 84 82 08 68 85 83 AD 84 02 85 84"
    code = bytes.fromhex(begin).ljust(start - 0xF000, b"\xea")
    code += bytes.fromhex(f"{loop} {tell} {FRAME_END} 4C 00 F0")
    return difference(rom(code.hex()), 0)


LOADS = {"LDA": "AD", "LDX": "AE", "LDY": "AC", "BIT": "2C"}
BRANCHES = {"BNE": "D0", "BPL": "10", "BMI": "30", "BEQ": "F0"}


@pytest.mark.parametrize("branch", BRANCHES)
@pytest.mark.parametrize("start", [0xF140, 0xF1FC])  # the latter ends in another page
def test_loops_that_wait(branch: str, start: int) -> None:
    opcode = BRANCHES[branch]
    calls = [
        (f"8D {timer} 02", f"{load} {address} 02 {opcode} FB", start)
        for timer in ("95", "96", "97")  # TIM8T, TIM64T, T1024T
        for load in LOADS.values()
        for address in ("84", "85")  # INTIM, INSTAT
    ]
    calls += [("", f"{count} {opcode} FD", start + 2) for count in ("CA", "88")]  # DEX, DEY
    outcomes = list(run_isolated(waiting_difference, calls, timeout=30))
    failures = {o.arguments: o.failure or o.value for o in outcomes if o.failure or o.value}
    assert len(outcomes) == len(calls)
    assert failures == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_stands_for_one_program(kind: str) -> None:
    assert make_program(kind, 3) == make_program(kind, 3)
    assert make_program(kind, 3) != make_program(kind, 4)
    program = make_program(kind, 3)
    sizes = {"2K": 2048, "4K": 4096, "F6": 16384, "F6SC": 16384, "DPC": 10495}
    assert len(program.image) == sizes.get(program.scheme, 8192)


def misbehave(how: str) -> str:
    """Do what the oracle may do."""
    if how == "exit":
        os._exit(3)
    if how == "hang":
        time.sleep(60)
    return f"did not {how}"


def test_a_call_that_ends_or_hangs_its_process_is_named_and_the_rest_still_run() -> None:
    calls = [("hang",), ("run",), ("exit",), ("jump",)]
    outcomes = {o.arguments[0]: o for o in run_isolated(misbehave, calls, timeout=15)}
    assert outcomes["run"].value == "did not run"
    assert outcomes["jump"].value == "did not jump"
    assert outcomes["exit"].failure == "the process ended with exit code 3"
    assert outcomes["hang"].failure == "no result within 15 s"
