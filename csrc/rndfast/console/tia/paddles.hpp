// SPDX-License-Identifier: MIT
// Paddles: the longer a capacitor takes to charge through the paddle's resistance, the further it is turned.
#pragma once

#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

/// Takes note of VBLANK: its bit 7 grounds the capacitors.
void ground_capacitors(Tia& tia, unsigned vblank, std::int32_t cycle);

/// Whether the capacitor at INPT0 .. INPT3 has charged by `cycle`.
bool is_charged(const MachineState& state, unsigned input, std::int32_t cycle);

}  // namespace rndfast::tia
