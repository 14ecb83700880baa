// SPDX-License-Identifier: MIT
#include "rndfast/console/bus_interpreter.hpp"

#include <algorithm>
#include <cstdint>

#include "rndfast/console/cpu_operations.hpp"
#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"

namespace rndfast {
namespace {

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

}  // namespace

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

#define FETCH() fetch()
#define READ_WORD(pointer) read_word(pointer)
#define PUSH(value) push(value)
#define PEEK() peek()
#define PULL() pull()
#define JAM() cpu.is_jammed = true
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
#define BUS_INDIRECT                                                                   \
  {                                                                                    \
    const unsigned pointer = fetch_word();                                             \
    const unsigned low = bus.read(pointer, cycle);                                     \
    address = low | bus.read((pointer & 0xFF00) | ((pointer + 1) & 0xFF), cycle) << 8; \
  }

  switch (fetch()) {
#include "bus_cases.inc"
    default:
      break;
  }

  RNDFAST_STORE_REGISTERS;
  cpu.pc = static_cast<std::uint16_t>(pc);
}

}  // namespace rndfast
