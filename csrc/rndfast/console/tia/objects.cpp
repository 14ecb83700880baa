// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/objects.hpp"

namespace rndfast::tia {
namespace {

/// Adds the copies of `bits` that NUSIZ mode 0 .. 7 asks for.
void add_copies(PixelMask& mask, std::uint64_t bits, unsigned position, unsigned mode, bool first_is_hidden) {
  std::uint64_t near = first_is_hidden ? 0 : bits;
  if (mode == 1 || mode == 3) near |= bits << 16;
  if (mode == 2 || mode == 3 || mode == 6) near |= bits << 32;
  if (near != 0) add(mask, near, position);
  if (mode == 4 || mode == 6) add(mask, bits, (position + 64) % kScreenWidth);
}

PixelMask missile_shape(const Tia& tia, unsigned missile) {
  PixelMask mask{};
  unsigned size = (tia.nusiz[missile] >> 4) & 3U;
  if (missile == 0 && tia.m0_variant == kM0Absent) return mask;
  if (missile == 0 && tia.m0_variant == kM0Wide) size |= 1;
  const std::uint64_t bits = (std::uint64_t{1} << (1U << size)) - 1;
  add_copies(mask, bits, tia.position[kM0 + missile], tia.nusiz[missile] & 7, false);
  return mask;
}

PixelMask ball_shape(const Tia& tia) {
  PixelMask mask{};
  add(mask, (std::uint64_t{1} << (1U << ((tia.ctrlpf >> 4) & 3U))) - 1, tia.position[kBL]);
  return mask;
}

PixelMask playfield_shape(const Tia& tia) {
  const auto& stretched = kStretched<std::uint32_t, 4>;
  // the left half's 20 bits from left to right: PF0 from bit 4 up, PF1 from bit 7 down, PF2 from bit 0 up
  const unsigned left = (tia.pf[0] >> 4) | unsigned{kReversed[tia.pf[1]]} << 4 | unsigned{tia.pf[2]} << 12;
  unsigned right = left;
  if (tia.pf_is_reflected) {
    right = unsigned{kReversed[left & 0xFF]} << 12 | unsigned{kReversed[(left >> 8) & 0xFF]} << 4 |
            unsigned{kReversed[left >> 16]} >> 4;
  }
  const std::uint64_t left_low = stretched[left & 0xFF] | std::uint64_t{stretched[(left >> 8) & 0xFF]} << 32;
  const std::uint64_t left_high = stretched[left >> 16];
  const std::uint64_t right_low = stretched[right & 0xFF] | std::uint64_t{stretched[(right >> 8) & 0xFF]} << 32;
  const std::uint64_t right_high = stretched[right >> 16];
  return {{left_low, left_high | right_low << 16, right_low >> 48 | right_high << 16}};
}

}  // namespace

PixelMask player_shape(const Tia& tia, unsigned player, unsigned graphics) {
  const bool is_reflected = (tia.refp[player] & 8) != 0;
  const unsigned pixels = is_reflected ? graphics : kReversed[graphics];
  const unsigned mode = tia.nusiz[player] & 7;
  PixelMask mask{};
  std::uint64_t bits = pixels;
  if (mode == 5) bits = std::uint64_t{kStretched<std::uint16_t, 2>[pixels]} << 1;
  if (mode == 7) bits = std::uint64_t{kStretched<std::uint32_t, 4>[pixels]} << 1;
  add_copies(mask, bits, tia.position[player], mode, tia.first_copy_is_hidden[player]);
  return mask;
}

PixelMask shape_of(const Tia& tia, unsigned object) {
  switch (object) {
    case kP0:
    case kP1:
      return player_shape(tia, object, current_graphics(tia, object));
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
