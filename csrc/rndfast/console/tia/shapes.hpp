// SPDX-License-Identifier: MIT
// Which columns each object covers, given the registers and positions as they are now.
#pragma once

#include <array>
#include <cstdint>

#include "rndfast/console/tia/objects.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"

namespace rndfast::tia {

/// The copies of `bits` that NUSIZ mode 0 .. 7 asks for.
[[gnu::always_inline]] inline Columns copies_of(std::uint64_t bits, unsigned position, unsigned mode,
                                                bool first_is_hidden) {
  // the copies at 0, 16 and 32; bits that a multiplication moves do not meet
  constexpr std::uint64_t kFirst = 1, kClose = 1 << 16, kMedium = std::uint64_t{1} << 32;
  static constexpr std::array<std::uint64_t, 8> kNear = {
      kFirst, kFirst | kClose, kFirst | kMedium, kFirst | kClose | kMedium, kFirst, kFirst, kFirst | kMedium, kFirst};
  Columns columns = placed(bits * (kNear[mode] - (first_is_hidden ? kFirst : 0)), position);
  if (mode == 4 || mode == 6) columns |= placed(bits, (position + 64) % kScreenWidth);
  return columns;
}

/// A player as it would look with `graphics`.
[[gnu::always_inline]] inline Columns shape_with(const Tia& tia, unsigned player, unsigned graphics) {
  const bool is_reflected = (tia.refp[player] & 8) != 0;
  const unsigned pixels = is_reflected ? graphics : kReversed[graphics];
  const unsigned mode = tia.nusiz[player] & 7;
  std::uint64_t bits = pixels;
  if (mode == 5) bits = std::uint64_t{kStretched<std::uint16_t, 2>[pixels]} << 1;
  if (mode == 7) bits = std::uint64_t{kStretched<std::uint32_t, 4>[pixels]} << 1;
  return copies_of(bits, tia.position[player], mode, tia.first_copy_is_hidden[player]);
}

[[gnu::always_inline]] inline Columns missile_shape(const Tia& tia, unsigned missile) {
  unsigned size = (tia.nusiz[missile] >> 4) & 3U;
  if (missile == 0 && tia.m0_variant == kM0Absent) return Columns{};
  if (missile == 0 && tia.m0_variant == kM0Wide) size |= 1;
  const std::uint64_t bits = (std::uint64_t{1} << (1U << size)) - 1;
  return copies_of(bits, tia.position[kM0 + missile], tia.nusiz[missile] & 7, false);
}

[[gnu::always_inline]] inline Columns ball_shape(const Tia& tia) {
  return placed((std::uint64_t{1} << (1U << ((tia.ctrlpf >> 4) & 3U))) - 1, tia.position[kBL]);
}

[[gnu::always_inline]] inline Columns playfield_shape(const Tia& tia) {
  // from left to right: PF0 from bit 4 up, PF1 from bit 7 down, PF2 from bit 0 up, each bit four columns wide
  const auto& up = kStretched<std::uint32_t, 4>;
  const auto& down = kStretchedBackwards;
  const std::uint64_t left =
      up[tia.pf[0] >> 4] | std::uint64_t{down[tia.pf[1]]} << 16 | std::uint64_t{up[tia.pf[2]]} << 48;
  const std::uint64_t left_end = up[tia.pf[2]] >> 16;
  std::uint64_t right = left;
  std::uint64_t right_end = left_end;
  if (tia.pf_is_reflected) {
    right = down[tia.pf[2]] | std::uint64_t{up[tia.pf[1]]} << 32;
    right_end = down[tia.pf[0] & 0xF0];
  }
  return Columns{left, left_end | right << 16, right >> 48 | right_end << 16, 0};
}

/// What an enabled object covers.
[[gnu::always_inline]] inline Columns shape_of(const Tia& tia, unsigned object) {
  switch (object) {
    case kP0:
    case kP1:
      return shape_with(tia, object, current_graphics(tia, object));
    case kM0:
    case kM1:
      return missile_shape(tia, object - kM0);
    case kBL:
      return ball_shape(tia);
    default:
      return playfield_shape(tia);
  }
}

}  // namespace rndfast::tia
