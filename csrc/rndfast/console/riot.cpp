// SPDX-License-Identifier: MIT
#include "rndfast/console/riot.hpp"

#include <algorithm>
#include <array>

#include "rndfast/common/valid_state.hpp"

namespace rndfast::riot {
namespace {

constexpr unsigned kInterrupt = 0x80;
constexpr std::array<std::uint8_t, 4> kShifts = {0, 3, 6, 10};  // of TIM1T, TIM8T, TIM64T, T1024T

}  // namespace

void reset(Riot& riot, std::int32_t timer_start) {
  riot = {};
  riot.timer = timer_start;
  riot.shift = 6;
}

void rebase(Riot& riot, std::int32_t cycles) {
  const auto shift = [cycles](std::int32_t& time) {
    time = static_cast<std::int32_t>(static_cast<std::uint32_t>(time) - static_cast<std::uint32_t>(cycles));
  };
  shift(riot.set_cycle);
  shift(riot.interrupt_cycle);
}

void validate(const Riot& riot) {
  static_assert(sizeof(Riot) == 16, "validate() must know every member");
  require_state_between("riot.timer", riot.timer, 0, 0xFF);
  require_state(std::ranges::find(kShifts, riot.shift) != kShifts.end(), "riot.shift must be that of a timer");
  require_state_flag("riot.is_read_after_interrupt", riot.is_read_after_interrupt);
}

unsigned read(MachineState& state, unsigned address, std::int32_t cycle) {
  Riot& riot = state.riot;
  switch (address & 7) {
    case 0:  // SWCHA
      return state.inputs.swcha;
    case 1:  // SWACNT
      return riot.swacnt;
    case 2:  // SWCHB
      return state.inputs.swchb;
    case 3:  // SWBCNT
      return 0;
    default:
      break;
  }
  const auto elapsed = static_cast<std::uint32_t>(cycle - 1 - riot.set_cycle);
  const auto count = static_cast<std::int32_t>(static_cast<std::uint32_t>(riot.timer) - (elapsed >> riot.shift) - 1);
  const bool reads_timer = (address & 1) == 0;
  if (!reads_timer) return count >= 0 || riot.is_read_after_interrupt ? 0 : kInterrupt;  // INSTAT
  if (count >= 0) return static_cast<unsigned>(count) & 0xFF;

  // expired: counts down once per cycle, and again at the set rate once it has been read
  const std::int32_t expiry = riot.timer << riot.shift;
  auto value = static_cast<std::int32_t>(static_cast<std::uint32_t>(expiry) - elapsed - 1);
  if (value <= -2 && !riot.is_read_after_interrupt) {
    riot.is_read_after_interrupt = true;
    riot.interrupt_cycle = cycle;
  }
  if (riot.is_read_after_interrupt) {
    value = static_cast<std::int32_t>(static_cast<std::uint32_t>(riot.timer) - (elapsed >> riot.shift)) -
            (riot.interrupt_cycle - (riot.set_cycle + expiry));
  }
  return static_cast<unsigned>(value) & 0xFF;
}

void write(MachineState& state, unsigned address, unsigned value, std::int32_t cycle) {
  Riot& riot = state.riot;
  if ((address & 7) == 1) {
    riot.swacnt = static_cast<std::uint8_t>(value);
  } else if ((address & 7) >= 4 && (address & 0x10) != 0) {  // TIM1T, TIM8T, TIM64T, T1024T
    riot.timer = static_cast<std::int32_t>(value);
    riot.shift = kShifts[address & 3];
    riot.set_cycle = cycle;
    riot.is_read_after_interrupt = false;
  }
}

}  // namespace rndfast::riot
