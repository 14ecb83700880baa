// SPDX-License-Identifier: MIT
#include "rndfast/common/simd.hpp"

#include <cstddef>
#include <stdexcept>
#include <vector>

#include "../simd_levels.hpp"
#include "doctest/doctest.h"

namespace rndfast {
namespace {

[[gnu::always_inline]] inline void multiply_add_body(const float* in, std::size_t size, float* out) {
  for (std::size_t i = 0; i < size; ++i) out[i] = in[i] * in[i] + in[i];
}
RNDFAST_SIMD_KERNEL(multiply_add, multiply_add_body, (const float* in, std::size_t size, float* out), (in, size, out))

}  // namespace

TEST_CASE("names and levels are inverse") {
  for (const auto level : tests::supported_levels()) CHECK(parse_simd_level(simd_level_name(level)) == level);
}

TEST_CASE("a level that is unknown or not supported is refused") {
  CHECK_THROWS_WITH_AS(parse_simd_level("neon"),
                       "simd level must be 'auto', 'baseline', 'avx2' or 'avx512', got 'neon'", std::invalid_argument);
  CHECK_THROWS_AS(parse_simd_level(""), std::invalid_argument);
  for (const auto level : {SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (level > detect_simd_level()) CHECK_THROWS_AS(parse_simd_level(simd_level_name(level)), std::invalid_argument);
  }
}

TEST_CASE("no level fuses a multiplication and an addition") {
  // 1 + e squared, with e = 2^-13, rounds; a fused operation would not
  for (std::size_t size = 0; size < 70; ++size) {
    const std::vector<float> in(size, 1.0F + 0x1p-13F);
    for (const auto level : tests::supported_levels()) {
      std::vector<float> out(size);
      multiply_add_for(level)(in.data(), size, out.data());
      for (const float value : out) {
        const volatile float product = in[0] * in[0];
        CHECK(value == product + in[0]);
      }
    }
  }
}

}  // namespace rndfast
