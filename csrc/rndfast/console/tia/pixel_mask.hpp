// SPDX-License-Identifier: MIT
// Sets of columns of a line, as bits: how they are made and combined.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

/// The bits of a byte in the other direction.
inline constexpr std::array<std::uint8_t, 256> kReversed = [] {
  std::array<std::uint8_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) table[byte] |= static_cast<std::uint8_t>(((byte >> bit) & 1) << (7 - bit));
  }
  return table;
}();

/// Each bit of a byte, repeated.
template <typename Word, unsigned kTimes>
inline constexpr std::array<Word, 256> kStretched = [] {
  std::array<Word, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0; bit < 8 * kTimes; ++bit) {
      table[byte] |= static_cast<Word>(std::uint64_t{(byte >> (bit / kTimes)) & 1} << bit);
    }
  }
  return table;
}();

/// Each bit of a byte four times, in the other direction.
inline constexpr std::array<std::uint32_t, 256> kStretchedBackwards = [] {
  std::array<std::uint32_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) table[byte] = kStretched<std::uint32_t, 4>[kReversed[byte]];
  return table;
}();

/// Columns [column, 160).
inline constexpr std::array<PixelMask, kScreenWidth + 1> kFrom = [] {
  std::array<PixelMask, kScreenWidth + 1> table{};
  for (unsigned column = 0; column <= kScreenWidth; ++column) {
    for (unsigned i = column; i < kScreenWidth; ++i) table[column].words[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  return table;
}();

inline constexpr PixelMask kLeftHalf = {{~kFrom[80].words[0], kFrom[0].words[1] & ~kFrom[80].words[1], 0, 0}};

/// A mask in a register, or in two where registers have half the size. Functions that take or return one are always
/// inlined: how else they would be passed depends on the instruction set.
using Columns = std::uint64_t __attribute__((vector_size(sizeof(PixelMask))));

[[gnu::always_inline]] inline Columns load(const PixelMask& mask) {
  Columns columns;
  std::memcpy(&columns, &mask, sizeof(columns));
  return columns;
}
[[gnu::always_inline]] inline void store(PixelMask& mask, Columns columns) {
  std::memcpy(&mask, &columns, sizeof(columns));
}
[[gnu::always_inline]] inline Columns columns_from(std::int32_t column) {
  return load(kFrom[static_cast<unsigned>(column)]);
}

inline bool is_empty(const PixelMask& mask) { return (mask.words[0] | mask.words[1] | mask.words[2]) == 0; }
inline bool intersect(const PixelMask& a, const PixelMask& b) {
  return ((a.words[0] & b.words[0]) | (a.words[1] & b.words[1]) | (a.words[2] & b.words[2])) != 0;
}

/// `bits`, up to 64 - 7 columns wide, at `column` < 160, going round at the right edge.
[[gnu::always_inline]] inline Columns placed(std::uint64_t bits, unsigned column) {
  constexpr std::uint64_t kLow = 0xFFFFFFFF;
  const unsigned shift = column % 64;
  const std::uint64_t low = bits << shift;
  const std::uint64_t high = bits >> 1 >> (63 - shift);
  if (column < 64) return Columns{low, high, 0, 0};
  if (column < 128) return Columns{high >> 32, low, high & kLow, 0};
  return Columns{low >> 32 | high << 32, 0, low & kLow, 0};
}

}  // namespace rndfast::tia
