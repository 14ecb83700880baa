// SPDX-License-Identifier: MIT
#include "rndfast/env/grey_pool.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "rndfast/console/machine_state.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kColors = 256;
constexpr std::size_t kWord = sizeof(std::uint64_t);  // pixels that are looked at together
static_assert(kScreenWidth % kWord == 0);

/// Brightness as OpenCV's RGB2GRAY computes it, in fixed point.
std::uint8_t grey_of_rgb(const std::array<std::uint8_t, 3>& rgb) {
  return static_cast<std::uint8_t>((9798U * rgb[0] + 19235U * rgb[1] + 3735U * rgb[2] + (1U << 14U)) >> 15U);
}

std::uint64_t load(const std::uint8_t* pixels) {
  std::uint64_t word = 0;
  std::memcpy(&word, pixels, kWord);
  return word;
}

}  // namespace

GreyPool::GreyPool(const Palette& palette) : greys_(std::make_unique<std::uint8_t[]>(kColors * kColors)) {
  for (std::size_t first = 0; first < kColors; ++first) {
    for (std::size_t second = 0; second < kColors; ++second) {
      std::array<std::uint8_t, 3> pooled;
      std::ranges::transform(palette.rgb[first], palette.rgb[second], pooled.begin(),
                             [](std::uint8_t a, std::uint8_t b) { return std::max(a, b); });
      greys_[first * kColors + second] = grey_of_rgb(pooled);
    }
  }
}

std::uint64_t GreyPool::grey_of(const std::uint8_t* first, const std::uint8_t* second) const {
  std::array<std::uint8_t, kWord> greys;
  for (std::size_t i = 0; i < kWord; ++i) greys[i] = greys_[first[i] * kColors + second[i]];
  return load(greys.data());
}

void GreyPool::pool(const std::uint8_t* first, const std::uint8_t* second, std::size_t height,
                    std::uint8_t* grey) const {
  // pictures repeat themselves: many rows are those above, most words are those to the left, and most others those
  // above
  std::uint64_t last_first = load(first);
  std::uint64_t last_second = load(second);
  std::uint64_t last_grey = grey_of(first, second);
  for (std::size_t y = 0; y < height; ++y, first += kScreenWidth, second += kScreenWidth, grey += kScreenWidth) {
    if (y > 0 && std::memcmp(first, first - kScreenWidth, kScreenWidth) == 0 &&
        std::memcmp(second, second - kScreenWidth, kScreenWidth) == 0) {
      std::memcpy(grey, grey - kScreenWidth, kScreenWidth);
      continue;
    }
    for (std::size_t x = 0; x < kScreenWidth; x += kWord) {
      const std::uint64_t first_word = load(first + x);
      const std::uint64_t second_word = load(second + x);
      if (((first_word ^ last_first) | (second_word ^ last_second)) != 0) {
        last_first = first_word;
        last_second = second_word;
        const bool is_as_above =
            y > 0 && load(first + x - kScreenWidth) == first_word && load(second + x - kScreenWidth) == second_word;
        last_grey = is_as_above ? load(grey + x - kScreenWidth) : grey_of(first + x, second + x);
      }
      std::memcpy(grey + x, &last_grey, kWord);
    }
  }
}

}  // namespace rndfast
