// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/motion.hpp"

#include <array>

#include "rndfast/console/tia/objects.hpp"

namespace rndfast::tia {
PlayerStrobe strobe_player(std::int32_t old_position, unsigned nusiz, std::int32_t beam_clock) {
  const std::int32_t position = beam_clock < kBlankClocks ? 3 : (beam_clock - kBlankClocks + 5) % kScreenWidth;
  const unsigned mode = nusiz & 7;
  const std::int32_t width = mode == 5 ? 16 : mode == 7 ? 32 : 8;
  static constexpr std::array<std::uint8_t, 8> kCopies = {1, 3, 5, 7, 17, 1, 21, 1};  // bit i: a copy at 16 i
  bool is_before_copy = false;
  bool is_within_copy = false;
  for (int copy = 0; copy < 5; ++copy) {
    if ((kCopies[mode] >> copy & 1) == 0) continue;
    const std::int32_t distance = (position - old_position - 16 * copy + 2 * kScreenWidth) % kScreenWidth;
    is_before_copy |= distance < 4;
    is_within_copy |= distance >= 4 && distance < 4 + width;
  }
  return {position, !is_before_copy, is_within_copy};
}

std::int32_t strobed_position(unsigned object, std::int32_t beam_clock, std::int32_t clocks_since_hmove) {
  const auto is_at = [&](std::int32_t since, std::int32_t clock) {
    return clocks_since_hmove == since && beam_clock == clock;
  };
  if (object == kM0) {
    if (is_at(60, 69)) return 8;
  } else if (object == kM1) {
    if (is_at(9, 18)) return 3;
  } else {
    if (is_at(54, 60) || is_at(54, 69)) return 10;
    if (is_at(9, 18)) return 3;
    if (is_at(21, 30)) return 6;
    if (is_at(18, 27)) return 5;
  }
  return beam_clock < kBlankClocks ? 2 : (beam_clock - kBlankClocks + 4) % kScreenWidth;
}

int missile_offset(unsigned player_nusiz) {
  const unsigned mode = player_nusiz & 7;
  return mode == 5 ? 8 : mode == 7 ? 16 : 4;
}

void set_motion(Tia& tia, unsigned object, unsigned nibble) {
  const unsigned bit = 1U << object;
  tia.motion[object] = static_cast<std::uint8_t>(nibble);
  tia.moving = static_cast<std::uint8_t>(nibble != 0 ? tia.moving | bit : tia.moving & ~bit);
}

bool arms_stars(const Tia& tia, unsigned nibble, std::int32_t clock) {
  return nibble == 6 && tia.motion[kM0] == 7 && clock == tia.hmove_clock + 63;
}

void move_stars(Tia& tia) {
  static constexpr std::array<int, 4> kShift = {18, 33, 0, 17};
  tia.star_counter = (tia.star_counter + 1) & 3;
  const int position = tia.position[kM0] - kShift[tia.star_counter];
  tia.position[kM0] = static_cast<std::uint8_t>(position < 0 ? position + kScreenWidth : position);
  tia.m0_variant = tia.star_counter == 1 ? kM0Wide : tia.star_counter == 2 ? kM0Absent : kM0Normal;
}

bool has_star_effects(const Tia& tia) { return tia.star_motion || tia.m0_variant != kM0Normal; }

}  // namespace rndfast::tia
