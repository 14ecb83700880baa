# SPDX-License-Identifier: MIT
"""The 6507's instructions, described once; run as a program, writes the interpreters from them.

One idea: an instruction is an operation (LDA: ``a = m; set_nz(a)``), an addressing mode (where
``m`` is) and a number of cycles. The tables below say so for all 256 opcodes, undocumented ones
included; everything after them is a translation into C++, and another one (into machine code, say)
can be written beside it.

Operations are statements in the common subset of Python and C++ over these names:
``a x y sp`` registers; ``m`` the operand, read or to be written; ``c v d i`` flags, 0 or 1;
``high`` the high byte of the effective address; ``t`` a scratch value. All are unsigned and must
be left within 8 bits. ``set_nz(r)`` sets N and Z from ``r``, ``compare(r)`` sets N, Z and C from
``r - m``, ``bit(m)``, ``adc(m)``, ``sbc(m)`` and ``arr(m)`` are BIT, ADC, SBC and ARR as a whole
(the latter three in binary or decimal), and ``N_IS_SET`` and ``Z_IS_SET`` test the two flags.

Usage: ``opcodes.py <output directory>`` writes ``opcodes_fast.inc`` and ``opcodes_bus.inc``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

# addressing modes: imp implied, acc accumulator, imm #, zp, zpx, zpy, abs, abx, aby, izx (zp,X),
# izy (zp),Y, rel branch; row: high nibble of the opcode, column: low nibble
MATRIX = """
BRK/imp ORA/izx JAM/imp SLO/izx NOP/zp  ORA/zp  ASL/zp  SLO/zp  PHP/imp ORA/imm ASL/acc ANC/imm NOP/abs ORA/abs ASL/abs SLO/abs
BPL/rel ORA/izy JAM/imp SLO/izy NOP/zpx ORA/zpx ASL/zpx SLO/zpx CLC/imp ORA/aby NOP/imp SLO/aby NOP/abx ORA/abx ASL/abx SLO/abx
JSR/abs AND/izx JAM/imp RLA/izx BIT/zp  AND/zp  ROL/zp  RLA/zp  PLP/imp AND/imm ROL/acc ANC/imm BIT/abs AND/abs ROL/abs RLA/abs
BMI/rel AND/izy JAM/imp RLA/izy NOP/zpx AND/zpx ROL/zpx RLA/zpx SEC/imp AND/aby NOP/imp RLA/aby NOP/abx AND/abx ROL/abx RLA/abx
RTI/imp EOR/izx JAM/imp SRE/izx NOP/zp  EOR/zp  LSR/zp  SRE/zp  PHA/imp EOR/imm LSR/acc ASR/imm JMP/abs EOR/abs LSR/abs SRE/abs
BVC/rel EOR/izy JAM/imp SRE/izy NOP/zpx EOR/zpx LSR/zpx SRE/zpx CLI/imp EOR/aby NOP/imp SRE/aby NOP/abx EOR/abx LSR/abx SRE/abx
RTS/imp ADC/izx JAM/imp RRA/izx NOP/zp  ADC/zp  ROR/zp  RRA/zp  PLA/imp ADC/imm ROR/acc ARR/imm JMP/ind ADC/abs ROR/abs RRA/abs
BVS/rel ADC/izy JAM/imp RRA/izy NOP/zpx ADC/zpx ROR/zpx RRA/zpx SEI/imp ADC/aby NOP/imp RRA/aby NOP/abx ADC/abx ROR/abx RRA/abx
NOP/imm STA/izx NOP/imm SAX/izx STY/zp  STA/zp  STX/zp  SAX/zp  DEY/imp NOP/imm TXA/imp ANE/imm STY/abs STA/abs STX/abs SAX/abs
BCC/rel STA/izy JAM/imp SHA/izy STY/zpx STA/zpx STX/zpy SAX/zpy TYA/imp STA/aby TXS/imp SHS/aby SHY/abx STA/abx SHX/aby SHA/aby
LDY/imm LDA/izx LDX/imm LAX/izx LDY/zp  LDA/zp  LDX/zp  LAX/zp  TAY/imp LDA/imm TAX/imp LXA/imm LDY/abs LDA/abs LDX/abs LAX/abs
BCS/rel LDA/izy JAM/imp LAX/izy LDY/zpx LDA/zpx LDX/zpy LAX/zpy CLV/imp LDA/aby TSX/imp LAS/aby LDY/abx LDA/abx LDX/aby LAX/aby
CPY/imm CMP/izx NOP/imm DCP/izx CPY/zp  CMP/zp  DEC/zp  DCP/zp  INY/imp CMP/imm DEX/imp SBX/imm CPY/abs CMP/abs DEC/abs DCP/abs
BNE/rel CMP/izy JAM/imp DCP/izy NOP/zpx CMP/zpx DEC/zpx DCP/zpx CLD/imp CMP/aby NOP/imp DCP/aby NOP/abx CMP/abx DEC/abx DCP/abx
CPX/imm SBC/izx NOP/imm ISB/izx CPX/zp  SBC/zp  INC/zp  ISB/zp  INX/imp SBC/imm NOP/imp SBC/imm CPX/abs SBC/abs INC/abs ISB/abs
BEQ/rel SBC/izy JAM/imp ISB/izy NOP/zpx SBC/zpx INC/zpx ISB/zpx SED/imp SBC/aby NOP/imp ISB/aby NOP/abx SBC/abx INC/abx ISB/abx
"""

# without the penalties for crossing a page and for a taken branch
CYCLES = """
7 6 2 8 3 3 5 5 3 2 2 2 4 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
6 6 2 8 3 3 5 5 4 2 2 2 4 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
6 6 2 8 3 3 5 5 3 2 2 2 3 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
6 6 2 8 3 3 5 5 4 2 2 2 5 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
2 6 2 6 3 3 3 3 2 2 2 2 4 4 4 4
2 6 2 6 4 4 4 4 2 5 2 5 5 5 5 5
2 6 2 6 3 3 3 4 2 2 2 2 4 4 4 4
2 5 2 5 4 4 4 4 2 4 2 4 4 4 4 4
2 6 2 8 3 3 5 5 2 2 2 2 4 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
2 6 2 8 3 3 5 5 2 2 2 2 4 4 6 6
2 5 2 8 4 4 6 6 2 4 2 7 4 4 7 7
"""

READS = {
    "ADC": "adc(m)",
    "ANC": "a = a & m; set_nz(a); c = a >> 7",
    "AND": "a = a & m; set_nz(a)",
    "ANE": "a = (a | 0xEE) & x & m; set_nz(a)",
    "ARR": "arr(m)",
    "ASR": "a = a & m; c = a & 1; a = a >> 1; set_nz(a)",
    "BIT": "bit(m)",
    "CMP": "compare(a)",
    "CPX": "compare(x)",
    "CPY": "compare(y)",
    "EOR": "a = a ^ m; set_nz(a)",
    "LAS": "sp = sp & m; a = sp; x = sp; set_nz(a)",
    "LAX": "a = m; x = m; set_nz(m)",
    "LDA": "a = m; set_nz(m)",
    "LDX": "x = m; set_nz(m)",
    "LDY": "y = m; set_nz(m)",
    "LXA": "a = (a | 0xEE) & m; x = a; set_nz(a)",
    "NOP": "",
    "ORA": "a = a | m; set_nz(a)",
    "SBC": "sbc(m)",
    "SBX": "t = a & x; c = t >= m; x = (t - m) & 255; set_nz(x)",
}
WRITES = {
    "SAX": "m = a & x",
    "SHA": "m = a & x & (high + 1)",
    "SHS": "sp = a & x; m = sp & (high + 1)",
    "SHX": "m = x & (high + 1)",
    "SHY": "m = y & (high + 1)",
    "STA": "m = a",
    "STX": "m = x",
    "STY": "m = y",
}
MODIFIES = {
    "ASL": "c = m >> 7; m = (m << 1) & 255; set_nz(m)",
    "DCP": "m = (m - 1) & 255; compare(a)",
    "DEC": "m = (m - 1) & 255; set_nz(m)",
    "INC": "m = (m + 1) & 255; set_nz(m)",
    "ISB": "m = (m + 1) & 255; sbc(m)",
    "LSR": "c = m & 1; m = m >> 1; set_nz(m)",
    "RLA": "t = c; c = m >> 7; m = ((m << 1) | t) & 255; a = a & m; set_nz(a)",
    "ROL": "t = c; c = m >> 7; m = ((m << 1) | t) & 255; set_nz(m)",
    "ROR": "t = c; c = m & 1; m = (m >> 1) | (t << 7); set_nz(m)",
    "RRA": "t = c; c = m & 1; m = (m >> 1) | (t << 7); adc(m)",
    "SLO": "c = m >> 7; m = (m << 1) & 255; a = a | m; set_nz(a)",
    "SRE": "c = m & 1; m = m >> 1; a = a ^ m; set_nz(a)",
}
REGISTERS = {
    "CLC": "c = 0",
    "CLD": "d = 0",
    "CLI": "i = 0",
    "CLV": "v = 0",
    "DEX": "x = (x - 1) & 255; set_nz(x)",
    "DEY": "y = (y - 1) & 255; set_nz(y)",
    "INX": "x = (x + 1) & 255; set_nz(x)",
    "INY": "y = (y + 1) & 255; set_nz(y)",
    "NOP": "",
    "SEC": "c = 1",
    "SED": "d = 1",
    "SEI": "i = 1",
    "TAX": "x = a; set_nz(a)",
    "TAY": "y = a; set_nz(a)",
    "TSX": "x = sp; set_nz(x)",
    "TXA": "a = x; set_nz(a)",
    "TXS": "sp = x",
    "TYA": "a = y; set_nz(a)",
}
BRANCHES = {
    "BCC": "c == 0",
    "BCS": "c != 0",
    "BEQ": "Z_IS_SET",
    "BMI": "N_IS_SET",
    "BNE": "!Z_IS_SET",
    "BPL": "!N_IS_SET",
    "BVC": "v == 0",
    "BVS": "v != 0",
}
LENGTHS = {"imp": 1, "acc": 1, "imm": 2, "zp": 2, "zpx": 2, "zpy": 2, "izx": 2, "izy": 2, "rel": 2}
LENGTHS |= {"abs": 3, "abx": 3, "aby": 3, "ind": 3}


@dataclass(frozen=True)
class Opcode:
    """One of the 256 instructions."""

    code: int
    mnemonic: str
    mode: str
    cycles: int

    @property
    def length(self) -> int:
        """Bytes of the instruction."""
        return LENGTHS[self.mode]

    @property
    def kind(self) -> str:
        """What the operation does with its operand; "control" means written by hand in cpu.cpp."""
        if self.mode == "imp":
            return "register" if self.mnemonic in REGISTERS else "control"
        if self.mode == "acc":
            return "accumulator"
        for kind, operations in {
            "read": READS,
            "write": WRITES,
            "modify": MODIFIES,
            "branch": BRANCHES,
        }.items():
            if self.mnemonic in operations:
                return kind
        return "control"

    @property
    def body(self) -> str:
        """The operation as C++ statements."""
        table = {
            "read": READS,
            "write": WRITES,
            "modify": MODIFIES,
            "register": REGISTERS,
            "accumulator": MODIFIES,
        }[self.kind]
        text = table[self.mnemonic]
        if self.kind == "accumulator":
            text = f"m = a; {text}; a = m"
        return f"{text};" if text else ""


OPCODES = [
    Opcode(code, *entry.split("/"), cycles)
    for code, (entry, cycles) in enumerate(
        zip(MATRIX.split(), map(int, CYCLES.split()), strict=True)
    )
]


def fast_handlers(opcode: Opcode) -> list[tuple[str, str]]:
    """Return (name, C++ body) of the handlers for instructions in ordinary ROM.

    The first variant of a zero-page instruction is for RAM, the second for the TIA, the third for
    WSYNC; those of a branch are for a target in the page, beyond it, and in another bank. Where a
    handler meets an address that is not for it, the instruction is run by way of the bus.
    """
    code, mode, kind = f"{opcode.code:02X}", opcode.mode, opcode.kind
    start, end = f"CYCLES({opcode.cycles});", f"NEXT({opcode.length})"
    if kind in ("register", "accumulator"):
        return [(code, f"{start} {opcode.body} {end}")]
    if kind == "branch":
        condition = BRANCHES[opcode.mnemonic]
        return [
            (f"{code}_near", f"{start} BRANCH({condition}, 1)"),
            (f"{code}_far", f"{start} BRANCH({condition}, 2)"),
            (f"{code}_away", f"BRANCH_AWAY({condition})"),
        ]
    if kind == "control":
        is_fast = opcode.mnemonic in FAST_CONTROLS and mode != "ind"
        return [(code, f"{opcode.mnemonic}({opcode.cycles})")] if is_fast else []
    if mode == "imm":
        return [(code, f"{start} m = OPERAND; {opcode.body} {end}")]

    if kind == "read":
        if mode == "zp":
            return [
                (f"{code}_ram", f"{start} m = RAM(OPERAND); {opcode.body} {end}"),
                (f"{code}_tia", f"{start} TIA_READ(OPERAND, OPERAND); {opcode.body} {end}"),
            ]
        address = {
            "zpx": "ZERO_PAGE(x)",
            "zpy": "ZERO_PAGE(y)",
            "abs": "ABSOLUTE",
            "abx": "INDEXED(x)",
            "aby": "INDEXED(y)",
            "izx": "X_INDIRECT",
            "izy": "INDIRECT_Y",
        }[mode]
        if mode in ("zpx", "zpy"):
            return [(code, f"{address}; {start} READ_ZERO_PAGE; {opcode.body} {end}")]
        can_cross = mode in ("abx", "aby", "izy")
        cycles = f"{opcode.cycles} + PAGE_PENALTY" if can_cross else f"{opcode.cycles}"
        return [(code, f"{address}; READ({cycles}); {opcode.body} {end}")]
    if mode == "zp":
        if kind == "write":
            return [
                (f"{code}_ram", f"{start} {opcode.body} RAM(OPERAND) = BYTE(m); {end}"),
                (f"{code}_tia", f"{start} {opcode.body} TIA_WRITE(OPERAND); {end}"),
                (f"{code}_wsync", f"{start} TIA_WSYNC; {end}"),
            ]
        return [
            (
                f"{code}_ram",
                f"{start} m = RAM(OPERAND); {opcode.body} RAM(OPERAND) = BYTE(m); {end}",
            )
        ]
    if mode in ("zpx", "zpy"):
        address = f"ZERO_PAGE({mode[2]})"
        if kind == "write":
            return [(code, f"{address}; {start} {opcode.body} WRITE_ZERO_PAGE; {end}")]
        return [
            (
                code,
                f"{address}; RAM_ONLY; {start} m = RAM(address); {opcode.body} RAM(address) = BYTE(m); {end}",
            )
        ]
    if opcode.mnemonic in ("STA", "STX", "STY") and mode in ("abs", "abx", "aby", "izy"):
        address = {
            "abs": "ABSOLUTE",
            "abx": "INDEXED(x)",
            "aby": "INDEXED(y)",
            "izy": "INDIRECT_Y",
        }[mode]
        return [(code, f"{address}; NOT_ROM; {start} {opcode.body} WRITE; {end}")]
    return []


# Instructions that often follow one another: any of the first with any of the second. One handler runs both, which
# saves a jump that is hard to predict. They are named by handler: mnemonic, mode and, in the zero page, what is there.
LOADS_A = "LDA/imm LDA/zp/ram LDA/zpx LDA/abs LDA/abx LDA/aby LDA/izy"
STORES = "STA/zp/tia STA/zp/wsync STX/zp/tia STY/zp/tia"
COUNTS = "DEX/imp DEY/imp INX/imp INY/imp"
SETS_FLAGS = (
    "CMP/imm CMP/zp/ram CPX/imm CPX/zp/ram CPY/imm CPY/zp/ram AND/imm DEC/zp/ram INC/zp/ram LDA/zp/ram BIT/zp/ram "
    "SBC/imm"
)
BRANCHES_NEAR = "BCC/rel/near BCS/rel/near BEQ/rel/near BMI/rel/near BNE/rel/near BPL/rel/near"
PAIRS = [
    (LOADS_A, "STA/zp/ram STA/zp/tia STA/zp/wsync"),
    ("LDX/imm LDX/zp/ram", "STX/zp/tia STA/zp/wsync LDA/zpx LDA/abx"),
    ("LDY/imm LDY/zp/ram", "STY/zp/tia STA/zp/wsync LDA/izy LDA/aby"),
    (f"{COUNTS} {SETS_FLAGS}", BRANCHES_NEAR),
    (STORES, f"{STORES} {LOADS_A} {COUNTS} LDX/zp/ram LDY/zp/ram CPY/zp/ram DEC/zp/ram"),
    ("STA/zp/ram", f"{LOADS_A} STA/zp/tia STA/zp/wsync STA/zp/ram"),
    ("SEC/imp CLC/imp", "ADC/imm ADC/zp/ram SBC/imm SBC/zp/ram"),
    ("LDA/izy", "TAX/imp TAY/imp LDY/zp/ram STX/zp/tia"),
    ("LDA/zp/ram", "AND/imm SEC/imp CLC/imp CMP/imm CMP/zp/ram"),
    ("TAX/imp TAY/imp", "LDA/izy LDA/aby LDA/zp/ram"),
    ("ASL/acc", "ASL/acc"),
    ("LSR/acc", "LSR/acc"),
    ("NOP/imp", "NOP/imp"),
]


def fused_handlers(handlers: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return (first name, second name, C++ body) of the PAIRS, made of the bodies of `handlers`."""
    codes = {
        f"{opcode.mnemonic}/{opcode.mode}": f"{opcode.code:02X}" for opcode in reversed(OPCODES)
    }

    def name(text: str) -> str:
        mnemonic, mode, *variant = text.split("/")
        return "_".join([codes[f"{mnemonic}/{mode}"], *variant])

    pairs = {
        (name(first), name(second))
        for firsts, seconds in PAIRS
        for first in firsts.split()
        for second in seconds.split()
    }
    return [
        (first, second, handlers[first].replace("NEXT", "THEN") + f" {handlers[second]}")
        for first, second in sorted(pairs)
    ]


