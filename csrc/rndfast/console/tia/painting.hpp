// SPDX-License-Identifier: MIT
// From sets of columns to a row of pixels.
#pragma once

#include <cstdint>

#include "rndfast/console/machine.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"

namespace rndfast::tia {

/// Three disjoint sets of columns, with the colour of each; the background fills the rest.
struct Layers {
  PixelMask columns[3];
  std::uint8_t shades[3];
  std::uint8_t background;
};

/// Decides which object is seen in each column, by the order that CTRLPF sets, and in what colour.
Layers arrange(const Machine& machine, const PixelMask (&objects)[kNumTiaObjects]);

/// Writes columns [from, to) of a row.
void paint(const Machine& machine, const Layers& layers, std::uint8_t* row, std::int32_t from, std::int32_t to);

}  // namespace rndfast::tia
