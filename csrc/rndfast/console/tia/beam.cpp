// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/beam.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "rndfast/console/tia/collisions.hpp"
#include "rndfast/console/tia/motion.hpp"
#include "rndfast/console/tia/objects.hpp"
#include "rndfast/console/tia/painting.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {
namespace {

std::uint8_t* row_of(const Machine& machine) {
  return machine.picture + machine.state.tia.row * std::int64_t{kScreenWidth};
}

bool is_blanked(const Tia& tia) { return (tia.vblank & 2) != 0; }

void rebuild(Tia& tia, unsigned object) {
  tia.shape[object] = (tia.enabled >> object & 1) != 0 ? shape_of(tia, object) : PixelMask{};
  tia.stale &= static_cast<std::uint8_t>(~(1U << object));
}

/// The columns that `object` covers in the present line, as far as they have not been drawn.
PixelMask columns_of(const Tia& tia, unsigned object) {
  if ((tia.cut >> object & 1) == 0) return tia.shape[object];
  const PixelMask rest = tia.shape[object] & kFrom[static_cast<unsigned>(tia.shape_from[object])];
  return (tia.was_drawn >> object & 1) != 0 ? tia.drawn[object] | rest : rest;
}

/// The effect that the end of a visible line has on the objects. Returns whether anything changed.
bool end_line(Tia& tia) {
  if (!tia.changes_at_line_end) return false;
  tia.changes_at_line_end = tia.star_motion;
  unsigned changed = 0;
  if (tia.pf_is_reflected != ((tia.ctrlpf & kReflect) != 0)) {
    tia.pf_is_reflected = !tia.pf_is_reflected;
    changed |= 1U << kPF;
  }
  for (unsigned player = 0; player < 2; ++player) {
    if (!tia.first_copy_is_hidden[player]) continue;
    tia.first_copy_is_hidden[player] = false;
    changed |= 1U << player;
  }
  if (tia.star_motion) {
    move_stars(tia);
    changed |= 1U << kM0;
  }
  tia.stale |= static_cast<std::uint8_t>(changed);
  return changed != 0;
}

/// Where a segment ends between multiples of four columns, the original may write whole groups of four. The rest of the
/// group stays visible if the frame ends here.
void overrun_segment(Machine& machine, std::int32_t from, std::int32_t to) {
  Tia& tia = machine.state.tia;
  const std::int32_t group = to & ~3;
  if (to == group || group < from || is_blanked(tia)) return;
  const unsigned enabled = tia.enabled;
  const unsigned playfield = 1U << kPF;
  const bool is_score = (tia.ctrlpf & kScore) != 0;
  const auto is_one_of = [&](std::initializer_list<unsigned> sets) {
    return std::find(sets.begin(), sets.end(), enabled) != sets.end();
  };
  constexpr unsigned p0 = 1U << kP0, p1 = 1U << kP1, m0 = 1U << kM0, m1 = 1U << kM1, bl = 1U << kBL;
  if (!is_one_of({playfield, p0, p1, p0 | p1, m0, m1, bl, m0 | m1, bl | m0, bl | m1, bl | p1}) &&
      (is_score || !is_one_of({playfield | p0, playfield | p1, playfield | bl}))) {
    return;
  }
  PixelMask window = without(kFrom[static_cast<unsigned>(group)], kFrom[static_cast<unsigned>(group) + 4]);
  for (unsigned object = 0; object < kPF; ++object) {
    if ((enabled >> object & 1) == 0) continue;
    const PixelMask reach = object <= kP1 ? player_shape(tia, object, 0xFF) : shape_of(tia, object);
    if (intersect(reach, window)) return;
  }
  PixelMask objects[kNumTiaObjects] = {};
  if ((enabled & playfield) != 0) objects[kPF] = shape_of(tia, kPF);
  Layers layers;
  arrange(machine, objects, layers);
  paint(machine, layers, row_of(machine), to, group + 4);
}

}  // namespace

/// The last line is drawn as soon as its last pixel is due.
void set_line_end(Tia& tia, const Window& window) {
  tia.line_end = tia.line_clock + kClocksPerLine - (tia.row + 1 == window.height ? 1 : 0);
}

void finish_line(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const bool was_whole = tia.cut == 0 && tia.segment_from == 0;
  const bool has_blanks = tia.hmove_blanks_next_pixels;
  if (tia.same_as_above && was_whole && has_blanks == tia.above_has_blanks) {
    tia.hmove_blanks_next_pixels = false;
    if (machine.picture != nullptr) {
      std::uint8_t* row = row_of(machine);
      std::memcpy(row, row - kScreenWidth, kScreenWidth);
      if (machine.layered_row + 1 == tia.row) machine.layered_row = tia.row;
    } else if (!has_blanks && !tia.changes_at_line_end) {  // nothing can happen in the next lines, either
      const std::int32_t num_lines =
          std::min((clock - tia.line_end - 1) / kClocksPerLine, machine.window.height - 2 - tia.row);
      if (num_lines > 0) {
        tia.row += num_lines;
        tia.line_clock += num_lines * kClocksPerLine;
      }
    }
  } else {
    draw_segment(machine, kScreenWidth);
  }
  for (unsigned cut = tia.cut; cut != 0; cut &= cut - 1) tia.shape_from[std::countr_zero(cut)] = 0;
  tia.cut = 0;
  tia.was_drawn = 0;
  tia.segment_from = 0;
  ++tia.row;
  // a frame that was reset may have more lines than a picture; the last ones are there only for their collisions
  if (tia.row >= kMaxScreenHeight) machine.picture = nullptr;
  if (tia.row == machine.window.height) {
    tia.line_clock = kNever;
    tia.line_end = std::numeric_limits<std::int32_t>::max();
    return;
  }
  const bool has_changed = end_line(tia);
  tia.same_as_above = was_whole && !has_changed;
  tia.above_has_blanks = has_blanks;
  tia.line_clock += kClocksPerLine;
  set_line_end(tia, machine.window);
}

