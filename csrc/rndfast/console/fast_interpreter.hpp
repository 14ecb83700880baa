// SPDX-License-Identifier: MIT
// The 6507, in the timing model of the original's default: an instruction takes its cycles, and then does all of its
// reads and writes at once.
//
// Two interpreters are written from one table, opcodes.py. This one runs instructions decoded beforehand, as long as
// they lie in ordinary ROM. What it has no handler for, such as code in RAM or a subroutine whose stack is in the TIA,
// it leaves to bus_interpreter.hpp, one instruction at a time.
#pragma once

#include <cstdint>

#include "rndfast/console/machine.hpp"

namespace rndfast {

/// Runs until the frame ends, the processor jams, or `max_instructions` have been run.
void run_cpu(Machine& machine, std::int32_t max_instructions);

}  // namespace rndfast
