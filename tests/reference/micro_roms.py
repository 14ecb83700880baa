"""Random programs for the Atari 2600, and their comparison with ale-py.

A program is made of pieces of machine code, each a few instructions long, around a frame's
skeleton. Its kind says which pieces, so that a difference found names what is wrong. ale-py takes a
file of unknown content for the game that it is called after: here Montezuma's Revenge, whose reset
waits for nothing, and whose end needs rare values. Since a program may hang ale-py or end its
process, `tests.reference.isolated` runs them.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.reference.ale import first_difference, make_ale

from rndfast import _core

GAME = "montezuma_revenge"
ACTIONS = tuple(range(18))
FRAMES = 14
BANK_BYTES = 4096
START = 0xF000

# addresses: the TIA's registers, and those of the RIOT
VSYNC, VBLANK, WSYNC, NUSIZ0, COLUP0, CTRLPF, REFP0, PF0 = 0, 1, 2, 4, 6, 0x0A, 0x0B, 0x0D
RESP0, RESP1, RESM0, RESM1, RESBL, GRP0, GRP1 = 0x10, 0x11, 0x12, 0x13, 0x14, 0x1B, 0x1C
ENAM0, ENAM1, ENABL, HMP0, HMM0, HMBL, VDELP0 = 0x1D, 0x1E, 0x1F, 0x20, 0x22, 0x24, 0x25
RESMP0, HMOVE, HMCLR, CXCLR = 0x28, 0x2A, 0x2B, 0x2C
SWCHA, SWCHB, INTIM, INSTAT, TIM1T = 0x0280, 0x0282, 0x0284, 0x0285, 0x0294

# opcodes; operands are immediate where the name does not say otherwise
LDA, LDX, LDY, LDA_ZP, LDA_ABS, LDX_ABS, LDY_ABS = 0xA9, 0xA2, 0xA0, 0xA5, 0xAD, 0xAE, 0xAC
STA_ZP, STX_ZP, STY_ZP, STA_ZP_X, STA_ABS, INC_ZP, DEC_ZP = 0x85, 0x86, 0x84, 0x95, 0x8D, 0xE6, 0xC6
LDA_ABS_X, LDA_ABS_Y, LDA_INDIRECT_Y, STA_ABS_X = 0xBD, 0xB9, 0xB1, 0x9D
BPL, BMI, BNE, BEQ, BIT_ABS, DEX, DEY, TXS, TSX = (
    0x10,
    0x30,
    0xD0,
    0xF0,
    0x2C,
    0xCA,
    0x88,
    0x9A,
    0xBA,
)
BRK, JSR, RTI, RTS, JMP, JMP_INDIRECT = 0x00, 0x20, 0x40, 0x60, 0x4C, 0x6C
PHP, PLP, PHA, PLA, SEI, SED, CLD, NOP, NOP_ZP = (
    0x08,
    0x28,
    0x48,
    0x68,
    0x78,
    0xF8,
    0xD8,
    0xEA,
    0x04,
)
JUMPS = (BRK, JSR, RTI, RTS, JMP, JMP_INDIRECT)
JAMS = (0x02, 0x12, 0x22, 0x32, 0x42, 0x52, 0x62, 0x72, 0x92, 0xB2, 0xD2, 0xF2)

# registers that decide what objects look like, and what to write to them
LOOKS: tuple[tuple[Sequence[int], Sequence[int]], ...] = (
    ((GRP0, GRP1), range(256)),
    ((ENAM0, ENAM1, ENABL), (2, 2, 0)),
    ((PF0, PF0 + 1, PF0 + 2), range(256)),
    (range(COLUP0, COLUP0 + 4), range(256)),
    ((NUSIZ0, NUSIZ0 + 1), range(64)),
    ((CTRLPF,), range(64)),
    ((REFP0, REFP0 + 1), (0, 8)),
    (range(VDELP0, RESMP0 + 2), (0, 1, 2)),
)

Piece = Callable[[random.Random], bytes]


class Program(NamedTuple):
    """A ROM image, and our name for its bank switching."""

    image: bytes
    scheme: str = "4K"


# --- pieces ---


def word(address: int) -> bytes:
    """Return an address as instructions hold it."""
    return bytes((address & 0xFF, address >> 8 & 0xFF))


def ram(rng: random.Random) -> int:
    """Choose a byte of RAM below those that the skeleton and the stack use."""
    return rng.randrange(0x80, 0xE0)


def store(rng: random.Random, register: int, value: int) -> bytes:
    """Write a register of the TIA in one of many ways."""
    load, keep = rng.choice(((LDA, STA_ZP), (LDX, STX_ZP), (LDY, STY_ZP)))
    return rng.choices(
        (
            bytes((load, value, keep, register)),
            bytes((LDA, value, STA_ABS)) + word(register | rng.choice((0, 0x40, 0x100, 0x2C00))),
            bytes((LDX, rng.randrange(64), LDA, value, STA_ZP_X, register)),  # another register
            bytes((LDA_ZP, ram(rng), STA_ZP, register)),  # what the program has seen so far
            bytes((INC_ZP, register)),  # reads a collision register first
        ),
        weights=(12, 3, 1, 3, 1),
    )[0]


def delay(rng: random.Random) -> bytes:
    """Pass a few cycles, or some dozens."""
    if rng.random() < 0.2:
        return bytes((LDX, rng.randrange(1, 40), DEX, BNE, 0xFD))
    return bytes((NOP,)) * rng.randrange(4) + bytes((NOP_ZP, 0x80)) * rng.randrange(3)


def write_any(rng: random.Random) -> bytes:
    """Write any register but VSYNC, and VBLANK seldom: nothing is seen while it is on."""
    register = rng.randrange(VBLANK, CXCLR + 8)
    value = rng.choice((0, 2, 8, 0x10, 0x55, 0xFF, rng.randrange(256)))
    if register == VBLANK and rng.random() < 0.7:
        value &= ~2
    return store(rng, register, value)


def write_graphics(rng: random.Random) -> bytes:
    """Show an object, or change its looks."""
    registers, values = rng.choice(LOOKS)
    return store(rng, rng.choice(registers), rng.choice(values))


def read_collisions(rng: random.Random) -> bytes:
    """Store a collision register or an input in RAM, at times after clearing the collisions."""
    register = rng.choice((*range(16), *range(8)))
    clear = store(rng, CXCLR, 0) if rng.random() < 0.3 else b""
    return bytes((LDA_ZP, register | rng.choice((0, 0x10, 0x30)), STA_ZP, ram(rng))) + clear


def move_objects(rng: random.Random) -> bytes:
    """Strobe HMOVE at any moment, and something that it affects soon after."""
    motion = store(rng, rng.randrange(HMP0, HMBL + 1), rng.randrange(256))
    after = rng.choice((RESP0, RESP1, RESM0, RESM1, RESBL, HMM0, HMCLR, NUSIZ0, NUSIZ0 + 1))
    return (
        motion
        + (bytes((STA_ZP, WSYNC)) if rng.random() < 0.5 else b"")
        + bytes((STA_ZP, HMOVE))
        + delay(rng)
        + store(rng, after, rng.choice((0x60, 0x70, rng.randrange(256))))
    )


def arm_stars(rng: random.Random) -> bytes:
    """Do what arms the "Cosmic Ark" stars: HMM0 from 7 to 6, 21 cycles after HMOVE."""
    wait = bytes((LDA, 0x60)) + bytes((NOP,)) * rng.choice((8, 8, 8, 7))
    begin = bytes((LDA, 0x70, STA_ZP, HMM0, LDA, 2, STA_ZP, ENAM0, STA_ZP, WSYNC, STA_ZP, HMOVE))
    return begin + wait + bytes((STA_ZP, HMM0)) + delay(rng)


def position_object(rng: random.Random) -> bytes:
    """Strobe a RESxx register at any moment, often twice."""
    register = rng.choice((RESP0, RESP1, RESM0, RESM1, RESBL))
    again = delay(rng) + bytes((STA_ZP, register)) if rng.random() < 0.5 else b""
    return delay(rng) + bytes((STA_ZP, register)) + again


def wait_for_line(rng: random.Random) -> bytes:
    """End the line, or several of them."""
    if rng.random() < 0.5:
        return bytes((STA_ZP, WSYNC))
    return bytes((LDX, rng.randrange(1, 12), STA_ZP, WSYNC, DEX, BNE, 0xFB))


def end_picture(rng: random.Random) -> bytes:
    """Switch VSYNC on or off wherever the beam is."""
    return store(rng, VSYNC, rng.choice((0, 2, 2)))


def compute(rng: random.Random) -> bytes:
    """Do anything that is no jump and no stop, mostly with RAM, and keep some of the result."""
    while (opcode := rng.randrange(256)) in JAMS or opcode in JUMPS or opcode & 0x1F == BPL:
        pass
    zero_page = rng.choice((ram(rng), ram(rng), rng.randrange(256)))
    target = rng.choice(
        (0x80 | rng.randrange(128), 0x0180 | rng.randrange(128), rng.randrange(0x40),
         0x0280 | rng.randrange(32), START + rng.randrange(BANK_BYTES), rng.randrange(0x10000))
    )  # fmt: skip
    mode = opcode & 0x1F
    if mode in (0x0C, 0x0D, 0x0E, 0x0F, 0x19, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F):
        operand = word(target)
    elif mode in (0x08, 0x0A, 0x18, 0x1A):
        operand = b""
    else:
        operand = bytes((zero_page,))
    keep = rng.choice((bytes((STA_ZP, ram(rng))), bytes((PHP, PLA, STA_ZP, ram(rng))), b""))
    return bytes((opcode,)) + operand + keep


def set_decimal(rng: random.Random) -> bytes:
    """Go to decimal mode or back."""
    return bytes((rng.choice((SED, CLD)),))


def branch(rng: random.Random) -> bytes:
    """Skip a NOP or two, or not."""
    skipped = rng.randrange(3)
    return bytes((rng.randrange(8) << 5 | BPL, skipped)) + bytes((NOP,)) * skipped


def push(rng: random.Random) -> bytes:
    """Push to, and pull from, a stack that may lie in the TIA; then repair it."""
    pointer = rng.choice((rng.randrange(0x40), rng.randrange(256), 0x00, 0x02, 0x80, 0xFF))
    moves = bytes(rng.choices((PHA, PHP, PLA), k=rng.randrange(1, 5)))
    if rng.random() < 0.3:
        moves += bytes((PLP,))  # its flags come from the TIA, decimal mode perhaps
    return bytes((LDX, pointer, TXS, LDA, rng.randrange(256))) + moves + bytes((LDX, 0xFF, TXS))


def use_timer(rng: random.Random) -> bytes:
    """Set the timer, read it soon or late, or wait until it is 0 or negative."""
    address = rng.choice((INTIM, INTIM, INSTAT, INTIM + 2, SWCHA, SWCHB))
    read = bytes((LDA_ABS,)) + word(address) + bytes((STA_ZP, ram(rng)))
    start = rng.randrange(4)
    value = (rng.randrange(256), rng.randrange(100), rng.randrange(8), rng.randrange(2))[start]
    begin = bytes((LDA, value, STA_ABS)) + word(TIM1T + start)
    load = rng.choice((LDA_ABS, LDX_ABS, LDY_ABS))
    wait = bytes((load,)) + word(INTIM) + bytes((rng.choice((BNE, BPL, BNE, BMI, BEQ)), 0xFB))
    return rng.choices(
        (begin, read, begin + delay(rng) + wait, wait, begin + delay(rng) + read),
        weights=(3, 8, 3, 0.3, 4),
    )[0]


def count_down(rng: random.Random) -> bytes:
    """Run a DEX or DEY loop, entered with anything, 0 included."""
    load, count = rng.choice(((LDX, DEX), (LDY, DEY)))
    return bytes(
        (load, rng.choice((0, 1, 2, rng.randrange(256))), count, BNE, 0xFD, STX_ZP, ram(rng))
    )


def call_ram(rng: random.Random) -> bytes:
    """Copy a subroutine into RAM, or a mirror of it, and call it there."""
    at = rng.randrange(0x80, 0xC0)
    routine = b"".join(rng.choice((write_graphics, delay))(rng) for _ in range(2))
    copy = b"".join(bytes((LDA, b, STA_ZP, at + i)) for i, b in enumerate((*routine, RTS)))
    mirror = rng.choice((0, 0, 0x100, 0x800, 0x2000, 0xE000))
    return copy + bytes((JSR,)) + word(at | mirror)


def interrupt(rng: random.Random) -> bytes:
    """Execute BRK, whose handler returns at once, or RTI to here with any flags but decimal."""
    if rng.random() < 0.5:
        return bytes((BRK, NOP))
    return bytes((LDA, rng.randrange(256) & ~8, PHA, PLP))


def hop(rng: random.Random) -> bytes:
    """Call the subroutine at the image's end in any of its mirrors."""
    return bytes((JSR,)) + word(rng.choice(MIRRORS) | SUBROUTINE)


