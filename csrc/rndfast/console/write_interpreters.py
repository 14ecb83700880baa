# SPDX-License-Identifier: MIT
"""Writes the C++ of both interpreters of the 6507, and the decoder's tables, from opcodes.py.

Usage: ``write_interpreters.py <output directory>``. The files are lists of macro calls:

- ``fast_handlers.inc``: ``RNDFAST_HANDLER(name, body)``, what fast_interpreter.cpp runs
- ``decoder_tables.inc``: ``RNDFAST_DECODE(length, mode, number of handlers, first handler, handler
  if the next instruction is elsewhere)`` for each opcode, and ``RNDFAST_FUSED(first handler, second
  handler)``
- ``bus_cases.inc``: a case for each opcode, what bus_interpreter.cpp runs

The macros in the bodies are defined where the bodies are included.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from opcodes import OPCODES, Opcode

OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.GtE: ">=",
}


class Translation:
    """Operations as C++; their functions, and the flags that are not variables, become macros."""

    def __init__(self) -> None:
        self.names = {"n": "N_IS_SET", "z": "Z_IS_SET", "flags": "FLAGS"}

    def statements(self, text: str) -> str:
        """Translate statements."""
        return " ".join(self.statement(node) for node in ast.parse(text).body)

    def condition(self, text: str) -> str:
        """Translate an expression."""
        return self.expression(ast.parse(text, mode="eval").body)

    def statement(self, node: ast.stmt) -> str:
        """Translate an assignment or a call."""
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return self.assignment(node.targets[0].id, self.expression(node.value))
        assert isinstance(node, ast.Expr)
        call = self.expression(node.value)
        return f"{call};" if call else ""

    def assignment(self, name: str, value: str) -> str:
        """Give a name a value that is C++."""
        return f"{name} = {value};"

    def call(self, function: str, arguments: list[str]) -> str:
        """Call a function with arguments that are C++."""
        return f"{function.upper()}({', '.join(arguments)})"

    def expression(self, node: ast.expr) -> str:
        """Translate a value."""
        match node:
            case ast.Constant(value=value):
                return str(value)
            case ast.Name(id=name):
                return self.names.get(name, name)
            case ast.BinOp(left=left, op=operator, right=right):
                first, second = self.expression(left), self.expression(right)
                return f"({first} {OPERATORS[type(operator)]} {second})"
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                first, second = self.expression(left), self.expression(right)
                return f"({first} {OPERATORS[type(operator)]} {second})"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return f"!{self.expression(operand)}"
            case ast.Call(func=ast.Name(id=function), args=arguments):
                return self.call(function, [self.expression(argument) for argument in arguments])
        raise ValueError(f"operations must not contain '{ast.unparse(node)}'")


def translated(opcode: Opcode) -> str:
    """Return an instruction's operation as C++."""
    return Translation().statements(opcode.operation)


# --- the fast interpreter: instructions in ordinary ROM ---


class FastControl(Translation):
    """A control operation whose stack is in RAM and whose target is in ROM.

    A single byte may also go to the TIA or come from there. Whether all that is so is checked
    before anything is changed, because if not, the whole instruction is left to the other
    interpreter. So values are substituted, not assigned, until all are known, and the stack pointer
    moves last.
    """

    def __init__(self, opcode: Opcode) -> None:
        super().__init__()
        self.opcode = opcode
        self.pulls_one = opcode.operation.count("pull()") == 1
        self.num_fetched = self.num_pulled = 0
        self.pushed: list[str] = []
        self.checks = f"{ADDRESSES[opcode.mode]};" if opcode.mode in ADDRESSES else ""
        self.has_target = False
        self.effects = self.statements(opcode.operation)

    def expression(self, node: ast.expr) -> str:
        """Translate a value; pc is beyond what has been fetched."""
        self.names["pc"] = f"(PC + {1 + self.num_fetched})"
        return super().expression(node)

    def statement(self, node: ast.stmt) -> str:
        """Leave out a fetch of which nothing is used."""
        text = super().statement(node)
        return "" if text.startswith("OPERAND_BYTE") else text

    def assignment(self, name: str, value: str) -> str:
        """Remember the target, substitute t later, and let the rest happen after the checks."""
        if name == "t":
            self.names["t"] = value
        elif name == "pc":
            self.has_target = True
            self.checks += f" address = {value}; ROM_ONLY;"
        else:
            return super().assignment(name, value)
        return ""

    def call(self, function: str, arguments: list[str]) -> str:
        """Replace what is fetched and pulled, and remember what is pushed."""
        if function == "peek":  # RAM does not mind
            return ""
        if function == "pull":
            self.num_pulled += 1
            return "m" if self.pulls_one else f"PULLED({self.num_pulled})"
        if function == "push":
            self.pushed.append(arguments[0])
            return ""
        if function == "fetch" and self.has_target:  # one byte at the target, of no use
            self.checks = self.checks.replace("ROM_ONLY;", "PLAIN_ROM_AND_NEXT_ONLY; address += 1;")
            return ""
        if function == "fetch":
            self.num_fetched += 1
            return f"OPERAND_BYTE({self.num_fetched - 1})"
        if function == "read_word":
            self.checks += f" POINTER({arguments[0]});"
            return "address"
        return super().call(function, arguments)

    def body(self) -> str:
        """The handler's body."""
        cycles = f"CYCLES({self.opcode.cycles});"
        end = "JUMP(address); DISPATCH;" if self.has_target else f"NEXT({self.opcode.length})"
        if len(self.pushed) == 1:
            return f"{cycles} PUSH({self.pushed[0]}); {self.effects} {end}"
        if self.pulls_one:
            pull = f"PULL({self.opcode.code});"
            return f"STACK_IS_NOT_EMPTY; {cycles} {pull} {self.effects} {end}"
        parts = [self.checks, cycles]
        if self.num_pulled > 0:
            parts = [
                f"STACK_HOLDS({self.num_pulled});",
                *parts,
                self.effects,
                f"sp += {self.num_pulled};",
            ]
        if self.pushed:
            parts = [f"STACK_TAKES({len(self.pushed)});", *parts]
            parts += [f"RAM(sp - {i}) = BYTE({value});" for i, value in enumerate(self.pushed)]
            parts += [f"sp -= {len(self.pushed)};", self.effects]
        return " ".join([*parts, end])


