// SPDX-License-Identifier: MIT
// The 6507, in the timing model of the original's default: an instruction takes its cycles, and then does all of its
// reads and writes at once.
//
// Two interpreters are generated from one table (opcodes.py). The fast one runs instructions decoded beforehand, as
// long as they lie in ordinary ROM and touch only RAM, ordinary ROM and the TIA. Everything else, from bank switching
// to code in RAM, is run one instruction at a time by the other, which makes every access on the bus.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "rndfast/console/machine.hpp"

namespace rndfast {

/// Runs until the frame ends, the processor jams, or `max_instructions` have been run.
void run_cpu(Machine& machine, std::int32_t max_instructions);

/// Decodes the instruction at `offset` of a ROM. `is_decodable(offset, length)` tells whether that many bytes are
/// ordinary ROM, as is the byte after them.
DecodedInstruction decode_instruction(std::span<const std::uint8_t> rom, unsigned offset,
                                      const std::function<bool(unsigned offset, unsigned length)>& is_decodable);

}  // namespace rndfast
