// SPDX-License-Identifier: MIT
// Instruction sets, chosen once at run time. A vector kernel is one always-inlined body that is compiled once per
// level with a target attribute (see RNDFAST_SIMD_KERNEL); the caller picks the copy by level. The body is plain
// C++ and the build forbids fused multiply-add contraction, so every level gives the same bits.
#pragma once

#include <string_view>

#if (defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__)))
#define RNDFAST_X86_LEVELS 1
#define RNDFAST_TARGET_AVX2 [[gnu::target("avx2,bmi,bmi2,fma,f16c,lzcnt,movbe")]]
#define RNDFAST_TARGET_AVX512 \
  [[gnu::target("avx2,bmi,bmi2,fma,f16c,lzcnt,movbe,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]]
#endif

namespace rndfast {

enum class SimdLevel { kBaseline, kAvx2, kAvx512 };

/// The best level that this processor and build support. NEON is part of the aarch64 baseline.
SimdLevel detect_simd_level();

/// "baseline", "avx2" or "avx512".
std::string_view simd_level_name(SimdLevel level);

/// Inverse of simd_level_name. Throws std::invalid_argument for an unknown name or a level that this processor lacks.
SimdLevel parse_simd_level(std::string_view name);

}  // namespace rndfast

/// Defines `name(level, args...)`, which runs the always-inlined `body(args...)` compiled for `level`.
/// `params` and `args` are parenthesised lists: RNDFAST_SIMD_KERNEL(add, add_body, (int a, int b), (a, b))
#ifdef RNDFAST_X86_LEVELS
#define RNDFAST_SIMD_KERNEL(name, body, params, args)            \
  void name##_baseline params { body args; }                     \
  RNDFAST_TARGET_AVX2 void name##_avx2 params { body args; }     \
  RNDFAST_TARGET_AVX512 void name##_avx512 params { body args; } \
  constexpr auto name##_for(SimdLevel level) {                   \
    switch (level) {                                             \
      case SimdLevel::kAvx512:                                   \
        return &name##_avx512;                                   \
      case SimdLevel::kAvx2:                                     \
        return &name##_avx2;                                     \
      case SimdLevel::kBaseline:                                 \
        break;                                                   \
    }                                                            \
    return &name##_baseline;                                     \
  }
#else
#define RNDFAST_SIMD_KERNEL(name, body, params, args) \
  void name##_baseline params { body args; }          \
  constexpr auto name##_for(SimdLevel) { return &name##_baseline; }
#endif
