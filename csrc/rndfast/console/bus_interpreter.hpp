// SPDX-License-Identifier: MIT
// Runs any instruction, wherever it lies and whatever it touches, with every access on the bus in the machine's order.
#pragma once

#include "rndfast/console/machine.hpp"

namespace rndfast {

/// Runs the instruction at cpu.pc.
void step_on_bus(Machine& machine);

}  // namespace rndfast
