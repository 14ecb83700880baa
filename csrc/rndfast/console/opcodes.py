# SPDX-License-Identifier: MIT
"""The 6507's instructions, described once, as data: all 256 opcodes, undocumented ones included.

An instruction is an operation (LDA: ``a = m; set_nz(m)``), an addressing mode (where ``m`` is) and a
number of cycles. Everything that runs instructions is written from the tables below: the two
interpreters in C++ by write_interpreters.py, and other translations can be added beside it.

Operations are Python statements, for `ast.parse`, over these names:

=====================  ============================================================================
``a x y sp``           registers, 8 bits
``pc``                 the program counter, 16 bits, beyond all bytes fetched so far
``c v d i``            flags that are kept as such, 0 or 1
``n z``                flags that are only read here; ``set_nz`` and others set them
``flags``              all flags, as PHP and BRK push them
``m``                  the operand: read before a read or modify operation, written after a modify
                       or write operation
``address``, ``high``  its effective address, and the high byte of that
``t``                  a value that is gone after the instruction
``set_nz(r)``          n and z tell about r
``compare(r)``         n, z and c tell about r - m
``bit(m)``             n and v are bits 7 and 6 of m, z tells about a & m
``adc(m) sbc(m)``      a = a + m + c or a - m - (1 - c), binary or decimal; sets n, z, c, v
``arr(m)``             ARR as a whole, which also depends on ``d``
``set_flags(r)``       all flags, as PLP and RTI pull them
``fetch()``            the byte at pc, which moves on
``peek()``             a read at the stack pointer, of which nothing is used
``push(r)``, ``pull()``  write a byte to the stack, read one from it
``read_word(r)``       the 16 bits at an address
``jam()``              stop until a reset
=====================  ============================================================================

All values are unsigned, and what is assigned to a name must fit it. ``fetch``, ``peek``, ``push``,
``pull`` and ``read_word`` are accesses on the bus in the order in which they are written. Where none
is written, the addressing mode fetches the operand, and accesses of ``m`` follow.
"""

from __future__ import annotations

from dataclasses import dataclass

# Mnemonic and addressing mode: imp none, acc accumulator, imm #, zp, zpx, zpy, abs, abx, aby, ind
# (address), izx (zp,X), izy (zp),Y, rel branch, own: the operation fetches its operand itself.
# Row: high nibble of the opcode, column: low nibble.
MATRIX = """
BRK/own ORA/izx JAM/imp SLO/izx NOP/zp  ORA/zp  ASL/zp  SLO/zp  PHP/imp ORA/imm ASL/acc ANC/imm NOP/abs ORA/abs ASL/abs SLO/abs
BPL/rel ORA/izy JAM/imp SLO/izy NOP/zpx ORA/zpx ASL/zpx SLO/zpx CLC/imp ORA/aby NOP/imp SLO/aby NOP/abx ORA/abx ASL/abx SLO/abx
JSR/own AND/izx JAM/imp RLA/izx BIT/zp  AND/zp  ROL/zp  RLA/zp  PLP/imp AND/imm ROL/acc ANC/imm BIT/abs AND/abs ROL/abs RLA/abs
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
    "BCC": "not c",
    "BCS": "c",
    "BEQ": "z",
    "BMI": "n",
    "BNE": "not z",
    "BPL": "not n",
    "BVC": "not v",
    "BVS": "v",
}
CONTROLS = {
    "BRK": "fetch(); push(pc >> 8); push(pc & 255); push(flags); i = 1; pc = read_word(0xFFFE)",
    "JAM": "jam()",
    "JMP": "pc = address",
    "JSR": "t = fetch(); peek(); push(pc >> 8); push(pc & 255); pc = t | fetch() << 8",
    "PHA": "push(a)",
    "PHP": "push(flags)",
    "PLA": "peek(); a = pull(); set_nz(a)",
    "PLP": "peek(); set_flags(pull())",
    "RTI": "peek(); set_flags(pull()); t = pull(); pc = t | pull() << 8",
    "RTS": "peek(); t = pull(); pc = t | pull() << 8; fetch()",
}
# bytes after the opcode
OPERAND_BYTES = {"imp": 0, "acc": 0, "imm": 1, "zp": 1, "zpx": 1, "zpy": 1, "izx": 1, "izy": 1}
OPERAND_BYTES |= {"rel": 1, "abs": 2, "abx": 2, "aby": 2, "ind": 2}
OWN_OPERAND_BYTES = {"BRK": 1, "JSR": 2}

KINDS = {
    "read": READS,  # uses m
    "write": WRITES,  # sets m
    "modify": MODIFIES,  # uses and sets m, in memory or in the accumulator
    "register": REGISTERS,  # has no m
    "branch": BRANCHES,  # the condition on which pc moves by m, signed
    "control": CONTROLS,  # moves pc, or uses the stack
}


@dataclass(frozen=True)
class Opcode:
    """One of the 256 instructions."""

    code: int
    mnemonic: str
    mode: str
    cycles: int  # without the penalties for crossing a page and for a taken branch

    @property
    def name(self) -> str:
        """Mnemonic and addressing mode; opcodes of the same name do the same in the same time."""
        return f"{self.mnemonic}_{self.mode}"

    @property
    def length(self) -> int:
        """Bytes of the instruction."""
        if self.mode == "own":
            return 1 + OWN_OPERAND_BYTES[self.mnemonic]
        return 1 + OPERAND_BYTES[self.mode]

    @property
    def kind(self) -> str:
        """What the operation does with its operand, a key of KINDS."""
        if self.mnemonic == "NOP":  # reads its operand if it has one
            return "register" if self.mode == "imp" else "read"
        return next(kind for kind, table in KINDS.items() if self.mnemonic in table)

    @property
    def operation(self) -> str:
        """What it does, as statements; of a branch, its condition."""
        text = KINDS[self.kind][self.mnemonic]
        return f"m = a; {text}; a = m" if self.mode == "acc" else text


OPCODES = [
    Opcode(code, *entry.split("/"), cycles)
    for code, (entry, cycles) in enumerate(
        zip(MATRIX.split(), map(int, CYCLES.split()), strict=True)
    )
]
