// SPDX-License-Identifier: MIT
#include "rndfast/console/cpu.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"

// Labels as values: jumping from each instruction to the next one predicts better than one switch for all.
#pragma GCC diagnostic ignored "-Wpedantic"

namespace rndfast {
namespace {

// --- decoding ---

enum class Mode : std::uint8_t {
  k_imp,
  k_acc,
  k_imm,
  k_zp,
  k_zpx,
  k_zpy,
  k_abs,
  k_abx,
  k_aby,
  k_ind,
  k_izx,
  k_izy,
  k_rel
};

enum Handler : std::uint16_t {
#define RNDFAST_HANDLER(name, ...) kHandler_##name,
#include "opcodes_fast.inc"
#undef RNDFAST_HANDLER
  // loops that only wait, found when decoding
  kHandler_wait_timer_zero,
  kHandler_wait_timer_negative,
  kHandler_wait_x,
  kHandler_wait_y,
  kHandler_bus,
};

struct DecodeRule {
  std::uint8_t length;
  Mode mode;
  std::uint8_t num_handlers;
  std::uint16_t first_handler;
};

constexpr std::array<DecodeRule, 256> kDecodeRules = {{
#define RNDFAST_DECODE(length, mode, num_handlers, first_handler) {length, mode, num_handlers, first_handler},
#include "opcodes_fast.inc"
#undef RNDFAST_DECODE
}};

struct FusedPair {
  std::uint16_t first, second, both;
};

constexpr FusedPair kFusedPairs[] = {
#define RNDFAST_FUSED(first, second) {kHandler_##first, kHandler_##second, kHandler_##first##_##second},
#include "opcodes_fast.inc"
#undef RNDFAST_FUSED
};

enum OpcodeNumber : std::uint8_t {
  BPL = 0x10,
  BNE = 0xD0,
  LDA_abs = 0xAD,
  LDX_abs = 0xAE,
  LDY_abs = 0xAC,
  DEX = 0xCA,
  DEY = 0x88
};

/// The handler of a branch that is its loop's last instruction, if the loop does nothing but wait.
Handler waiting_handler(std::span<const std::uint8_t> rom, unsigned offset, unsigned target) {
  const unsigned opcode = rom[offset];
  if (opcode != BNE && opcode != BPL) return kHandler_bus;
  if (target + 3 == offset) {
    const unsigned load = rom[target];
    const unsigned address = rom[target + 1] | unsigned{rom[target + 2]} << 8;
    if ((load == LDA_abs || load == LDX_abs || load == LDY_abs) && riot::is_timer(address)) {
      return opcode == BNE ? kHandler_wait_timer_zero : kHandler_wait_timer_negative;
    }
  }
  if (target + 1 == offset && opcode == BNE) {
    if (rom[target] == DEX) return kHandler_wait_x;
    if (rom[target] == DEY) return kHandler_wait_y;
  }
  return kHandler_bus;
}

constexpr unsigned kLowPageByte = 0xFF;

bool is_same_page(unsigned a, unsigned b) { return ((a ^ b) & ~kLowPageByte) == 0; }

using IsDecodable = std::function<bool(unsigned offset, unsigned length)>;

DecodedInstruction decode_single(std::span<const std::uint8_t> rom, unsigned offset, const IsDecodable& is_decodable) {
  const DecodeRule rule = kDecodeRules[rom[offset]];
  if (rule.num_handlers == 0 || !is_decodable(offset, rule.length)) return {kHandler_bus, 0};
  unsigned operand = 0;
  if (rule.length > 1) operand = rom[offset + 1];
  if (rule.length > 2) operand |= unsigned{rom[offset + 2]} << 8;
  unsigned handler = rule.first_handler;
  if (rule.mode == Mode::k_zp) {
    if ((operand & 0x80) == 0) {
      if (rule.num_handlers < 2) return {kHandler_bus, 0};
      ++handler;
      if (rule.num_handlers > 2 && (operand & 0x3F) == tia::WSYNC) ++handler;
    }
  } else if (rule.mode == Mode::k_rel) {
    const unsigned next = offset + 2;
    const unsigned target = next + operand - ((operand & 0x80) != 0 ? 0x100U : 0U);
    const auto [begin, end] = std::minmax(offset, target);
    operand = static_cast<std::uint16_t>(target - next);
    if (target >= rom.size() || !is_decodable(begin, end - begin + 1)) {
      handler += 2;  // perhaps into another bank
    } else if (!is_same_page(next, target)) {
      ++handler;
    } else if (const Handler waiting = waiting_handler(rom, offset, target); waiting != kHandler_bus) {
      handler = waiting;
    }
  }
  return {static_cast<std::uint16_t>(handler), static_cast<std::uint16_t>(operand)};
}

}  // namespace

DecodedInstruction decode_instruction(std::span<const std::uint8_t> rom, unsigned offset,
                                      const std::function<bool(unsigned offset, unsigned length)>& is_decodable) {
  DecodedInstruction instruction = decode_single(rom, offset, is_decodable);
  if (instruction.handler == kHandler_bus) return instruction;
  const unsigned next = offset + kDecodeRules[rom[offset]].length;
  const unsigned next_handler = decode_single(rom, next, is_decodable).handler;
  for (const FusedPair& pair : kFusedPairs) {
    if (pair.first == instruction.handler && pair.second == next_handler) instruction.handler = pair.both;
  }
  return instruction;
}

namespace {

// --- arithmetic ---

constexpr unsigned from_bcd(unsigned byte) { return 10 * (byte >> 4) + (byte & 15); }
constexpr unsigned to_bcd(unsigned value) { return value % 100 / 10 << 4 | value % 10; }

struct Sum {
  unsigned value, carry, overflow;
};

inline Sum add_binary(unsigned a, unsigned m, unsigned carry) {
  const unsigned sum = a + m + carry;
  return {sum & 0xFF, sum >> 8, (~(a ^ m) & (a ^ sum)) >> 7 & 1};
}

Sum add_decimal(unsigned a, unsigned m, unsigned carry) {
  const unsigned sum = from_bcd(a) + from_bcd(m) + carry;
  const unsigned value = to_bcd(sum & 0xFF);
  return {value, sum > 99 ? 1U : 0U, ((a ^ value) & (value ^ m)) >> 7 & 1};
}

Sum subtract_decimal(unsigned a, unsigned m, unsigned carry) {
  const unsigned borrow = 1 - carry;
  int difference = static_cast<int>(from_bcd(a)) - static_cast<int>(from_bcd(m) + borrow);
  if (difference < 0) difference += 100;
  // operands that are not decimal can leave it negative; the original then reads its table below the start
  const unsigned value = difference >= 0 ? to_bcd(static_cast<unsigned>(difference))
                                         : from_bcd(static_cast<unsigned>(256 + difference)) & 0xFF;
  return {value, a >= m + borrow ? 1U : 0U, ((a ^ value) & (value ^ m)) >> 7 & 1};
}

/// What ARR leaves in A, C and V, given A & operand rotated right.
Sum arrange_binary(unsigned rotated) { return {rotated, rotated >> 6 & 1, (rotated >> 6 ^ rotated >> 5) & 1}; }

/// The same in decimal mode, given A & operand and C.
Sum arrange_decimal(unsigned t, unsigned carry) {
  unsigned value = t >> 1 | carry << 7;
  const unsigned overflow = (t ^ value) >> 6 & 1;
  if ((t & 0x0F) + (t & 0x01) > 0x05) value = (value & 0xF0) | ((value + 6) & 0x0F);
  unsigned carry_out = 0;
  if ((t & 0xF0) + (t & 0x10) > 0x50) {
    value = (value + 0x60) & 0xFF;
    carry_out = 1;
  }
  return {value, carry_out, overflow};
}

// The registers as local variables, and the operations on them that opcodes.py names. Macros, because a lambda that the
// compiler does not inline would force the variables into memory.
#define RNDFAST_LOAD_REGISTERS                                                     \
  a = cpu.a, x = cpu.x, y = cpu.y, sp = cpu.sp, nz = cpu.nz, c = cpu.c, v = cpu.v; \
  d = cpu.d, i = cpu.i, cycle = state.cycle
#define RNDFAST_STORE_REGISTERS            \
  cpu.a = static_cast<std::uint8_t>(a);    \
  cpu.x = static_cast<std::uint8_t>(x);    \
  cpu.y = static_cast<std::uint8_t>(y);    \
  cpu.sp = static_cast<std::uint8_t>(sp);  \
  cpu.nz = static_cast<std::uint16_t>(nz); \
  cpu.c = static_cast<std::uint8_t>(c);    \
  cpu.v = static_cast<std::uint8_t>(v);    \
  cpu.d = static_cast<std::uint8_t>(d);    \
  cpu.i = static_cast<std::uint8_t>(i);    \
  state.cycle = cycle
#define N_IS_SET ((nz & 0x8080) != 0)
#define Z_IS_SET ((nz & 0xFF) == 0)
#define set_nz(value) nz = (value)
#define compare(value) c = (value) >= m, nz = ((value) - m) & 0xFF
#define bit(value) nz = (a & (value)) | ((value) & 0x80) << 8, v = (value) >> 6 & 1
#define SET_SUM(sum)                                              \
  {                                                               \
    const Sum result = (sum);                                     \
    nz = a = result.value, c = result.carry, v = result.overflow; \
  }
#define adc(value) SET_SUM(d == 0 ? add_binary(a, (value), c) : add_decimal(a, (value), c))
#define sbc(value) SET_SUM(d == 0 ? add_binary(a, (value) ^ 0xFF, c) : subtract_decimal(a, (value), c))
#define arr(mask)                                                              \
  {                                                                            \
    const unsigned both = a & (mask);                                          \
    nz = both >> 1 | c << 7;                                                   \
    const Sum result = d == 0 ? arrange_binary(nz) : arrange_decimal(both, c); \
    a = result.value, c = result.carry, v = result.overflow;                   \
  }
#define FLAGS ((N_IS_SET ? 0x80U : 0U) | v << 6 | 0x30U | d << 3 | i << 2 | (Z_IS_SET ? 2U : 0U) | c)
#define SET_FLAGS(value)                                                       \
  {                                                                            \
    const unsigned flags = (value);                                            \
    nz = (flags & 0x80) << 8 | (~flags & 2);                                   \
    v = flags >> 6 & 1, d = flags >> 3 & 1, i = flags >> 2 & 1, c = flags & 1; \
  }

#define BYTE(value) static_cast<std::uint8_t>(value)
#define CYCLES(number) cycle += (number)

// --- by way of the bus ---

/// One access after the other, as they come on the bus, with what the last one left there.
class Bus {
 public:
  explicit Bus(Machine& machine) : machine_(machine) {}

