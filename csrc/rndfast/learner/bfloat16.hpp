// SPDX-License-Identifier: MIT
// bfloat16 as its bits: the upper half of a float32. Arithmetic happens in float32.
#pragma once

#include <bit>
#include <cstdint>

namespace rndfast {

struct Bfloat16 {
  std::uint16_t bits;
};

/// Rounds to nearest, ties to even, as PyTorch does. `value` must not be NaN.
[[gnu::always_inline]] inline Bfloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounding = 0x7FFFU + ((bits >> 16U) & 1U);
  return {static_cast<std::uint16_t>((bits + rounding) >> 16U)};
}

}  // namespace rndfast
