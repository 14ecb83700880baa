// SPDX-License-Identifier: MIT
#include "rndfast/env/grey_pool.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "doctest/doctest.h"
#include "rndfast/common/random.hpp"
#include "rndfast/console/machine_state.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kHeight = 250;
constexpr std::size_t kSize = kHeight * kScreenWidth;

/// Brightness in floating point, which the pooled grey may miss by its fixed-point weights.
double grey_of(const Palette& palette, std::uint8_t first, std::uint8_t second) {
  const auto& a = palette.rgb[first];
  const auto& b = palette.rgb[second];
  return 0.299 * std::max(a[0], b[0]) + 0.587 * std::max(a[1], b[1]) + 0.114 * std::max(a[2], b[2]);
}

}  // namespace

TEST_CASE("every pair of colours is pooled by channel and turned grey, wherever it stands") {
  for (const TvFormat format : {TvFormat::kNtsc, TvFormat::kPal}) {
    const Palette& colors = palette(format);
    const GreyPool pool(colors);
    Mt19937 random(1);
    std::vector<std::uint8_t> first(kSize);
    std::vector<std::uint8_t> second(kSize);
    std::vector<std::uint8_t> grey(kSize);
    std::vector<std::uint8_t> seen(kSize);
    for (std::size_t begin = 0; begin < 256 * 256; begin += kSize) {
      for (std::size_t i = 0; i < kSize; ++i) {  // all pairs in order, then the same with repeated words and rows
        first[i] = static_cast<std::uint8_t>((begin + i) / 256);
        second[i] = static_cast<std::uint8_t>(begin + i);
      }
      for (const bool repeats : {false, true}) {
        if (repeats) {
          for (std::size_t i = 8; i < kSize; ++i) {
            const std::size_t from = i - (random() % 2 == 0 && i >= kScreenWidth ? kScreenWidth : 8);
            if (random() % 64 == 0) continue;
            first[i] = first[from];
            second[i] = second[from];
          }
        }
        pool.pool(first.data(), second.data(), kHeight, grey.data());
        double worst = 0;
        for (std::size_t i = 0; i < kSize; ++i) {
          worst = std::max(worst, std::fabs(grey[i] - grey_of(colors, first[i], second[i])));
        }
        CHECK(worst < 0.51);
      }
    }
  }
}

TEST_CASE("a picture pooled with itself is its grey") {
  const Palette& colors = palette(TvFormat::kNtsc);
  const GreyPool pool(colors);
  std::vector<std::uint8_t> picture(kSize);
  for (std::size_t i = 0; i < kSize; ++i) picture[i] = static_cast<std::uint8_t>(2 * i);
  std::vector<std::uint8_t> grey(kSize);
  pool.pool(picture.data(), picture.data(), kHeight, grey.data());
  CHECK(std::ranges::equal(grey, picture, {}, {}, [&](std::uint8_t color) { return colors.grey[color]; }));
}

}  // namespace rndfast