def hop_by_pointer(rng: random.Random) -> bytes:
    """Do so by way of a JMP () whose pointer is in RAM or in ROM."""
    low, high = word(rng.choice(MIRRORS) | SUBROUTINE)
    set_pointer = bytes((LDA, low, STA_ZP, POINTER, LDA, high, STA_ZP, POINTER + 1))
    return set_pointer + bytes((JSR,)) + word(rng.choice(MIRRORS) | rng.choice(TRAMPOLINES))


def jam_at_times(rng: random.Random) -> bytes:
    """Stop for good once a counter in RAM has run down."""
    return bytes((DEC_ZP, ram(rng), BNE, 1, rng.choice(JAMS)))


def linger(rng: random.Random) -> bytes:
    """Execute more instructions than one frame may have, now and then, and go on."""
    loop = bytes((LDY, rng.randrange(20, 120), LDX, 0, DEX, BNE, 0xFD, DEY, BNE, 0xF8))
    return bytes((DEC_ZP, ram(rng), BNE, len(loop))) + loop


def hang_at_times(rng: random.Random) -> bytes:
    """Loop for ever without a write to the TIA once a counter in RAM has run down."""
    loop = rng.choice(
        (
            bytes((NOP,)),
            bytes((INC_ZP, ram(rng))),
            bytes((LDX, 0, DEX, BNE, 0xFD)),
            bytes((LDY, rng.randrange(256), DEY, BNE, 0xFD, INC_ZP, ram(rng))),
            bytes((LDA_ABS,)) + word(INTIM),
            bytes((LDA_ZP, rng.randrange(16), STA_ZP, ram(rng))),
            bytes((STA_ABS,)) + word(TIM1T + rng.randrange(4)) + bytes((LDA_ABS,)) + word(INTIM)
            + bytes((BNE, 0xFB)),
        )
    )  # fmt: skip
    body = loop + bytes((LDA, 0, BEQ, 256 - len(loop) - 4))
    return bytes((DEC_ZP, ram(rng), BNE, len(body))) + body