FAST_CONTROLS = {"JMP", "JSR", "RTS", "PHA", "PLA", "PHP", "PLP"}


def bus_body(opcode: Opcode) -> str:
    """Return C++ that runs one instruction with every access on the bus, in the machine's order."""
    mode, kind = opcode.mode, opcode.kind
    if kind in ("register", "accumulator"):
        return opcode.body
    if kind == "branch":
        return f"BUS_BRANCH({BRANCHES[opcode.mnemonic]})"
    if kind == "control":
        return (
            f"BUS_{opcode.mnemonic}_{mode}"
            if opcode.mnemonic == "JMP"
            else f"BUS_{opcode.mnemonic}"
        )
    if mode == "imm":
        return f"m = FETCH; {opcode.body}"
    address = {
        "zp": "BUS_ZERO_PAGE(0)",
        "zpx": "BUS_ZERO_PAGE(x)",
        "zpy": "BUS_ZERO_PAGE(y)",
        "abs": "BUS_ABSOLUTE(0)",
        "abx": "BUS_ABSOLUTE(x)",
        "aby": "BUS_ABSOLUTE(y)",
        "izx": "BUS_X_INDIRECT",
        "izy": "BUS_INDIRECT_Y",
    }[mode]
    if kind == "read":
        penalty = " CYCLES(PAGE_PENALTY);" if mode in ("abx", "aby", "izy") else ""
        return f"{address};{penalty} m = BUS_READ; {opcode.body}"
    if kind == "write":
        high = "high = address >> 8; " if "high" in opcode.body else ""
        return f"{address}; {high}{opcode.body} BUS_WRITE;"
    return f"{address}; m = BUS_READ; {opcode.body} BUS_WRITE;"


