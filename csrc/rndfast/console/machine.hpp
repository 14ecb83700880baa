// SPDX-License-Identifier: MIT
// What the processor and the chips work on while they run.
#pragma once

#include <cstdint>

#include "rndfast/common/simd.hpp"
#include "rndfast/console/cartridge.hpp"
#include "rndfast/console/decoded_program.hpp"
#include "rndfast/console/machine_state.hpp"
#include "rndfast/console/tia/layers.hpp"

namespace rndfast {

/// Lines of the picture.
struct Window {
  std::int32_t first_line;
  std::int32_t height;
};

struct Machine {
  MachineState& state;
  const Cartridge& cartridge;
  const DecodedProgram& program;  // the cartridge's
  Window window;
  bool allows_hmove_blanks;    // whether an HMOVE near the line's start blanks columns 0 .. 7
  std::uint8_t* picture;       // (height, 160), or nullptr: only find collisions
  const std::uint8_t* shades;  // (256,) what to store for each colour
  bool is_literal;             // draw at every access, as exactly as the original: for pictures that stay unfinished
  SimdLevel simd_level;        // how to draw

  tia::Layers layers = {};              // of the last row that was painted as a whole
  std::int32_t layered_row = -2;        // the row's number; none if far from any
  bool layered_row_has_blanks = false;  // over its layers, because of an HMOVE
};

}  // namespace rndfast
