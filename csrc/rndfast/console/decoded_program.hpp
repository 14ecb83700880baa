// SPDX-License-Identifier: MIT
// A ROM's instructions, decoded once for all consoles that run it, for the fast interpreter.
#pragma once

#include <cstdint>
#include <vector>

#include "rndfast/console/cartridge.hpp"

namespace rndfast {

struct DecodedInstruction {
  std::uint16_t handler;  // see handlers.hpp
  std::uint16_t operand;  // the bytes after the opcode; of a branch, the signed distance to its target
};

/// One instruction for every offset of the ROM: any of them could be where one begins.
using DecodedProgram = std::vector<DecodedInstruction>;

DecodedProgram decode_program(const Cartridge& cartridge);

}  // namespace rndfast
