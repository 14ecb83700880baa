// SPDX-License-Identifier: MIT
// The 6532's timer and ports. Its RAM is MachineState::ram.
#pragma once

#include "rndfast/console/machine_state.hpp"

namespace rndfast::riot {

/// `timer_start` is what the timer happens to hold.
void reset(Riot& riot, std::int32_t timer_start);

void rebase(Riot& riot, std::int32_t cycles);

/// See valid_state.hpp.
void validate(const Riot& riot);

unsigned read(MachineState& state, unsigned address, std::int32_t cycle);

void write(MachineState& state, unsigned address, unsigned value, std::int32_t cycle);

/// Whether `address` reads the timer (INTIM or a mirror of it).
constexpr bool is_timer(unsigned address) { return (address & 0x1285) == 0x0284; }

/// Whether `address` reads the timer's flag (INSTAT or a mirror of it), which is negative once the timer has expired.
constexpr bool is_timer_flag(unsigned address) { return (address & 0x1285) == 0x0285; }

}  // namespace rndfast::riot
