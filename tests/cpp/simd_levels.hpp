// SPDX-License-Identifier: MIT
// The instruction sets that this processor has: every kernel is tested at each, against the baseline.
#pragma once

#include <vector>

#include "rndfast/common/simd.hpp"

namespace rndfast::tests {

inline std::vector<SimdLevel> supported_levels() {
  std::vector<SimdLevel> levels;
  for (const auto level : {SimdLevel::kBaseline, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (level <= detect_simd_level()) levels.push_back(level);
  }
  return levels;
}

}  // namespace rndfast::tests
