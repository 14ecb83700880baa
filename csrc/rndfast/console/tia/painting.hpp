// SPDX-License-Identifier: MIT
// From sets of columns to a row of pixels.
#pragma once

#include <cstdint>

#include "rndfast/console/machine.hpp"
#include "rndfast/console/tia/layers.hpp"

namespace rndfast::tia {

/// Decides which object is seen in each column, by the order that CTRLPF sets, and in what colour.
void arrange(const Machine& machine, const PixelMask* objects, Layers& layers);

/// Writes columns [from, to) of a row.
void paint(const Machine& machine, const Layers& layers, std::uint8_t* row, std::int32_t from, std::int32_t to);

/// Writes a whole row of the picture; if it is the row above once more, as a copy of that.
void paint_row(Machine& machine, const PixelMask* objects);

}  // namespace rndfast::tia
