// SPDX-License-Identifier: MIT
// The beam: which line is being drawn, how far it has come, and what happens at a line's end.
//
// Only the order of a line's changes matters, not the time at which it is drawn. A change first brings the beam to its
// clock (arrive), which draws the lines that have ended, and then settles what the objects cover to the left of it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "rndfast/console/machine.hpp"

namespace rndfast::tia {

inline constexpr std::int32_t kNever = 0x40000000;

/// Sets line_end for the present row.
void set_line_end(Tia& tia, const Window& window);

/// Draws what is left of the line, and goes on to the next, or to a later one that ends no earlier than `clock`.
void finish_line(Machine& machine, std::int32_t clock);

/// Draws the line's columns up to `to` with the state as it is, and finds their collisions.
void draw_segment(Machine& machine, std::int32_t to);

/// Draws everything up to `clock`, as the original does at every access.
void draw_literally(Machine& machine, std::int32_t clock);

/// Of what `objects` cover as they are now, keeps the part to the left of `column` > 0.
void keep_passed(Machine& machine, unsigned objects, std::int32_t column);

/// Draws the lines that have ended before `clock`.
inline void advance(Machine& machine, std::int32_t clock) {
  while (clock > machine.state.tia.line_end) finish_line(machine, clock);
}

inline std::int32_t column_at(const Tia& tia, std::int32_t clock) {
  return std::clamp(clock - tia.line_clock - kBlankClocks, 0, kScreenWidth);
}

/// Brings the line up to `clock`, at which something is about to change; returns the column.
inline std::int32_t arrive(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  clock = std::max(clock, tia.drawn_clock);
  if (clock > tia.line_end) advance(machine, clock);
  return column_at(tia, clock);
}

/// `objects` are about to change at `column`: what they cover to its left is settled.
inline void settle(Machine& machine, unsigned objects, std::int32_t column) {
  Tia& tia = machine.state.tia;
  tia.same_as_above = false;
  if (column > 0) keep_passed(machine, objects, column);
  tia.stale |= static_cast<std::uint8_t>(objects);
}

}  // namespace rndfast::tia