  unsigned read(unsigned address, std::int32_t cycle) {
    MachineState& state = machine_.state;
    std::uint8_t& last = state.cpu.bus;
    if ((address & 0x1000) != 0) {
      last = machine_.cartridge.read(state.cartridge, address, cycle);
    } else if ((address & 0x0080) == 0) {
      last = BYTE(tia::read(machine_, address, cycle, last));
    } else if ((address & 0x0200) == 0) {
      last = state.ram[address & 0x7F];
    } else {
      last = BYTE(riot::read(state, address, cycle));
    }
    was_read_ = true;
    return last;
  }

  /// `cycle` is advanced if the write stops the processor.
  void write(unsigned address, unsigned value, std::int32_t& cycle) {
    MachineState& state = machine_.state;
    state.cpu.bus = BYTE(value);
    if ((address & 0x1000) != 0) {
      machine_.cartridge.write(state.cartridge, address, BYTE(value));
    } else if ((address & 0x0080) == 0) {
      const std::int32_t released = tia::write(machine_, address, value, cycle);
      // another write at the same cycle, by JSR or BRK, takes effect no earlier than this one
      state.tia.drawn_clock = std::max(state.tia.drawn_clock, 3 * cycle + tia::write_delay(address, cycle));
      if (was_read_) cycle = released;  // WSYNC does not stop a write right after a write
    } else if ((address & 0x0200) == 0) {
      state.ram[address & 0x7F] = BYTE(value);
    } else {
      riot::write(state, address, value, cycle);
    }
    was_read_ = false;
  }

