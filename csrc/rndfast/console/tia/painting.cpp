// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/painting.hpp"

#include <cstring>

#include "rndfast/console/tia/pixel_mask.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {
namespace {

bool are_equal(const Layers& a, const Layers& b) {
  std::uint32_t differences = std::uint32_t{a.background} ^ b.background;
  for (unsigned layer = 0; layer < 3; ++layer) differences |= std::uint32_t{a.shades[layer]} ^ b.shades[layer];
  if (differences != 0) return false;
  for (unsigned layer = 0; layer < 3; ++layer) {
    const PixelMask& first = a.columns[layer];
    const PixelMask& second = b.columns[layer];
    std::uint64_t columns = 0;
    for (unsigned i = 0; i < 3; ++i) columns |= first.words[i] ^ second.words[i];
    if (columns != 0) return false;
  }
  return true;
}

/// Writes columns [from, to) of a row.
void paint_by_table(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
  constexpr std::uint64_t kEveryByte = 0x0101010101010101;
  const auto& bytes = kStretched<std::uint64_t, 8>;
  const std::uint64_t background = layers.background * kEveryByte;
  const std::uint64_t change[3] = {(layers.shades[0] * kEveryByte) ^ background,
                                   (layers.shades[1] * kEveryByte) ^ background,
                                   (layers.shades[2] * kEveryByte) ^ background};
  std::uint64_t pixels[kScreenWidth / 8];
  const unsigned first = from / 8;
  const unsigned last = (to + 7) / 8;
  for (unsigned i = first; i < last; ++i) {
    const unsigned word = i / 8;
    const unsigned shift = i % 8 * 8;
    std::uint64_t eight = background;
    for (unsigned layer = 0; layer < 3; ++layer) {
      eight ^= bytes[(layers.columns[layer].words[word] >> shift) & 0xFF] & change[layer];
    }
    pixels[i] = eight;
  }
  if (from == 0 && to == kScreenWidth) {
    std::memcpy(row, pixels, kScreenWidth);
  } else {
    std::memcpy(row + from, reinterpret_cast<const std::uint8_t*>(pixels) + from, to - from);
  }
}

#ifdef RNDFAST_X86_LEVELS

using Bytes32 = std::uint8_t __attribute__((vector_size(32)));
using Words8 = std::uint32_t __attribute__((vector_size(32)));

/// The same for 32 columns at a time, without tables.
RNDFAST_TARGET_AVX2 void paint_by_vector(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
  constexpr Bytes32 kBitOfColumn = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                    1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  constexpr Bytes32 kColumn = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                               16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  const Bytes32 background = layers.background - Bytes32{};
  const Bytes32 change[3] = {(layers.shades[0] - Bytes32{}) ^ background, (layers.shades[1] - Bytes32{}) ^ background,
                             (layers.shades[2] - Bytes32{}) ^ background};
  const bool is_whole = from == 0 && to == kScreenWidth;
  const Bytes32 first = static_cast<std::uint8_t>(from) - Bytes32{};
  const Bytes32 end = static_cast<std::uint8_t>(to) - Bytes32{};
  for (unsigned begin = from & ~31U; begin < to; begin += 32) {
    Bytes32 pixels = background;
#pragma GCC unroll 3
    for (unsigned layer = 0; layer < 3; ++layer) {
      const auto bits = static_cast<std::uint32_t>(layers.columns[layer].words[begin / 64] >> (begin % 64));
      const auto copies = reinterpret_cast<Bytes32>(bits - Words8{});
      // to each column its byte of the 32 bits, from the same half of the vector
      const Bytes32 spread = __builtin_shufflevector(copies, copies, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                     18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19);
      pixels ^= reinterpret_cast<Bytes32>((spread & kBitOfColumn) == kBitOfColumn) & change[layer];
    }
    if (!is_whole) {
      Bytes32 present;
      std::memcpy(&present, row + begin, sizeof(present));
      const Bytes32 column = kColumn + static_cast<std::uint8_t>(begin);
      const auto is_within = reinterpret_cast<Bytes32>((column >= first) & (column < end));
      pixels = (pixels & is_within) | (present & ~is_within);
    }
    std::memcpy(row + begin, &pixels, sizeof(pixels));
  }
}

#endif

}  // namespace

void arrange(const Machine& machine, const PixelMask* objects, Layers& layers) {
  const Tia& tia = machine.state.tia;
  const auto shade = [&](unsigned color) { return machine.shades[tia.colu[color]]; };
  layers.background = shade(3);
  for (unsigned i = 0; i < 3; ++i) layers.shades[i] = shade(i);
  auto& [first, second, playfield] = layers.columns;
  first = objects[kP0] | objects[kM0];
  second = objects[kP1] | objects[kM1];
  playfield = objects[kPF] | objects[kBL];
  const unsigned only_playfield = 1U << kPF;
  const bool has_priority = (tia.ctrlpf & kPriority) != 0;
  if ((tia.ctrlpf & kScore) != 0 && (!has_priority || tia.enabled == only_playfield)) {
    first = first | (objects[kPF] & kLeftHalf);
    second = second | without(objects[kPF], kLeftHalf);
    playfield = objects[kBL];
  } else if (has_priority) {
    first = without(first, playfield);
    second = without(second, first | playfield);
    return;
  }
  second = without(second, first);
  playfield = without(playfield, first | second);
}

void paint(const Machine& machine, const Layers& layers, std::uint8_t* row, std::int32_t from, std::int32_t to) {
  const auto first = static_cast<unsigned>(from);
  const auto end = static_cast<unsigned>(to);
#ifdef RNDFAST_X86_LEVELS
  if (machine.simd_level != SimdLevel::kBaseline) return paint_by_vector(layers, row, first, end);
#else
  static_cast<void>(machine);
#endif
  paint_by_table(layers, row, first, end);
}

void paint_row(Machine& machine, const PixelMask* objects) {
  const std::int32_t row = machine.state.tia.row;
  const bool has_blanks = machine.state.tia.hmove_blanks_next_pixels;
  const Layers& above = machine.layers[machine.last_layers];
  machine.last_layers ^= 1;
  Layers& layers = machine.layers[machine.last_layers];
  arrange(machine, objects, layers);
  std::uint8_t* const pixels = machine.picture + row * std::int64_t{kScreenWidth};
  const bool is_next = machine.layered_row + 1 == row && (has_blanks || !machine.layered_row_has_blanks);
  if (is_next && are_equal(layers, above)) {
    std::memcpy(pixels, pixels - kScreenWidth, kScreenWidth);
  } else {
    paint(machine, layers, pixels, 0, kScreenWidth);
  }
  machine.layered_row = row;
  machine.layered_row_has_blanks = has_blanks;
}

}  // namespace rndfast::tia
