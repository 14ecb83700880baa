// SPDX-License-Identifier: MIT
#include <algorithm>
#include <iterator>
#include <limits>

#include "rndfast/common/valid_state.hpp"
#include "rndfast/console/tia.hpp"
#include "rndfast/console/tia/beam.hpp"
#include "rndfast/console/tia/objects.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"

namespace rndfast::tia {
namespace {

static_assert(sizeof(Tia) == 448, "validate() must know every member");

void validate_flags(const Tia& tia) {
  require_state_flag("tia.pf_is_reflected", tia.pf_is_reflected);
  for (const bool& is_hidden : tia.first_copy_is_hidden) require_state_flag("tia.first_copy_is_hidden", is_hidden);
  require_state_flag("tia.star_motion", tia.star_motion);
  require_state_flag("tia.hmove_blanks_next_pixels", tia.hmove_blanks_next_pixels);
  require_state_flag("tia.is_dumping", tia.is_dumping);
  require_state_flag("tia.frame_has_ended", tia.frame_has_ended);
  require_state_flag("tia.color_loss_bit", tia.color_loss_bit);
  require_state_flag("tia.was_reset_in_frame", tia.was_reset_in_frame);
  require_state_flag("tia.same_as_above", tia.same_as_above);
  require_state_flag("tia.changes_at_line_end", tia.changes_at_line_end);
  require_state_flag("tia.above_has_blanks", tia.above_has_blanks);
}

void validate_objects(const Tia& tia) {
  for (const unsigned nibble : tia.motion) require_state_between("tia.motion", nibble, 0, 15);
  for (const unsigned column : tia.position) require_state_between("tia.position", column, 0, kScreenWidth - 1);
  require_state_between("tia.moving", unsigned{tia.moving}, 0, kMovable);
  require_state_between("tia.m0_variant", unsigned{tia.m0_variant}, 0, kM0Absent);
  require_state_between("tia.star_counter", unsigned{tia.star_counter}, 0, 3);
  for (const std::int16_t value : tia.no_effect) require_state_between("tia.no_effect", value, Tia::kNone, 0xFF);
  require_state_between("tia.enabled", unsigned{tia.enabled}, 0, kAllObjects);
  require_state_between("tia.stale", unsigned{tia.stale}, 0, kAllObjects);
  require_state_between("tia.cut", unsigned{tia.cut}, 0, kAllObjects);
  require_state_between("tia.was_enabled", unsigned{tia.was_enabled}, 0, kAllObjects);
  for (const std::int32_t column : tia.shape_from) require_state_between("tia.shape_from", column, 0, kScreenWidth);
  const auto is_within_line = [](const PixelMask& mask) {
    constexpr const PixelMask& kLine = kFrom[0];
    return std::equal(std::begin(mask.words), std::end(mask.words), std::begin(kLine.words),
                      [](std::uint64_t word, std::uint64_t columns) { return (word & ~columns) == 0; });
  };
  require_state(std::ranges::all_of(tia.shape, is_within_line), "tia.shape must be within the line");
}

/// Where the beam is: it follows from the row.
void validate_beam(const Tia& tia, const Window& window) {
  const bool waits_for_restart = tia.was_reset_in_frame && tia.row == 0 && tia.line_clock == kNever;
  Tia expected;
  expected.row = tia.row;
  if (waits_for_restart || tia.row == window.height) {
    expected.line_clock = kNever;
    expected.line_end = std::numeric_limits<std::int32_t>::max();
  } else {
    expected.line_clock = kClocksPerLine * (tia.row + (tia.was_reset_in_frame ? 0 : window.first_line));
    set_line_end(expected, window);
  }
  require_state(tia.line_clock == expected.line_clock, "tia.line_clock must be that of the row");
  require_state(tia.line_end == expected.line_end, "tia.line_end must be that of the row");
}

}  // namespace

void validate(const Tia& tia, const Window& window, std::int32_t max_lines, bool is_in_frame) {
  validate_flags(tia);
  validate_objects(tia);
  require_state(tia.last_line_cycle == last_line_cycle(max_lines),
                "tia.last_line_cycle must be that of the television format");
  require_state_between("tia.row", tia.row, 0, window.height);
  require_state_between("tia.drawn_clock", tia.drawn_clock, 0, kNever);
  require_state_between("tia.segment_from", tia.segment_from, 0, kScreenWidth);
  require_state(!tia.same_as_above || tia.row > 0, "tia.same_as_above must be false in row 0");
  if (is_in_frame) validate_beam(tia, window);
}

}  // namespace rndfast::tia
