// SPDX-License-Identifier: MIT
#include "rndfast/console/fast_interpreter.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <limits>

#include "rndfast/console/bus_interpreter.hpp"
#include "rndfast/console/cpu_operations.hpp"
#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"

// Labels as values: jumping from each instruction to the next one predicts better than one switch for all.
#pragma GCC diagnostic ignored "-Wpedantic"

namespace rndfast {
namespace {

/// How many more passes a loop of `period` cycles makes over a timer that it reads `first_read` cycles from now, while
/// it reads at least `least` and at most `most`. Passes left out have no effect but the time they take.
std::int32_t timer_passes(const Riot& riot, std::int32_t first_read, std::int32_t period, std::int32_t least,
                          std::int32_t most) {
  const std::int32_t elapsed = first_read - 1 - riot.set_cycle;
  const std::int32_t end = (riot.timer - least) << riot.shift;  // the first cycle at which it reads less
  if (elapsed < 0 || elapsed >= end || riot.timer - 1 - (elapsed >> riot.shift) > most) return 0;
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

/// A write to whatever is at `address`. It may switch banks and end the frame; returns the cycle at which the processor
/// goes on.
[[gnu::noinline]] std::int32_t write_anywhere(Machine& machine, unsigned address, unsigned value, std::int32_t cycle) {
  MachineState& state = machine.state;
  if ((address & 0x1000) != 0) {
    machine.cartridge.write(state.cartridge, address, BYTE(value));
  } else if ((address & 0x0080) == 0) {
    return tia::write(machine, address, value, cycle);
  } else if ((address & 0x0200) == 0) {
    state.ram[address & 0x7F] = BYTE(value);
  } else {
    riot::write(state, address, value, cycle);
  }
  return cycle;
}

unsigned little_endian_word(const std::uint8_t* bytes) {
  std::uint16_t word;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&word, bytes, sizeof word);
    return word;
  }
  return bytes[0] | unsigned{bytes[1]} << 8;
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
  if (!cartridge.plain().contains(pointer) || !cartridge.plain().contains(second)) return kUnknown;
  const auto rom_byte = [&](unsigned address) {
    return unsigned{cartridge.rom()[Cartridge::offset(state.cartridge, address)]};
  };
  return rom_byte(pointer) | rom_byte(second) << 8;
}

enum class Counting { kNo, kYes };

/// Runs until the frame ends, the processor jams, or `max_instructions` have been run. Returns whether that is how the
/// machine would run. It need not be without counting, for a frame that is drawn literally or that is too long: then
/// TIA writes that change nothing would not be left out, or instructions would have to be counted.
template <Counting kCounting>
[[gnu::noinline]] bool run(Machine& machine, [[maybe_unused]] std::int32_t max_instructions) {
  constexpr bool kCounts = kCounting == Counting::kYes;
  MachineState& state = machine.state;
  Cpu& cpu = state.cpu;
  const Cartridge& cartridge = machine.cartridge;
  const PlainRange plain = cartridge.plain();
  const std::uint8_t* const rom = cartridge.rom().data();
  const DecodedInstruction* const code = machine.program.data();
  static const void* const kLabels[] = {
#define RNDFAST_HANDLER(name, ...) &&handler_##name,
#include "fast_handlers.inc"
#undef RNDFAST_HANDLER
      &&handler_bus,
  };
  [[maybe_unused]] std::int32_t left = max_instructions;
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
#define RAM(address) state.ram[(address) & 0x7F]
#define RAM_OPERAND state.ram[OPERAND]  // as the decoder leaves it
#define COUNT                      \
  if constexpr (kCounts) {         \
    if (--left < 0) goto finished; \
  }
#define DISPATCH                         \
  do {                                   \
    COUNT                                \
    goto* kLabels[instruction->handler]; \
  } while (false)
#define NEXT(length)       \
  instruction += (length); \
  DISPATCH;
// between the two instructions of a fused pair
#define THEN(length)       \
  instruction += (length); \
  COUNT
// at every place by which a loop must come
#define LIMIT                                \
  if constexpr (!kCounts) {                  \
    if (cycle >= quiet_cycles) return false; \
  }
#define JUMP(target)                                                              \
  do {                                                                            \
    LIMIT                                                                         \
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
    LIMIT                                                           \
    instruction += static_cast<std::int16_t>(instruction->operand); \
  }                                                                 \
  NEXT(2)

// operands; `goto handler_bus` only before anything has been changed
#define PAGE_PENALTY static_cast<std::int32_t>((base ^ address) >> 8 & 1)
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
#define INDIRECT_Y                                \
  base = little_endian_word(&state.ram[OPERAND]); \
  address = (base + y) & 0xFFFF
#define RAM_ONLY \
  if ((address & 0x1280) != 0x0080) goto handler_bus
#define READ(cycles, anywhere)                                                                       \
  if (plain.contains(address)) [[likely]] {                                                          \
    m = rom[Cartridge::offset(state.cartridge, address)];                                            \
    CYCLES(cycles);                                                                                  \
  } else {                                                                                           \
    if ((address & 0x1000) != 0) goto handler_##anywhere;                                            \
    CYCLES(cycles);                                                                                  \
    m = (address & 0x0280) == 0x0080 ? RAM(address) : read_chip(machine, address, cycle, base >> 8); \
  }
#define READ_ROM(index, cycles) \
  m = rom[OPERAND + (index)];   \
  cycle += static_cast<std::int32_t>((cycles) + (((OPERAND & 0xFF) + (index)) >> 8))
#define READ_ANYWHERE(cycles) \
  CYCLES(cycles);             \
  m = read_anywhere(machine, address, cycle, base >> 8)
#define READ_ZERO_PAGE m = address >= 0x80 ? RAM(address) : tia::read(machine, address, cycle, OPERAND)
#define TIA_READ(address, bus) m = tia::read(machine, (address), cycle, (bus))
// the instruction's last access
#define TIA_WRITE(register_address, length)                                                               \
  if (static_cast<int>(m) != state.tia.no_effect[register_address] || (kCounts && cycle >= quiet_cycles)) \
      [[unlikely]] {                                                                                      \
    cycle = tia::kWriteFunctions[register_address](machine, m, cycle);                                    \
    if (state.tia.frame_has_ended) [[unlikely]] {                                                         \
      instruction += (length);                                                                            \
      goto finished;                                                                                      \
    }                                                                                                     \
  }
#define TIA_WSYNC(length)                                                                                    \
  if (kCounts && cycle >= quiet_cycles) {                                                                    \
    cycle = tia::write(machine, tia::WSYNC, 0, cycle);                                                       \
    if (state.tia.frame_has_ended) {                                                                         \
      instruction += (length);                                                                               \
      goto finished;                                                                                         \
    }                                                                                                        \
  } else {                                                                                                   \
    cycle = static_cast<std::int32_t>((static_cast<unsigned>(cycle) + kCyclesPerLine - 1) / kCyclesPerLine * \
                                      kCyclesPerLine);                                                       \
  }
#define NOT_ROM(anywhere) \
  if ((address & 0x1000) != 0) goto handler_##anywhere
#define WRITE(length)                      \
  if ((address & 0x0080) == 0) {           \
    TIA_WRITE(address & 0x3F, length);     \
  } else if ((address & 0x0200) == 0) {    \
    RAM(address) = BYTE(m);                \
  } else {                                 \
    riot::write(state, address, m, cycle); \
  }
#define WRITE_ANYWHERE cycle = write_anywhere(machine, address, m, cycle)
#define WRITE_ZERO_PAGE(length)        \
  if (address >= 0x80) {               \
    RAM(address) = BYTE(m);            \
  } else {                             \
    TIA_WRITE(address & 0x3F, length); \
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
  WRITE_ZERO_PAGE(1)
#define STACK_IS_NOT_EMPTY \
  if (sp == 0xFF) goto handler_bus
#define PULL(opcode) \
  address = ++sp;    \
  m = address >= 0x80 ? RAM(address) : tia::read(machine, address, cycle, (opcode))
#define OPERAND_BYTE(number) (OPERAND >> 8 * (number) & 0xFF)
#define ROM_ONLY \
  if ((address & 0x1000) == 0) goto handler_bus
#define PLAIN_ROM_AND_NEXT_ONLY \
  if (!plain.contains(address) || ((address + 1) & 0x1000) == 0) goto handler_bus

// loops that only wait
#define PASS_OVER(num_passes, cycles_of_each) \
  std::int32_t passes = (num_passes);         \
  if constexpr (kCounts) {                    \
    passes = std::min(passes, left / 2);      \
    left -= 2 * passes;                       \
  }                                           \
  cycle += (cycles_of_each) * passes;         \
  LIMIT
#define WAIT_FOR_TIMER(condition, extra_cycles, least, most)                                                \
  CYCLES(2);                                                                                                \
  if (condition) {                                                                                          \
    cycle += (extra_cycles);                                                                                \
    instruction -= 3;                                                                                       \
    PASS_OVER(timer_passes(state.riot, cycle + 4, 6 + (extra_cycles), (least), (most)), 6 + (extra_cycles)) \
    DISPATCH;                                                                                               \
  }                                                                                                         \
  NEXT(2)
#define WAIT_FOR_COUNT(condition, extra_cycles, r, last_value)                 \
  CYCLES(2);                                                                   \
  if (condition) {                                                             \
    cycle += (extra_cycles);                                                   \
    instruction -= 1;                                                          \
    PASS_OVER(static_cast<std::int32_t>(r) - (last_value), 4 + (extra_cycles)) \
    r -= static_cast<unsigned>(passes);                                        \
    DISPATCH;                                                                  \
  }                                                                            \
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
    if (state.tia.frame_has_ended) goto finished;
    DISPATCH;
  }
  cpu.pc = static_cast<std::uint16_t>(address);
  cpu.bus = BYTE(m);
  if (!state.tia.frame_has_ended) goto step_outside_rom;
  RNDFAST_STORE_REGISTERS;
  return cycle < quiet_cycles || kCounts;

handler_bus:
  cpu.pc = static_cast<std::uint16_t>(PC);
step:
  RNDFAST_STORE_REGISTERS;
  step_on_bus(machine);
  RNDFAST_LOAD_REGISTERS;
  LIMIT
  if (cpu.is_jammed || state.tia.frame_has_ended) return true;
  if ((cpu.pc & 0x1000) == 0) goto step_outside_rom;
  JUMP(cpu.pc);
  DISPATCH;

step_outside_rom:
  if constexpr (!kCounts) goto step;
  if (--left >= 0) goto step;
  RNDFAST_STORE_REGISTERS;
  return true;

finished:
  RNDFAST_STORE_REGISTERS;
  cpu.pc = static_cast<std::uint16_t>(PC);
  return kCounts || cycle < quiet_cycles;
}

}  // namespace

void run_cpu(Machine& machine, std::int32_t max_instructions) {
  MachineState& state = machine.state;
  if (state.cpu.is_jammed) return;
  if (!machine.is_literal) {
    // no instruction takes less than two cycles: before `last_line_cycle`, there cannot have been too many
    assert(2 * max_instructions >= state.tia.last_line_cycle);
    const MachineState start = state;
    Machine uncounted = machine;
    if (run<Counting::kNo>(uncounted, max_instructions)) return;
    state = start;
  }
  run<Counting::kYes>(machine, max_instructions);
}

}  // namespace rndfast