# Effective addresses. Those that have to be read leave the instruction to the other interpreter if
# that is not easy.
ADDRESSES = {
    "zpx": "ZERO_PAGE(x)",
    "zpy": "ZERO_PAGE(y)",
    "abs": "ABSOLUTE",
    "abx": "INDEXED(x)",
    "aby": "INDEXED(y)",
    "ind": "POINTER(OPERAND)",
    "izx": "X_INDIRECT",
    "izy": "INDIRECT_Y",
}
CAN_CROSS_PAGE = {"abx", "aby", "izy"}
TABLE_INDICES = {"abs": "0U", "abx": "x", "aby": "y"}


def fast_handlers(opcode: Opcode) -> list[tuple[str, str]]:
    """Return (name, C++ body) of the handlers for instructions in ordinary ROM.

    The first variant of a zero-page instruction is for RAM, the second for the TIA, the third for
    WSYNC; those of a branch are for a target in the page, beyond it, and in another bank; the
    second one of other instructions is for what may switch banks, or is not followed by the next
    byte of ROM. Where a handler meets an address that is not for it, the instruction is run by way
    of the bus.
    """
    name, mode, kind = opcode.name, opcode.mode, opcode.kind
    start, end = f"CYCLES({opcode.cycles});", f"NEXT({opcode.length})"
    find_next = f"FIND_NEXT({opcode.length})"
    if kind == "branch":
        condition = Translation().condition(opcode.operation)
        return [
            (f"{name}_near", f"{start} BRANCH({condition}, 1)"),
            (f"{name}_far", f"{start} BRANCH({condition}, 2)"),
            (f"{name}_away", f"BRANCH_AWAY({condition})"),
        ]
    if kind == "control":
        return [(name, FastControl(opcode).body())] if opcode.mnemonic != "JAM" else []
    operation = translated(opcode)
    if mode in ("imp", "acc"):
        return [(name, f"{start} {operation} {end}")]
    if mode == "imm":
        return [(name, f"{start} m = OPERAND; {operation} {end}")]
    if mode == "zp":
        return zero_page_handlers(name, kind, start, operation, end)
    address = f"{ADDRESSES[mode]};"
    if kind == "modify":
        change = f"m = RAM(address); {operation} RAM(address) = BYTE(m);"
        return [(name, f"{address} RAM_ONLY; {start} {change} {end}")]
    if mode in ("zpx", "zpy"):
        access = (
            f"READ_ZERO_PAGE; {operation}" if kind == "read" else f"{operation} WRITE_ZERO_PAGE(2);"
        )
        return [(name, f"{address} {start} {access} {end}")]
    if kind == "read":
        cycles = f"{opcode.cycles} + PAGE_PENALTY" if mode in CAN_CROSS_PAGE else opcode.cycles
        return [
            (name, f"{address} READ({cycles}, {name}_anywhere); {operation} {end}"),
            (f"{name}_anywhere", f"{address} READ_ANYWHERE({cycles}); {operation} {find_next}"),
            *rom_handlers(opcode, operation, end),
        ]
    if opcode.mnemonic in ("STA", "STX", "STY") and mode != "izx":
        return [
            (
                name,
                f"{address} NOT_ROM({name}_anywhere); {start} {operation} WRITE({opcode.length}); {end}",
            ),
            (f"{name}_anywhere", f"{address} {start} {operation} WRITE_ANYWHERE; {find_next}"),
        ]
    return []


