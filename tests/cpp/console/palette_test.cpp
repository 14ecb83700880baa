// SPDX-License-Identifier: MIT
#include "rndfast/console/palette.hpp"

#include <array>
#include <cstdint>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

using Rgb = std::array<std::uint8_t, 3>;

}  // namespace

TEST_CASE("the first hue is grey, and grey is luma") {
  for (const auto format : {TvFormat::kNtsc, TvFormat::kPal}) {
    const Palette& colours = palette(format);
    for (std::size_t i = 0; i < 16; i += 2) {
      CHECK(colours.rgb[i] == Rgb{colours.grey[i], colours.grey[i], colours.grey[i]});
    }
  }
  CHECK(palette(TvFormat::kNtsc).rgb[0x1E] == Rgb{252, 252, 84});
  CHECK(palette(TvFormat::kNtsc).grey[0x1E] == 233);  // 232.8
  CHECK(palette(TvFormat::kNtsc).grey[0x30] == 59);   // 59.48
  CHECK(palette(TvFormat::kPal).rgb[0x20] == Rgb{128, 88, 0});
  CHECK(palette(TvFormat::kPal).grey[0x20] == 90);  // 89.9
}

TEST_CASE("PAL without colour is grey in RGB, and the next colour's blue in grey") {
  const Palette& colours = palette(TvFormat::kPal);
  CHECK(colours.rgb[0x21] == Rgb{90, 90, 90});
  CHECK(colours.grey[0x21] == 0x1A);
  CHECK(colours.rgb[0x2F] == Rgb{223, 223, 223});
  CHECK(colours.grey[0x2F] == 0x00);  // of the next hue
  CHECK(colours.rgb[0xFF] == Rgb{236, 236, 236});
  CHECK(colours.grey[0xFF] == 0);
}

TEST_CASE("bit 0 of a colour says nothing in NTSC") {
  const Palette& colours = palette(TvFormat::kNtsc);
  for (std::size_t i = 0; i < 256; i += 2) {
    CHECK(colours.rgb[i] == colours.rgb[i + 1]);
    CHECK(colours.grey[i] == colours.grey[i + 1]);
  }
}

}  // namespace rndfast
