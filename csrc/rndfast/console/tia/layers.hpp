// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

/// Three disjoint sets of columns, with the colour of each; the background fills the rest.
struct Layers {
  PixelMask columns[3];
  std::uint8_t shades[4];  // the background's last
};

}  // namespace rndfast::tia
