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
#include "rndfast/console/tia/registers.hpp"
#include "rndfast/console/tia/segment.hpp"
#include "rndfast/console/tia/shapes.hpp"

namespace rndfast::tia {
namespace {

/// The effect that the end of a visible line has on the objects. Returns whether anything changed.
[[gnu::noinline]] bool change_at_line_end(Tia& tia) {
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
  PixelMask window;
  store(window, columns_from(group) & ~columns_from(group + 4));
  for (unsigned object = 0; object < kPF; ++object) {
    if ((enabled >> object & 1) == 0) continue;
    PixelMask reach;
    store(reach, object <= kP1 ? shape_with(tia, object, 0xFF) : shape_of(tia, object));
    if (intersect(reach, window)) return;
  }
  PixelMask objects[kNumTiaObjects] = {};
  if ((enabled & playfield) != 0) store(objects[kPF], shape_of(tia, kPF));
  paint_columns(machine, objects, to, group + 4);
}

}  // namespace

/// The last line is drawn as soon as its last pixel is due.
void set_line_end(Tia& tia, const Window& window) {
  tia.line_end = tia.line_clock + kClocksPerLine - (tia.row + 1 == window.height ? 1 : 0);
}

void finish_lines(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  do {
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
    } else if (machine.picture == nullptr && (is_blanked(tia) || open_latches(tia) == 0)) {  // nothing to be found
      if (tia.segment_from < kHmoveBlankWidth) tia.hmove_blanks_next_pixels = false;
    } else {
      draw_segment(machine, kScreenWidth);
    }
    if (!was_whole) uncut(tia);
    tia.segment_from = 0;
    const std::int32_t row = ++tia.row;
    const std::int32_t height = machine.window.height;
    // a frame that was reset may have more lines than a picture; the last ones are there only for their collisions
    if (row >= kMaxScreenHeight) [[unlikely]]
      machine.picture = nullptr;
    if (row == height) [[unlikely]] {
      tia.line_clock = kNever;
      tia.line_end = std::numeric_limits<std::int32_t>::max();
      return;
    }
    tia.same_as_above = was_whole;
    if (tia.changes_at_line_end && change_at_line_end(tia)) tia.same_as_above = false;
    tia.above_has_blanks = has_blanks;
    const std::int32_t line_clock = tia.line_clock + kClocksPerLine;
    tia.line_clock = line_clock;
    tia.line_end = line_clock + kClocksPerLine;
    if (row + 1 == height) [[unlikely]]
      --tia.line_end;
  } while (clock > tia.line_end);
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

}  // namespace rndfast::tia
