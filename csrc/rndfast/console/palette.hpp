// SPDX-License-Identifier: MIT
// What the console's colour bytes look like, by television format.
#pragma once

#include <array>
#include <cstdint>

namespace rndfast {

enum class TvFormat : std::uint8_t { kNtsc, kPal };

/// Both tables are indexed by a colour byte as the console draws it: hue in the upper four bits, then three bits of
/// luminance. Bit 0 is set only in PAL pictures that lose their colour, because they have an odd number of lines.
struct Palette {
  std::array<std::uint8_t, 256> grey;
  std::array<std::array<std::uint8_t, 3>, 256> rgb;
};

/// The Arcade Learning Environment's colours.
const Palette& palette(TvFormat format);

}  // namespace rndfast
