// SPDX-License-Identifier: MIT
// What the decoder can ask of the fast interpreter. For these two alone: the list is generated.
#pragma once

#include <cstdint>

namespace rndfast {

/// How the fast interpreter runs an instruction, or two. Names are made of mnemonic and addressing mode, and of what
/// sort of operand the instruction has.
enum Handler : std::uint16_t {
#define RNDFAST_HANDLER(name, ...) kHandler_##name,
#include "fast_handlers.inc"
#undef RNDFAST_HANDLER
  kHandler_bus,  // leave it to the other interpreter
};

}  // namespace rndfast