# --- programs ---

MIRRORS = (0x1000, 0x3000, 0x5000, 0x9000, 0xB000, 0xF000)
SUBROUTINE = 0x0FE0  # offset within a bank; TAIL is a subroutine, and BRK's handler
POINTER = 0xF4  # in RAM
TRAMPOLINES = (SUBROUTINE + 7, SUBROUTINE + 10, SUBROUTINE + 13)  # pointers in RAM, its mirror, ROM
TAIL = (
    bytes((STA_ZP, COLUP0 + 3, INC_ZP, 0xF0, RTS, NOP, RTI))
    + b"".join(
        bytes((JMP_INDIRECT,)) + word(pointer)
        for pointer in (POINTER, 0x0900 | POINTER, START + SUBROUTINE + 16)
    )
    + word(START + SUBROUTINE)
).ljust(26, bytes((NOP,)))
TIA_PIECES: dict[Piece, float] = {
    write_any: 4,
    write_graphics: 8,
    delay: 4,
    read_collisions: 4,
    move_objects: 3,
    position_object: 4,
    wait_for_line: 4,
    arm_stars: 0.5,
}
PIECES: dict[str, dict[Piece, float]] = {
    "tia": TIA_PIECES,
    "stars": TIA_PIECES | {arm_stars: 3},
    "opcodes": {compute: 20, branch: 4, push: 2, set_decimal: 2, write_graphics: 2},
    "stack": {push: 6, write_graphics: 3, delay: 2, wait_for_line: 1, hop: 1},
    "unfinished": TIA_PIECES | {end_picture: 1.5},
    "jams": TIA_PIECES | {jam_at_times: 0.1, end_picture: 0.1},
    "endless": TIA_PIECES | {linger: 2, hang_at_times: 0.05, end_picture: 0.1},
    "timer": {use_timer: 8, count_down: 3, write_graphics: 2, delay: 2, wait_for_line: 0.5},
    "long": TIA_PIECES | {wait_for_line: 12},
    "pointers": {hop_by_pointer: 3, write_graphics: 4, read_collisions: 2, delay: 2},
    "elsewhere": {call_ram: 1, interrupt: 3, hop: 3, write_graphics: 4, read_collisions: 2},
}


