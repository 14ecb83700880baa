// SPDX-License-Identifier: MIT
#include "rndfast/console/fast_interpreter.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "rndfast/console/bus_interpreter.hpp"
#include "rndfast/console/cpu_operations.hpp"
#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"

// Labels as values: jumping from each instruction to the next one predicts better than one switch for all.
#pragma GCC diagnostic ignored "-Wpedantic"

namespace rndfast {
namespace {

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

/// A read from whatever is at `address`, after the byte `bus`. It may switch banks.
[[gnu::noinline]] unsigned read_anywhere(Machine& machine, unsigned address, std::int32_t cycle, unsigned bus) {
  MachineState& state = machine.state;
  if ((address & 0x1000) != 0) return machine.cartridge.read(state.cartridge, address, cycle);
  return (address & 0x0280) == 0x0080 ? state.ram[address & 0x7F] : read_chip(machine, address, cycle, bus);
}

constexpr unsigned kUnknown = 0x10000;

/// The word at `pointer`, its second byte in the page of the first as JMP wants it, if that is RAM or ordinary ROM.
[[gnu::noinline]] unsigned word_at(const Machine& machine, unsigned pointer) {
  const unsigned second = (pointer & 0xFF00) | ((pointer + 1) & 0xFF);
  const Cartridge& cartridge = machine.cartridge;
  const MachineState& state = machine.state;
  if ((pointer & 0x1280) == 0x0080 && (second & 0x0080) != 0) {
    return state.ram[pointer & 0x7F] | unsigned{state.ram[second & 0x7F]} << 8;
  }
  if ((pointer & 0x1000) == 0 || !cartridge.is_plain(pointer) || !cartridge.is_plain(second)) return kUnknown;
  const auto rom_byte = [&](unsigned address) {
    return unsigned{cartridge.rom()[Cartridge::offset(state.cartridge, address)]};
  };
  return rom_byte(pointer) | rom_byte(second) << 8;
}

}  // namespace

void run_cpu(Machine& machine, std::int32_t max_instructions) {
  MachineState& state = machine.state;
  Cpu& cpu = state.cpu;
  if (cpu.is_jammed) return;
  std::uint8_t* const ram = state.ram;
  const Cartridge& cartridge = machine.cartridge;
  const std::uint8_t* const rom = cartridge.rom().data();
  const DecodedInstruction* const code = machine.program.data();
  static const void* const kLabels[] = {
#define RNDFAST_HANDLER(name, ...) &&handler_##name,
#include "fast_handlers.inc"
#undef RNDFAST_HANDLER
      &&handler_bus,
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
// after what may have switched banks
#define FIND_NEXT(length)  \
  address = PC + (length); \
  goto find_next;
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
#define POINTER(pointer)                 \
  address = word_at(machine, (pointer)); \
  if (address == kUnknown) goto handler_bus
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
#define READ(cycles, anywhere)                                                                       \
  if ((address & 0x1000) != 0) {                                                                     \
    if (!cartridge.is_plain(address)) goto handler_##anywhere;                                       \
    m = rom[Cartridge::offset(state.cartridge, address)];                                            \
    CYCLES(cycles);                                                                                  \
  } else {                                                                                           \
    CYCLES(cycles);                                                                                  \
    m = (address & 0x0280) == 0x0080 ? RAM(address) : read_chip(machine, address, cycle, base >> 8); \
  }
#define READ_ANYWHERE(cycles) \
  CYCLES(cycles);             \
  m = read_anywhere(machine, address, cycle, base >> 8)
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
#define NOT_ROM(anywhere) \
  if ((address & 0x1000) != 0) goto handler_##anywhere
#define WRITE                              \
  if ((address & 0x0080) == 0) {           \
    TIA_WRITE(address);                    \
  } else if ((address & 0x0200) == 0) {    \
    RAM(address) = BYTE(m);                \
  } else {                                 \
    riot::write(state, address, m, cycle); \
  }
#define WRITE_ANYWHERE                                  \
  if ((address & 0x1000) != 0) {                        \
    cartridge.write(state.cartridge, address, BYTE(m)); \
  } else {                                              \
    WRITE                                               \
  }
#define WRITE_ZERO_PAGE     \
  if (address >= 0x80) {    \
    RAM(address) = BYTE(m); \
  } else {                  \
    TIA_WRITE(address);     \
  }

// the stack, and where the program goes on
#define STACK_HOLDS(num_bytes) \
  if (sp < 0x80 || sp > 0xFF - (num_bytes)) goto handler_bus
#define STACK_TAKES(num_bytes) \
  if (sp < 0x80 + (num_bytes) - 1) goto handler_bus
#define PULLED(number) unsigned{RAM(sp + (number))}
#define PUSH(value)     \
  address = sp;         \
  m = (value);          \
  sp = (sp - 1) & 0xFF; \
  WRITE_ZERO_PAGE
#define STACK_IS_NOT_EMPTY \
  if (sp == 0xFF) goto handler_bus
#define PULL(opcode) \
  address = ++sp;    \
  m = address >= 0x80 ? RAM(address) : tia::read(machine, address, cycle, (opcode))
#define OPERAND_BYTE(number) (OPERAND >> 8 * (number) & 0xFF)
#define ROM_ONLY \
  if ((address & 0x1000) == 0) goto handler_bus
#define PLAIN_ROM_AND_NEXT_ONLY \
  if ((address & (address + 1) & 0x1000) == 0 || !cartridge.is_plain(address)) goto handler_bus

// loops that only wait
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

  if ((cpu.pc & 0x1000) == 0) goto step_outside_rom;
  JUMP(cpu.pc);
  DISPATCH;

#define RNDFAST_HANDLER(name, ...) handler_##name : __VA_ARGS__
#include "fast_handlers.inc"
#undef RNDFAST_HANDLER

find_next:
  if ((address & 0x1000) != 0) {
    JUMP(address);
    DISPATCH;
  }
  cpu.pc = static_cast<std::uint16_t>(address);
  cpu.bus = BYTE(m);
  goto step_outside_rom;

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
