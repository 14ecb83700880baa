// SPDX-License-Identifier: MIT
// The beam: which line is being drawn, how far it has come, and what happens at a line's end.
//
// Only the order of a line's changes matters, not the time at which it is drawn. A change first brings the beam to its
// clock (arrive), which draws the lines that have ended, and then settles what the objects cover to the left of it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "rndfast/console/machine.hpp"
#include "rndfast/console/tia/collisions.hpp"
#include "rndfast/console/tia/registers.hpp"
#include "rndfast/console/tia/segment.hpp"

namespace rndfast::tia {

inline constexpr std::int32_t kNever = 0x40000000;

/// Sets line_end for the present row.
void set_line_end(Tia& tia, const Window& window);

/// Draws the lines that have ended before `clock`; there is one at least.
void finish_lines(Machine& machine, std::int32_t clock);

/// Draws everything up to `clock`, as the original does at every access.
void draw_literally(Machine& machine, std::int32_t clock);

/// Draws the lines that have ended before `clock`.
inline void advance(Machine& machine, std::int32_t clock) {
  if (clock > machine.state.tia.line_end) finish_lines(machine, clock);
}

/// The column that the beam reaches at `clock`, before the end of the line; negative before column 0.
inline std::int32_t column_at(const Tia& tia, std::int32_t clock) { return clock - tia.line_clock - kBlankClocks; }

/// Brings the line up to `clock`, at which something is about to change; returns the column.
inline std::int32_t arrive(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  clock = std::max(clock, tia.drawn_clock);
  advance(machine, clock);
  return column_at(tia, clock);
}

/// On a new line, the registers hold from column 0 on.
inline void uncut(Tia& tia) {
  tia.stale |= tia.cut;
  tia.cut = 0;
  tia.was_enabled = 0;
  std::fill(std::begin(tia.shape_from), std::end(tia.shape_from), 0);
}

/// What `object` covers to the left of `column` stays as it is.
inline void keep_passed(Machine& machine, unsigned object, std::int32_t column) {
  Tia& tia = machine.state.tia;
  if (column <= tia.shape_from[object]) return;
  const auto bit = static_cast<std::uint8_t>(1U << object);
  // without a picture, only collisions that are not known yet matter
  if ((tia.enabled & bit) == 0 || machine.picture != nullptr || (open_latches(tia) & kLatchesWith[object]) != 0) {
    if ((tia.stale & bit) != 0) rebuild(machine, object);
    tia.was_enabled |= tia.enabled & bit;
  }
  tia.shape_from[object] = column;
  tia.cut |= bit;
}

/// `objects` are about to change at `column`: what they cover to its left is settled.
[[gnu::always_inline]] inline void settle(Machine& machine, unsigned objects, std::int32_t column) {
  Tia& tia = machine.state.tia;
  tia.same_as_above = false;
  if (column > 0) {
    // with score and priority set, colours depend on which objects are enabled
    if ((tia.ctrlpf & (kScore | kPriority)) == (kScore | kPriority) && machine.picture != nullptr) [[unlikely]] {
      draw_segment(machine, column);
    }
    if (__builtin_constant_p(objects) && std::has_single_bit(objects)) {
      keep_passed(machine, static_cast<unsigned>(std::countr_zero(objects)), column);
    } else {
      for (unsigned rest = objects; rest != 0; rest &= rest - 1) {
        keep_passed(machine, static_cast<unsigned>(std::countr_zero(rest)), column);
      }
    }
  }
  tia.stale |= static_cast<std::uint8_t>(objects);
}

}  // namespace rndfast::tia