def rom_handlers(opcode: Opcode, operation: str, end: str) -> list[tuple[str, str]]:
    """Return the handler of an instruction that reads ROM whose bank is known beforehand."""
    if opcode.mode not in TABLE_INDICES:
        return []
    read = f"READ_ROM({TABLE_INDICES[opcode.mode]}, {opcode.cycles});"
    return [(f"{opcode.name}_rom", f"{read} {operation} {end}")]


def zero_page_handlers(
    name: str, kind: str, start: str, operation: str, end: str
) -> list[tuple[str, str]]:
    """Return the handlers of an instruction whose address is known when it is decoded."""
    if kind == "read":
        return [
            (f"{name}_ram", f"{start} m = RAM_OPERAND; {operation} {end}"),
            (f"{name}_tia", f"{start} TIA_READ(OPERAND, OPERAND); {operation} {end}"),
        ]
    if kind == "write":
        return [
            (f"{name}_ram", f"{start} {operation} RAM_OPERAND = BYTE(m); {end}"),
            (f"{name}_tia", f"{start} {operation} TIA_WRITE(OPERAND, 2); {end}"),
            (f"{name}_wsync", f"{start} TIA_WSYNC(2); {end}"),
        ]
    return [
        (f"{name}_ram", f"{start} m = RAM_OPERAND; {operation} RAM_OPERAND = BYTE(m); {end}"),
        (
            f"{name}_tia",
            f"{start} TIA_READ(OPERAND, OPERAND); {operation} TIA_WRITE(OPERAND, 2); {end}",
        ),
    ]


# Handlers that often follow one another: any of the first with any of the second. One handler runs
# both, which saves a jump that is hard to predict.
LOADS_A = "LDA_imm LDA_zp_ram LDA_zpx LDA_abs LDA_abx_rom LDA_aby_rom LDA_izy"
STORES = "STA_zp_tia STA_zp_wsync STX_zp_tia STY_zp_tia"
COUNTS = "DEX_imp DEY_imp INX_imp INY_imp"
SETS_FLAGS = (
    "CMP_imm CMP_zp_ram CPX_imm CPX_zp_ram CPY_imm CPY_zp_ram AND_imm SBC_imm "
    "DEC_zp_ram INC_zp_ram LDA_zp_ram BIT_zp_ram"
)
BRANCHES_NEAR = "BCC_rel_near BCS_rel_near BEQ_rel_near BMI_rel_near BNE_rel_near BPL_rel_near"
PAIRS = [
    (LOADS_A, "STA_zp_ram STA_zp_tia STA_zp_wsync"),
    ("LDX_imm LDX_zp_ram", "STX_zp_tia STA_zp_wsync LDA_zpx LDA_abx_rom"),
    ("LDY_imm LDY_zp_ram", "STY_zp_tia STA_zp_wsync LDA_izy LDA_aby_rom"),
    (f"{COUNTS} {SETS_FLAGS}", BRANCHES_NEAR),
    (STORES, f"{STORES} {LOADS_A} {COUNTS} LDX_zp_ram LDY_zp_ram CPY_zp_ram DEC_zp_ram"),
    ("STA_zp_ram", f"{LOADS_A} STA_zp_tia STA_zp_wsync STA_zp_ram"),
    ("SEC_imp CLC_imp", "ADC_imm ADC_zp_ram SBC_imm SBC_zp_ram"),
    ("LDA_izy", "TAX_imp TAY_imp LDY_zp_ram STX_zp_tia"),
    ("LDA_zp_ram", "AND_imm SEC_imp CLC_imp CMP_imm CMP_zp_ram"),
    ("TAX_imp TAY_imp", "LDA_izy LDA_aby_rom LDA_zp_ram"),
    ("ASL_acc", "ASL_acc"),
    ("LSR_acc", "LSR_acc"),
    ("NOP_imp", "NOP_imp"),
]


def fused_pairs() -> list[tuple[str, str]]:
    """Return the names of all PAIRS."""
    return sorted(
        {
            (first, second)
            for firsts, seconds in PAIRS
            for first in firsts.split()
            for second in seconds.split()
        }
    )


# Branches back to the start of loops that do nothing but wait: for the timer or its flag (LDA INTIM;
# BNE), or to count down (DEX; BNE). The decoder finds them. Each loop goes on while the condition is
# true: for what it reads of the timer between two values, or down to a last value of a register.
WAITS_FOR_TIMER = {
    "timer_BNE": ("!Z_IS_SET", 1, 255),
    "timer_BPL": ("!N_IS_SET", 0, 127),
    "timer_BMI": ("N_IS_SET", 128, 255),
    "flag_BPL": ("!N_IS_SET", 0, 255),
}
WAITS_FOR_COUNT = {"BNE": ("!Z_IS_SET", 1), "BPL": ("!N_IS_SET", 0)}