 private:
  Machine& machine_;
  bool was_read_ = true;
};

/// Runs one instruction at cpu.pc.
void step_on_bus(Machine& machine) {
  MachineState& state = machine.state;
  Cpu& cpu = state.cpu;
  Bus bus(machine);
  unsigned a, x, y, sp, nz, c, v, d, i, m = 0, t = 0;
  std::int32_t cycle;
  RNDFAST_LOAD_REGISTERS;
  unsigned pc = cpu.pc;
  unsigned address = 0;
  unsigned base = 0;  // of an address, before indexing
  unsigned high = 0;  // byte of the address
  const auto fetch = [&] {
    const unsigned byte = bus.read(pc, cycle);
    pc = (pc + 1) & 0xFFFF;
    return byte;
  };
  const auto fetch_word = [&] {
    const unsigned low = fetch();
    return low | fetch() << 8;
  };
  const auto read_word = [&](unsigned pointer) {  // without wrapping within the zero page
    const unsigned low = bus.read(pointer, cycle);
    return low | bus.read(pointer + 1, cycle) << 8;
  };
  const auto push = [&](unsigned value) {
    bus.write(0x100 + sp, value, cycle);
    sp = (sp - 1) & 0xFF;
  };
  const auto peek = [&] { return bus.read(0x100 + sp, cycle); };
  const auto pull = [&] {
    sp = (sp + 1) & 0xFF;
    return peek();
  };

#define FETCH fetch()
#define PAGE_PENALTY (is_same_page(base, address) ? 0 : 1)
#define BUS_ZERO_PAGE(index) address = (fetch() + (index)) & 0xFF
#define BUS_ABSOLUTE(index) \
  base = fetch_word();      \
  address = (base + (index)) & 0xFFFF
#define BUS_X_INDIRECT address = read_word((fetch() + x) & 0xFF)
#define BUS_INDIRECT_Y       \
  base = read_word(fetch()); \
  address = (base + y) & 0xFFFF
#define BUS_READ bus.read(address, cycle)
#define BUS_WRITE bus.write(address, m & 0xFF, cycle)
#define BUS_BRANCH(condition)                                                            \
  {                                                                                      \
    const unsigned distance = fetch();                                                   \
    if (condition) {                                                                     \
      const unsigned target = (pc + distance - (distance >= 0x80 ? 0x100 : 0)) & 0xFFFF; \
      cycle += is_same_page(pc, target) ? 1 : 2;                                         \
      pc = target;                                                                       \
    }                                                                                    \
  }
#define BUS_JMP_abs pc = fetch_word();
#define BUS_JMP_ind                                                               \
  {                                                                               \
    const unsigned pointer = fetch_word();                                        \
    const unsigned low = bus.read(pointer, cycle);                                \
    pc = low | bus.read((pointer & 0xFF00) | ((pointer + 1) & 0xFF), cycle) << 8; \
  }
#define BUS_JSR                   \
  {                               \
    const unsigned low = fetch(); \
    peek();                       \
    push(pc >> 8);                \
    push(pc & 0xFF);              \
    pc = low | fetch() << 8;      \
  }
#define BUS_RTS                  \
  {                              \
    peek();                      \
    const unsigned low = pull(); \
    pc = low | pull() << 8;      \
    fetch();                     \
  }
#define BUS_RTI                  \
  {                              \
    peek();                      \
    SET_FLAGS(pull());           \
    const unsigned low = pull(); \
    pc = low | pull() << 8;      \
  }
#define BUS_BRK    \
  fetch();         \
  push(pc >> 8);   \
  push(pc & 0xFF); \
  push(FLAGS);     \
  i = 1;           \
  pc = read_word(0xFFFE);
#define BUS_PHA push(a);
#define BUS_PHP push(FLAGS);
#define BUS_PLA \
  peek();       \
  a = pull();   \
  set_nz(a);
#define BUS_PLP \
  peek();       \
  SET_FLAGS(pull());
#define BUS_JAM cpu.is_jammed = true;

  switch (fetch()) {
#include "opcodes_bus.inc"
    default:
      break;
  }

#undef FETCH
#undef PAGE_PENALTY

  RNDFAST_STORE_REGISTERS;
  cpu.pc = static_cast<std::uint16_t>(pc);
}

// --- fast ---

/// How many more passes (of those that read less than 128) a loop of `period` cycles makes over a timer that it reads
/// `first_read` cycles from now, if it ends once the timer has fallen below `last_value`. Passes left out have no
/// effect but the time they take.
std::int32_t timer_passes(const Riot& riot, std::int32_t first_read, std::int32_t period, std::int32_t last_value) {
  const std::int32_t elapsed = first_read - 1 - riot.set_cycle;
  const std::int32_t end = (riot.timer - last_value) << riot.shift;  // the first cycle at which it has
  if (elapsed < 0 || elapsed >= end || riot.timer - (elapsed >> riot.shift) > 128) return 0;
  return (end - 1 - elapsed) / period + 1;
}

/// A read from the TIA or the RIOT, after the byte `bus`.
unsigned read_chip(Machine& machine, unsigned address, std::int32_t cycle, unsigned bus) {
  return (address & 0x0080) == 0 ? tia::read(machine, address, cycle, bus) : riot::read(machine.state, address, cycle);
}

}  // namespace

void run_cpu(Machine& machine, std::int32_t max_instructions) {
  MachineState& state = machine.state;
  Cpu& cpu = state.cpu;
  if (cpu.is_jammed) return;
  std::uint8_t* const ram = state.ram;
  const Cartridge& cartridge = machine.cartridge;
  const std::uint8_t* const rom = cartridge.rom();
  const DecodedInstruction* const code = cartridge.code();
  static const void* const kLabels[] = {
#define RNDFAST_HANDLER(name, ...) &&handler_##name,
#include "opcodes_fast.inc"
#undef RNDFAST_HANDLER
      &&handler_wait_timer_zero, &&handler_wait_timer_negative, &&handler_wait_x, &&handler_wait_y, &&handler_bus,
  };
  std::int32_t left = max_instructions;
  // before this cycle, a TIA write that changes nothing may be left out
  const std::int32_t quiet_cycles =
      machine.is_literal ? std::numeric_limits<std::int32_t>::min() : state.tia.last_line_cycle;
  const DecodedInstruction* instruction;
  std::uint32_t pc_minus_offset;  // of the slice of ROM that is being run
  unsigned a, x, y, sp, nz, c, v, d, i, m, t, address, base;
  std::int32_t cycle;
  RNDFAST_LOAD_REGISTERS;

#define OPERAND unsigned{instruction->operand}
#define PC (static_cast<std::uint32_t>(instruction - code) + pc_minus_offset)
#define RAM(address) ram[(address) & 0x7F]
#define DISPATCH                         \
  do {                                   \
    if (--left < 0) goto finished;       \
    goto* kLabels[instruction->handler]; \
  } while (false)
#define NEXT(length)       \
  instruction += (length); \
  DISPATCH;
// between the two instructions of a fused pair
#define THEN(length)       \
  instruction += (length); \
  if (--left < 0) goto finished;
#define JUMP(target)                                                              \
  do {                                                                            \
    const unsigned jump_target = (target);                                        \
    const unsigned jump_offset = Cartridge::offset(state.cartridge, jump_target); \
    instruction = code + jump_offset;                                             \
    pc_minus_offset = jump_target - jump_offset;                                  \
  } while (false)
#define BRANCH_AWAY(condition)                                                            \
  if (condition) {                                                                        \
    t = PC + 2;                                                                           \
    address = t + static_cast<unsigned>(static_cast<std::int16_t>(instruction->operand)); \
    if ((address & 0x1000) == 0) goto handler_bus;                                        \
    cycle += is_same_page(t, address) ? 3 : 4;                                            \
    JUMP(address & 0xFFFF);                                                               \
    DISPATCH;                                                                             \
  }                                                                                       \
  CYCLES(2);                                                                              \
  NEXT(2)
#define BRANCH(condition, extra_cycles)                             \
  if (condition) {                                                  \
    cycle += (extra_cycles);                                        \
    instruction += static_cast<std::int16_t>(instruction->operand); \
  }                                                                 \
  NEXT(2)

// operands; `goto handler_bus` only before anything has been changed
#define PAGE_PENALTY (is_same_page(base, address) ? 0 : 1)
#define ZERO_PAGE(index) address = (OPERAND + (index)) & 0xFF
#define ABSOLUTE base = address = OPERAND
#define INDEXED(index) \
  base = OPERAND;      \
  address = (base + (index)) & 0xFFFF
#define X_INDIRECT                                                   \
  {                                                                  \
    const unsigned pointer = (OPERAND + x) & 0xFF;                   \
    if (pointer < 0x80 || pointer == 0xFF) goto handler_bus;         \
    base = address = RAM(pointer) | unsigned{RAM(pointer + 1)} << 8; \
  }
#define INDIRECT_Y                                           \
  {                                                          \
    const unsigned pointer = OPERAND;                        \
    if (pointer < 0x80 || pointer == 0xFF) goto handler_bus; \
    base = RAM(pointer) | unsigned{RAM(pointer + 1)} << 8;   \
    address = (base + y) & 0xFFFF;                           \
  }
#define RAM_ONLY \
  if ((address & 0x1280) != 0x0080) goto handler_bus
#define READ(cycles)                                                                                 \
  if ((address & 0x1000) != 0) {                                                                     \
    if (!cartridge.is_plain(address)) goto handler_bus;                                              \
    m = rom[Cartridge::offset(state.cartridge, address)];                                            \
    CYCLES(cycles);                                                                                  \
  } else {                                                                                           \
    CYCLES(cycles);                                                                                  \
    m = (address & 0x0280) == 0x0080 ? RAM(address) : read_chip(machine, address, cycle, base >> 8); \
  }
#define READ_ZERO_PAGE m = address >= 0x80 ? RAM(address) : tia::read(machine, address, cycle, OPERAND)
#define TIA_READ(address, bus) m = tia::read(machine, (address), cycle, (bus))
#define TIA_WRITE(address)                                                                     \
  if (static_cast<int>(m) != state.tia.no_effect[(address) & 0x3F] || cycle >= quiet_cycles) { \
    cycle = tia::write(machine, (address), m, cycle);                                          \
    if (state.tia.frame_has_ended) left = 0;                                                   \
  }
#define TIA_WSYNC                                                           \
  if (cycle >= quiet_cycles) {                                              \
    cycle = tia::write(machine, tia::WSYNC, 0, cycle);                      \
    if (state.tia.frame_has_ended) left = 0;                                \
  } else {                                                                  \
    cycle = (cycle + kCyclesPerLine - 1) / kCyclesPerLine * kCyclesPerLine; \
  }
#define NOT_ROM \
  if ((address & 0x1000) != 0) goto handler_bus
#define WRITE                              \
  if ((address & 0x0080) == 0) {           \
    TIA_WRITE(address);                    \
  } else if ((address & 0x0200) == 0) {    \
    RAM(address) = BYTE(m);                \
  } else {                                 \
    riot::write(state, address, m, cycle); \
  }
#define WRITE_ZERO_PAGE     \
  if (address >= 0x80) {    \
    RAM(address) = BYTE(m); \
  } else {                  \
    TIA_WRITE(address);     \
  }

#define JMP(cycles)                              \
  if ((OPERAND & 0x1000) == 0) goto handler_bus; \
  CYCLES(cycles);                                \
  JUMP(OPERAND);                                 \
  DISPATCH;
#define JSR(cycles)                                           \
  if (sp < 0x81 || (OPERAND & 0x1000) == 0) goto handler_bus; \
  CYCLES(cycles);                                             \
  t = PC + 2;                                                 \
  RAM(sp) = BYTE(t >> 8);                                     \
  RAM(sp - 1) = BYTE(t);                                      \
  sp -= 2;                                                    \
  JUMP(OPERAND);                                              \
  DISPATCH;
#define RTS(cycles)                                                                              \
  if (sp < 0x80 || sp > 0xFD) goto handler_bus;                                                  \
  address = RAM(sp + 1) | unsigned{RAM(sp + 2)} << 8;                                            \
  if ((address & (address + 1) & 0x1000) == 0 || !cartridge.is_plain(address)) goto handler_bus; \
  CYCLES(cycles);                                                                                \
  sp += 2;                                                                                       \
  JUMP(address + 1);                                                                             \
  DISPATCH;
#define PUSH(value, cycles) \
  CYCLES(cycles);           \
  address = sp;             \
  m = (value);              \
  sp = (sp - 1) & 0xFF;     \
  WRITE_ZERO_PAGE;          \
  NEXT(1)
#define PHA(cycles) PUSH(a, cycles)
#define PHP(cycles) PUSH(FLAGS, cycles)
#define PLA(cycles)                             \
  if (sp < 0x80 || sp > 0xFE) goto handler_bus; \
  CYCLES(cycles);                               \
  sp += 1;                                      \
  a = RAM(sp);                                  \
  set_nz(a);                                    \
  NEXT(1)
#define PLP(cycles)                             \
  if (sp < 0x80 || sp > 0xFE) goto handler_bus; \
  CYCLES(cycles);                               \
  sp += 1;                                      \
  SET_FLAGS(RAM(sp));                           \
  NEXT(1)

  if ((cpu.pc & 0x1000) == 0) goto step_outside_rom;
  JUMP(cpu.pc);
  DISPATCH;

#define RNDFAST_HANDLER(name, ...) handler_##name : __VA_ARGS__
#include "opcodes_fast.inc"
#undef RNDFAST_HANDLER

  // LDA INTIM; BNE or BPL back to it
#define WAIT_FOR_TIMER(condition, last_value)                                                             \
  CYCLES(2);                                                                                              \
  if (condition) {                                                                                        \
    cycle += 1;                                                                                           \
    instruction -= 3;                                                                                     \
    const std::int32_t passes = std::min(timer_passes(state.riot, cycle + 4, 7, (last_value)), left / 2); \
    cycle += 7 * passes;                                                                                  \
    left -= 2 * passes;                                                                                   \
    DISPATCH;                                                                                             \
  }                                                                                                       \
  NEXT(2)
handler_wait_timer_zero:
  WAIT_FOR_TIMER(!Z_IS_SET, 1)
handler_wait_timer_negative:
  WAIT_FOR_TIMER(!N_IS_SET, 0)
  // DEX or DEY; BNE back to it
#define WAIT_FOR_COUNT(r)                                                          \
  CYCLES(2);                                                                       \
  if (!Z_IS_SET) {                                                                 \
    cycle += 1;                                                                    \
    instruction -= 1;                                                              \
    const auto passes = std::clamp(static_cast<std::int32_t>(r) - 1, 0, left / 2); \
    r -= static_cast<unsigned>(passes);                                            \
    cycle += 5 * passes;                                                           \
    left -= 2 * passes;                                                            \
    DISPATCH;                                                                      \
  }                                                                                \
  NEXT(2)
handler_wait_x:
  WAIT_FOR_COUNT(x)
handler_wait_y:
  WAIT_FOR_COUNT(y)

handler_bus:
  cpu.pc = static_cast<std::uint16_t>(PC);
step:
  RNDFAST_STORE_REGISTERS;
  step_on_bus(machine);
  RNDFAST_LOAD_REGISTERS;
  if (cpu.is_jammed || state.tia.frame_has_ended) return;
  if ((cpu.pc & 0x1000) == 0) goto step_outside_rom;
  JUMP(cpu.pc);
  DISPATCH;

step_outside_rom:
  if (--left >= 0) goto step;
  RNDFAST_STORE_REGISTERS;
  return;

finished:
  RNDFAST_STORE_REGISTERS;
  cpu.pc = static_cast<std::uint16_t>(PC);
}

}  // namespace rndfast
