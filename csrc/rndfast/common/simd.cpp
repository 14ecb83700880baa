// SPDX-License-Identifier: MIT
#include "rndfast/common/simd.hpp"

#include <stdexcept>
#include <string>

namespace rndfast {

SimdLevel detect_simd_level() {
#ifdef RNDFAST_X86_LEVELS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return SimdLevel::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
      __builtin_cpu_supports("fma")) {
    return SimdLevel::kAvx2;
  }
#endif
  return SimdLevel::kBaseline;
}

std::string_view simd_level_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kBaseline:
      break;
  }
  return "baseline";
}

SimdLevel parse_simd_level(std::string_view name) {
  for (const auto level : {SimdLevel::kBaseline, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (name != simd_level_name(level)) continue;
    if (level > detect_simd_level()) {
      throw std::invalid_argument("simd level '" + std::string(name) +
                                  "' is not supported by this processor; best is '" +
                                  std::string(simd_level_name(detect_simd_level())) + "'");
    }
    return level;
  }
  throw std::invalid_argument("simd level must be 'auto', 'baseline', 'avx2' or 'avx512', got '" + std::string(name) +
                              "'");
}

}  // namespace rndfast