def setup(rng: random.Random) -> bytes:
    """Begin as programs do: the processor first, then random colours and objects."""
    objects = b"".join(write_graphics(rng) for _ in range(6))
    return bytes((SEI, CLD, LDX, 0xFF, TXS)) + objects


def frame_start(rng: random.Random) -> bytes:
    """Switch VSYNC on, wait, switch it off, which ends a frame; change the RAM a little."""
    lines = rng.choice((1, 2, 3, 3, 3))
    show = bytes((STA_ZP, VBLANK)) if rng.random() < 0.8 else b""
    on = bytes((CLD, LDX, 0xFF, TXS, LDA, 2, STA_ZP, VSYNC)) + bytes((STA_ZP, WSYNC)) * lines
    return (
        on
        + bytes((LDA, 0, STA_ZP, VSYNC))
        + show
        + bytes((INC_ZP, ram(rng), INC_ZP, ram(rng), LDA_ABS))
        + word(SWCHA)
    )


def fill(rng: random.Random, pieces: dict[Piece, float], size: int) -> bytes:
    """String pieces together, `size` bytes at most."""
    code = b""
    while True:
        piece = rng.choices(list(pieces), list(pieces.values()))[0](rng)
        if len(code) + len(piece) > size:
            return code
        code += piece


def plain_program(rng: random.Random, pieces: dict[Piece, float]) -> Program:
    """Set up, then repeat for ever: begin a frame, and run the pieces a random number of times."""
    beginning = setup(rng)
    code = beginning + frame_start(rng) + bytes((LDA, rng.randrange(1, 14), STA_ZP, 0xF1))
    body_at = len(code)
    code += fill(rng, pieces, rng.choice((100, 400, 1500, SUBROUTINE - body_at - 12)))
    code += bytes((DEC_ZP, 0xF1, BEQ, 3, JMP)) + word(START + body_at)
    code += bytes((JMP,)) + word(START + len(beginning))
    image = code.ljust(SUBROUTINE, bytes((NOP,))) + TAIL
    handler = START + SUBROUTINE + TAIL.index(RTI)
    return Program(image + word(START) + word(START) + word(handler))


