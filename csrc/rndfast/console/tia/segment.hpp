// SPDX-License-Identifier: MIT
// A segment of a line: which objects collide in it, and what it looks like.
#pragma once

#include <array>
#include <cstdint>

#include "rndfast/common/simd.hpp"
#include "rndfast/console/machine.hpp"

namespace rndfast::tia {

/// Columns that an HMOVE near the line's start blanks.
inline constexpr std::int32_t kHmoveBlankWidth = 8;

inline bool is_blanked(const Tia& tia) { return (tia.vblank & 2) != 0; }

inline std::uint8_t* row_of(const Machine& machine) {
  return machine.picture + machine.state.tia.row * std::int64_t{kScreenWidth};
}

void draw_segment_baseline(Machine& machine, std::int32_t to);
void draw_segment_avx2(Machine& machine, std::int32_t to);

/// Draws the line's columns up to `to` with the state as it is, and finds their collisions.
inline void draw_segment(Machine& machine, std::int32_t to) {
  if (to <= machine.state.tia.segment_from) return;
#ifdef RNDFAST_X86_LEVELS
  if (machine.simd_level != SimdLevel::kBaseline) return draw_segment_avx2(machine, to);
#endif
  draw_segment_baseline(machine, to);
}

using RebuildFunctions = std::array<void (*)(Tia& tia), kNumTiaObjects>;
extern const RebuildFunctions kRebuildBaseline;
extern const RebuildFunctions kRebuildAvx2;

/// Brings the shape of `object`, which is stale, up to date.
inline void rebuild(Machine& machine, unsigned object) {
#ifdef RNDFAST_X86_LEVELS
  if (machine.simd_level != SimdLevel::kBaseline) return kRebuildAvx2[object](machine.state.tia);
#endif
  kRebuildBaseline[object](machine.state.tia);
}

/// Paints columns [from, to) of the line as `objects` cover them.
void paint_columns(const Machine& machine, const PixelMask* objects, std::int32_t from, std::int32_t to);

}  // namespace rndfast::tia
