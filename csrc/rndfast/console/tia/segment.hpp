// SPDX-License-Identifier: MIT
// A segment of a line: which objects collide in it, and what it looks like.
#pragma once

#include <cstdint>

#include "rndfast/common/simd.hpp"
#include "rndfast/console/machine.hpp"

namespace rndfast::tia {

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

void rebuild_baseline(Tia& tia, unsigned objects);
void rebuild_avx2(Tia& tia, unsigned objects);

/// Brings Tia::shape up to date for `objects`, which are stale.
inline void rebuild(Machine& machine, unsigned objects) {
#ifdef RNDFAST_X86_LEVELS
  if (machine.simd_level != SimdLevel::kBaseline) return rebuild_avx2(machine.state.tia, objects);
#endif
  rebuild_baseline(machine.state.tia, objects);
}

/// Paints columns [from, to) of the line as `objects` cover them.
void paint_columns(const Machine& machine, const PixelMask* objects, std::int32_t from, std::int32_t to);

}  // namespace rndfast::tia