def chaos(rng: random.Random) -> Program:
    """Give random bytes, whatever they do, with instructions that stop in a third of the programs.

    They contain no jumps, so that they stay in the cartridge. Code outside of it is tried by other
    pieces: what it reads from the TIA depends on the last access to the bus, which at a frame's
    start is one that ale-py makes for itself.
    """
    stops = (rng.choice(JAMS),) if rng.random() < 0.3 else ()
    left_out = (*JAMS, *JUMPS, *range(BPL, 0x100, 0x20))
    choices = [byte for byte in range(256) if byte not in left_out]
    choices += [STA_ZP, STX_ZP, LDA, *stops] * 4
    code = setup(rng) + frame_start(rng)
    while len(code) < SUBROUTINE - CHUNK:
        piece = rng.choices((write_graphics, end_picture), (10, 1))[0](rng)
        code += bytes(rng.choices(choices, k=rng.randrange(20))) + bytes((NOP, NOP)) + piece
    code += bytes((JMP,)) + word(START)
    return Program(code.ljust(BANK_BYTES - 4, bytes((NOP,))) + 2 * word(START))


HOT_SPOTS = {
    "F8": (0xFF8, 0xFF9),
    "F8SC": (0xFF8, 0xFF9),
    "F6": (0xFF6, 0xFF7, 0xFF8, 0xFF9),
    "F6SC": (0xFF6, 0xFF7, 0xFF8, 0xFF9),
    "DPC": (0xFF8, 0xFF9),
    "E0": tuple(range(0xFE0, 0xFF8)),
    "FE": (0xFFB,),  # none: address bit 13 selects the bank
    "2K": (0xFFB,),  # none
}
BANKS = {"F8": 2, "F8SC": 2, "F6": 4, "F6SC": 4, "DPC": 2, "E0": 8, "FE": 2, "2K": 1}
SIGNATURES = {"E0": bytes((0x8D, 0xE0, 0x1F)), "FE": bytes((0x20, 0x00, 0xD0, 0xC6, 0xC5))}
CHUNK = 64