void draw_segment(Machine& machine, std::int32_t to) {
  Tia& tia = machine.state.tia;
  const std::int32_t from = tia.segment_from;
  if (to <= from) return;
  tia.segment_from = to;

  if (!is_blanked(tia)) {
    unsigned latches = open_latches(tia);
    if (latches != 0 || machine.picture != nullptr) {
      for (unsigned stale = tia.stale; stale != 0; stale &= stale - 1) {
        rebuild(tia, static_cast<unsigned>(std::countr_zero(stale)));
      }
      const PixelMask* objects = tia.shape;
      PixelMask merged[kNumTiaObjects];
      if (tia.cut != 0) {
        for (unsigned object = 0; object < kNumTiaObjects; ++object) merged[object] = columns_of(tia, object);
        objects = merged;
      }
      const bool is_whole = from == 0 && to == kScreenWidth;
      if (latches != 0) {
        const PixelMask window = without(kFrom[static_cast<unsigned>(from)], kFrom[static_cast<unsigned>(to)]);
        for (; latches != 0; latches &= latches - 1) {
          const auto latch = static_cast<unsigned>(std::countr_zero(latches));
          const auto [first, second] = kPairs[latch];
          const bool collide = is_whole ? intersect(objects[first], objects[second])
                                        : intersect(objects[first] & window, objects[second]);
          tia.collisions |= static_cast<std::uint16_t>(collide << latch);
        }
      }
      if (machine.picture != nullptr) {
        if (is_whole) {
          paint_row(machine, objects);
        } else {
          Layers layers;
          arrange(machine, objects, layers);
          paint(machine, layers, row_of(machine), from, to);
        }
      }
    }
  } else if (machine.picture != nullptr) {
    std::memset(row_of(machine) + from, machine.shades[0], static_cast<std::size_t>(to - from));
  }

  if (tia.hmove_blanks_next_pixels && from < 8) {
    if (machine.picture != nullptr) std::fill(row_of(machine) + from, row_of(machine) + 8, machine.shades[0]);
    if (to >= 8) tia.hmove_blanks_next_pixels = false;
  }
}

void draw_literally(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  if (clock <= tia.drawn_clock || tia.row == machine.window.height) return;
  if (tia.row == 0 && tia.line_clock == kNever) {  // after restart_frame()
    if (clock < kClocksPerLine * machine.window.first_line) return;
    tia.line_clock = 0;
    set_line_end(tia, machine.window);
  }
  advance(machine, clock);
  if (tia.row == machine.window.height || clock < tia.line_clock) return;
  tia.drawn_clock = clock;
  const std::int32_t beam = clock - tia.line_clock;
  if (tia.hmove_blanks_next_pixels && machine.picture != nullptr && beam <= kBlankClocks) {  // still before column 0
    std::memset(row_of(machine), machine.shades[0], static_cast<std::size_t>(kBlankClocks + 8 - beam));
  }
  const std::int32_t from = tia.segment_from;
  const std::int32_t to = column_at(tia, clock);
  if (to <= from) return;
  draw_segment(machine, to);
  if (machine.picture != nullptr) overrun_segment(machine, from, to);
}

void keep_passed(Machine& machine, unsigned objects, std::int32_t column) {
  Tia& tia = machine.state.tia;
  // with score and priority set, colours depend on which objects are enabled
  if ((tia.ctrlpf & (kScore | kPriority)) == (kScore | kPriority) && machine.picture != nullptr) {
    draw_segment(machine, column);
  }
  for (unsigned rest = objects; rest != 0; rest &= rest - 1) {
    const auto object = static_cast<unsigned>(std::countr_zero(rest));
    const std::int32_t from = tia.shape_from[object];
    if (column <= from) continue;
    const auto bit = static_cast<std::uint8_t>(1U << object);
    tia.shape_from[object] = column;
    tia.cut |= bit;
    if ((tia.enabled & bit) == 0) continue;
    // without a picture, only collisions that are not known yet matter
    if (machine.picture == nullptr && (open_latches(tia) & kLatchesWith[object]) == 0) continue;
    if ((tia.stale & bit) != 0) rebuild(tia, object);
    const PixelMask passed = without(kFrom[static_cast<unsigned>(from)], kFrom[static_cast<unsigned>(column)]);
    const PixelMask columns = tia.shape[object] & passed;
    tia.drawn[object] = (tia.was_drawn & bit) != 0 ? tia.drawn[object] | columns : columns;
    tia.was_drawn |= bit;
  }
}

}  // namespace rndfast::tia
