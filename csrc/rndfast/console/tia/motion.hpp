// SPDX-License-Identifier: MIT
// Where the five movable objects are: the position counters that the RESxx strobes reset and that HMOVE and the stars
// of "Cosmic Ark" advance. The distances are those of docs/emulator.md, "Distances and delays of the TIA", which names
// a witness of each.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

/// What a RESP0 or RESP1 strobe does.
struct PlayerStrobe {
  std::int32_t position;
  bool hides_first_copy;   // until the end of the line
  bool is_within_old_one;  // the beam is in a copy that the old position draws: the strobe takes effect later
};
PlayerStrobe strobe_player(std::int32_t old_position, unsigned nusiz, std::int32_t beam_clock);

/// The position after RESM0, RESM1 or RESBL.
std::int32_t strobed_position(unsigned object, std::int32_t beam_clock, std::int32_t clocks_since_hmove);

/// How far to the right of its player's position a missile is when RESMP0 or RESMP1 lets it go.
int missile_offset(unsigned player_nusiz);

/// Whether an HMOVE at `cycle` of a line moves each object by what its motion register says, no more and no less.
constexpr bool is_regular_hmove(unsigned cycle) { return cycle <= 3 || cycle == 75; }

/// Whether an HMOVE at `cycle` of a line blanks columns 0 .. 7.
inline bool hmove_blanks(unsigned cycle) { return cycle <= 20 || cycle == 75; }

/// How far to the right HMOVE at `cycle` of a line moves an object whose motion register holds `nibble`, by both.
inline constexpr std::array<std::array<std::int8_t, 16>, kCyclesPerLine> kHmoveDistance = [] {
  // from the left border on, the object gets too few or too many of the extra clocks that move it
  constexpr std::array<int, 17> kFloor = {-6, -5, -5, -4, -3, -2, -2, -1, 0, 1, 1, 2, 3, 4, 4, 5, 6};
  constexpr std::array<int, 20> kLateness = {-6, -5, -4, -4, -3, -2, -1, -1, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8};
  std::array<std::array<std::int8_t, 16>, kCyclesPerLine> table{};
  for (unsigned cycle = 0; cycle < kCyclesPerLine; ++cycle) {
    for (int nibble = 0; nibble < 16; ++nibble) {
      const int regular = nibble < 8 ? -nibble : 16 - nibble;
      int distance = 0;
      if (is_regular_hmove(cycle)) {
        distance = regular;
      } else if (cycle <= 20) {
        distance = std::max(regular, kFloor[cycle - 4]);
      } else if (cycle > 54) {
        distance = std::min(0, regular - kLateness[cycle - 55]);
      }
      table[cycle][static_cast<unsigned>(nibble)] = static_cast<std::int8_t>(distance);
    }
  }
  return table;
}();

/// An object's position after that.
inline std::uint8_t moved_position(std::uint8_t position, unsigned cycle, unsigned nibble) {
  const int moved = position + kHmoveDistance[cycle][nibble];
  const int from_left = moved < 0 ? moved + kScreenWidth : moved;
  return static_cast<std::uint8_t>(from_left >= kScreenWidth ? from_left - kScreenWidth : from_left);
}

/// Sets a motion register.
void set_motion(Tia& tia, unsigned object, unsigned nibble);

/// Whether writing `nibble` to HMM0 sets off the stars.
bool arms_stars(const Tia& tia, unsigned nibble, std::int32_t clock);

/// Moves missile 0 as the stars do at the end of each line.
void move_stars(Tia& tia);

/// Whether a line that has ended, drawn or not yet, may have left missile 0 elsewhere, or other than NUSIZ0 says.
bool has_star_effects(const Tia& tia);

}  // namespace rndfast::tia