def touch_hot_spot(rng: random.Random, spot: int) -> bytes:
    """Read or write a hot spot."""
    return bytes((rng.choice((BIT_ABS, LDA_ABS, STA_ABS)),)) + word(spot)


def touch_indexed(rng: random.Random, spot: int) -> bytes:
    """Do so with an index."""
    index = rng.randrange(256)
    load, indexed = rng.choice(((LDX, LDA_ABS_X), (LDX, STA_ABS_X), (LDY, LDA_ABS_Y)))
    return bytes((load, index, indexed)) + word(spot - index)


def banked_program(
    rng: random.Random, scheme: str, touch: Callable[[random.Random, int], bytes]
) -> Program:
    """Fill every bank with chunks of equal size; most of them end by touching a hot spot.

    Wherever that leads, the next chunk begins there. The last chunk jumps back to the first.
    """
    bank_bytes = {"E0": 1024, "2K": 2048}.get(scheme, BANK_BYTES)
    free_from = 0x100 if scheme.endswith("SC") or scheme == "DPC" else 0
    tail_bytes = 2 * CHUNK  # hot spots and vectors
    pieces = {piece: weight for piece, weight in TIA_PIECES.items() if piece is not write_any}
    pieces |= {read_cartridge_ram: 4, end_picture: 0.2} if free_from else {end_picture: 0.2}
    image = b""
    for bank in range(BANKS[scheme]):
        base = 0xFC00 if scheme == "E0" else 0x10000 - bank_bytes
        code = rng.randbytes(1) * free_from if scheme.endswith("SC") else rng.randbytes(free_from)
        while len(code) < bank_bytes - tail_bytes - CHUNK:
            begin = frame_start(rng) if rng.random() < 0.05 else b""
            spot = rng.choice((0x1000, 0xF000, 0xD000)) | rng.choice(HOT_SPOTS[scheme])
            end = touch(rng, spot)
            if rng.random() >= 0.7:
                end = bytes((NOP,)) * len(end)
            middle = fill(rng, pieces, CHUNK - len(begin) - len(end))
            code += (begin + middle).ljust(CHUNK - len(end), bytes((NOP,))) + end
        if scheme == "E0" and bank < BANKS[scheme] - 1 and rng.random() < 0.7:
            end = run_on(rng)  # into any slice that happens to be next to this one
            image += code.ljust(bank_bytes - len(end), bytes((NOP,))) + end
            continue
        page = rng.choice((0x1000, 0xF000, 0xD000)) if scheme in ("FE", "F8") else START
        first = page | (base & 0xFFF) + free_from
        code += frame_start(rng).ljust(CHUNK - 3, bytes((NOP,))) + bytes((JMP,)) + word(first)
        signature = (
            bytes((STA_ABS, 0xE0, 0x1F))
            if scheme == "E0"
            else bytes((0x20, 0x00, 0xD0, 0xC6, 0xC5))
        )
        marks = signature if scheme in ("E0", "FE") else b""
        code += marks.ljust(tail_bytes - 6, bytes((NOP,))) + 3 * word(base + free_from)
        image += code
    if scheme == "DPC":
        image += rng.randbytes(2048 + 255)
    return Program(image, scheme)