def waiting_handlers() -> list[tuple[str, str]]:
    """Return the handlers of branches that end a loop which only waits, in the page and beyond."""
    loops = {
        f"wait_{name}": f"WAIT_FOR_TIMER({condition}, CYCLES_OF_JUMP, {least}, {most})"
        for name, (condition, least, most) in WAITS_FOR_TIMER.items()
    }
    for branch, (condition, last) in WAITS_FOR_COUNT.items():
        for register in "xy":
            body = f"WAIT_FOR_COUNT({condition}, CYCLES_OF_JUMP, {register}, {last})"
            loops[f"wait_{register}_{branch}"] = body
    return [
        (f"{name}_{where}", body.replace("CYCLES_OF_JUMP", str(cycles)))
        for name, body in loops.items()
        for cycles, where in enumerate(("near", "far"), start=1)
    ]


def fast_source() -> str:
    """Return ``fast_handlers.inc``."""
    bodies = dict(handler for opcode in OPCODES for handler in fast_handlers(opcode))
    lines = [f"RNDFAST_HANDLER({name}, {body})" for name, body in bodies.items()]
    for first, second in fused_pairs():
        both = f"{bodies[first].replace('NEXT', 'THEN')} {bodies[second]}"
        lines.append(f"RNDFAST_HANDLER({first}_then_{second}, {both})")
    lines += [f"RNDFAST_HANDLER({name}, {body})" for name, body in waiting_handlers()]
    return "\n".join(lines)


# --- the decoder ---


def decoder_source() -> str:
    """Return ``decoder_tables.inc``."""
    lines = ["#ifdef RNDFAST_DECODE"]
    for opcode in OPCODES:
        names = [name for name, _ in fast_handlers(opcode)]
        first = names[0] if names else "bus"
        anywhere = next((name for name in names if name.endswith("_anywhere")), "bus")
        arguments = f"{opcode.length}, {opcode.mode}, {len(names)}, {first}, {anywhere}"
        lines.append(f"RNDFAST_DECODE({arguments})")
    lines += ["#endif", "#ifdef RNDFAST_FUSED"]
    lines += [f"RNDFAST_FUSED({first}, {second})" for first, second in fused_pairs()]
    return "\n".join([*lines, "#endif"])


# --- the interpreter that makes every access on the bus ---

BUS_ADDRESSES = {
    "zp": "BUS_ZERO_PAGE(0)",
    "zpx": "BUS_ZERO_PAGE(x)",
    "zpy": "BUS_ZERO_PAGE(y)",
    "abs": "BUS_ABSOLUTE(0)",
    "abx": "BUS_ABSOLUTE(x)",
    "aby": "BUS_ABSOLUTE(y)",
    "ind": "BUS_INDIRECT",
    "izx": "BUS_X_INDIRECT",
    "izy": "BUS_INDIRECT_Y",
}


def bus_body(opcode: Opcode) -> str:
    """Return C++ that runs one instruction with every access on the bus, in the machine's order."""
    mode, kind = opcode.mode, opcode.kind
    if kind == "branch":
        return f"BUS_BRANCH({Translation().condition(opcode.operation)})"
    operation = translated(opcode)
    if mode in ("imp", "acc", "own"):
        return operation
    if mode == "imm":
        return f"m = FETCH(); {operation}"
    address = f"{BUS_ADDRESSES[mode]};"
    if kind == "control":
        return f"{address} {operation}"
    if kind == "read":
        penalty = " CYCLES(PAGE_PENALTY);" if mode in CAN_CROSS_PAGE else ""
        return f"{address}{penalty} m = BUS_READ; {operation}"
    if kind == "write":
        high = "high = address >> 8; " if "high" in opcode.operation else ""
        return f"{address} {high}{operation} BUS_WRITE;"
    return f"{address} m = BUS_READ; {operation} BUS_WRITE;"


def bus_source() -> str:
    """Return ``bus_cases.inc``."""
    return "\n".join(
        f"case 0x{opcode.code:02X}: {{ CYCLES({opcode.cycles}); {bus_body(opcode)} break; }}"
        for opcode in OPCODES
    )


def main() -> None:
    """Write the generated files."""
    directory = Path(sys.argv[1])
    sources = {
        "fast_handlers.inc": fast_source(),
        "decoder_tables.inc": decoder_source(),
        "bus_cases.inc": bus_source(),
    }
    for name, source in sources.items():
        text = f"// Generated by write_interpreters.py from opcodes.py.\n{source}\n"
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
