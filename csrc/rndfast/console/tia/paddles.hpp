// SPDX-License-Identifier: MIT
// Paddles: the longer a capacitor takes to charge through the paddle's resistance, the further it is turned.
#pragma once

#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

/// How long a capacitor takes to charge, until its input reads 1. `resistance`: ohm.
inline std::int32_t charge_cycles(std::int32_t resistance) {
  constexpr double kFarad = 0.01e-6;
  constexpr double kTimeConstants = 1.6;
  constexpr double kCyclesPerSecond = 1.19e6;
  return static_cast<std::int32_t>(kTimeConstants * resistance * kFarad * kCyclesPerSecond);
}

/// Takes note of VBLANK: its bit 7 grounds the capacitors.
inline void ground_capacitors(Tia& tia, unsigned vblank, std::int32_t cycle) {
  constexpr unsigned kGround = 0x80;
  const bool is_dumping = (vblank & kGround) != 0;
  if (tia.is_dumping && !is_dumping) tia.dump_end_cycle = cycle;
  tia.is_dumping = is_dumping;
}

/// Whether the capacitor at INPT0 .. INPT3 has charged by `cycle`.
inline bool is_charged(const MachineState& state, unsigned input, std::int32_t cycle) {
  const std::int32_t needed_cycles = state.inputs.charge_cycles[input];
  if (needed_cycles == 0) return true;
  if (needed_cycles == kNoPaddle || state.tia.is_dumping) return false;
  // compared as the original does, in unsigned cycles since the frame began
  const std::int32_t origin = state.frame_start_cycle;
  const auto now = static_cast<std::uint32_t>(cycle - origin);
  return now > static_cast<std::uint32_t>(state.tia.dump_end_cycle - origin + needed_cycles);
}

}  // namespace rndfast::tia