def run_on(rng: random.Random) -> bytes:
    """Return an instruction for the very end of a slice."""
    return rng.choice(
        (
            bytes((LDA_INDIRECT_Y, ram(rng))),
            bytes((LDA_ABS_X,)) + word(rng.choice((0x80, 0x1000, 0xF000)) + rng.randrange(0x100)),
            bytes((STA_ABS,)) + word(rng.choice((COLUP0, GRP0, 0x0180, 0x0280))),
            bytes((LDA_ZP, ram(rng))),
            bytes((NOP,)),
        )
    )


def read_cartridge_ram(rng: random.Random) -> bytes:
    """Write to the first 256 bytes of the cartridge and read from them: RAM or fetchers."""
    write = bytes((LDA, rng.randrange(256), STA_ABS)) + word(START | rng.randrange(0x100))
    return (
        write + bytes((LDA_ABS,)) + word(START | rng.randrange(0x100)) + bytes((STA_ZP, ram(rng)))
    )


KINDS = (*PIECES, "chaos", *HOT_SPOTS, "indexed")


def make_program(kind: str, seed: int) -> Program:
    """Write the program that a kind and a seed stand for."""
    rng = random.Random(f"{kind} {seed}")
    if kind in PIECES:
        return plain_program(rng, PIECES[kind])
    if kind == "chaos":
        return chaos(rng)
    if kind == "indexed":
        return banked_program(rng, rng.choice(list(HOT_SPOTS)), touch_indexed)
    return banked_program(rng, kind, touch_hot_spot)


def difference(program: Program, seed: int) -> str | None:
    """Run a program here and in ale-py with random actions, and describe the first difference."""
    with tempfile.TemporaryDirectory() as directory:
        rom = Path(directory) / f"{GAME}.bin"
        rom.write_bytes(program.image)
        ale = make_ale(rom, seed=seed, stickiness=0.0)
    console = _core.Console(
        GAME,
        program.image,
        random_seed=seed,
        repeat_action_probability=0.0,
        scheme=program.scheme,
    )
    return first_difference(
        console,
        ale,
        frames=FRAMES,
        rng=random.Random(seed),
        actions=ACTIONS,
        reset_chance=0.05,
    ).difference


def program_difference(kind: str, seed: int) -> str | None:
    """Describe the first difference in the program that a kind and a seed stand for."""
    return difference(make_program(kind, seed), seed)