def fast_source() -> str:
    """Return ``opcodes_fast.inc``: the handlers' names, bodies and the table for decoding."""
    handlers = [fast_handlers(opcode) for opcode in OPCODES]
    bodies = dict(handler for group in handlers for handler in group)
    fused = fused_handlers(bodies)
    lines = ["// Generated by opcodes.py.", "#ifdef RNDFAST_HANDLER"]
    lines += [f"RNDFAST_HANDLER({name}, {body})" for name, body in bodies.items()]
    lines += [f"RNDFAST_HANDLER({first}_{second}, {body})" for first, second, body in fused]
    lines += ["#endif", "#ifdef RNDFAST_FUSED"]
    lines += [f"RNDFAST_FUSED({first}, {second})" for first, second, _ in fused]
    lines += ["#endif", "#ifdef RNDFAST_DECODE"]
    first_handler = 0
    for opcode, group in zip(OPCODES, handlers, strict=True):
        mode = f"Mode::k_{opcode.mode}"
        lines.append(f"RNDFAST_DECODE({opcode.length}, {mode}, {len(group)}, {first_handler})")
        first_handler += len(group)
    return "\n".join([*lines, "#endif", ""])


def bus_source() -> str:
    """Return ``opcodes_bus.inc``: a case per opcode."""
    lines = ["// Generated by opcodes.py."]
    lines += [
        f"case 0x{opcode.code:02X}: {{ CYCLES({opcode.cycles}); {bus_body(opcode)} break; }}"
        for opcode in OPCODES
    ]
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the generated files."""
    directory = Path(sys.argv[1])
    (directory / "opcodes_fast.inc").write_text(fast_source())
    (directory / "opcodes_bus.inc").write_text(bus_source())


if __name__ == "__main__":
    main()
