// SPDX-License-Identifier: MIT
// Sets of columns of a line, as bits: how they are made and combined.
#pragma once

#include <array>
#include <cstdint>

#include "rndfast/console/machine_state.hpp"

namespace rndfast::tia {

__extension__ using Uint128 = unsigned __int128;

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

/// Columns [column, 160).
inline constexpr std::array<PixelMask, kScreenWidth + 1> kFrom = [] {
  std::array<PixelMask, kScreenWidth + 1> table{};
  for (unsigned column = 0; column <= kScreenWidth; ++column) {
    for (unsigned i = column; i < kScreenWidth; ++i) table[column].words[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  return table;
}();

inline constexpr PixelMask kLeftHalf = {{~kFrom[80].words[0], kFrom[0].words[1] & ~kFrom[80].words[1], 0}};

template <typename Operation, typename... Masks>
inline PixelMask map(Operation operation, const Masks&... masks) {
  return {{operation(masks.words[0]...), operation(masks.words[1]...), operation(masks.words[2]...)}};
}

inline PixelMask operator|(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x | y; }, a, b);
}
inline PixelMask operator&(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x & y; }, a, b);
}
inline PixelMask without(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x & ~y; }, a, b);
}
inline bool intersect(const PixelMask& a, const PixelMask& b) {
  return ((a.words[0] & b.words[0]) | (a.words[1] & b.words[1]) | (a.words[2] & b.words[2])) != 0;
}

/// Adds `bits`, up to 64 - 7 columns wide, at `column` < 160, going round at the right edge.
inline void add(PixelMask& mask, std::uint64_t bits, unsigned column) {
  std::uint64_t words[4] = {};
  const Uint128 shifted = static_cast<Uint128>(bits) << (column % 64);
  words[column / 64] = static_cast<std::uint64_t>(shifted);
  words[column / 64 + 1] = static_cast<std::uint64_t>(shifted >> 64);
  mask.words[0] |= words[0] | (words[2] >> 32) | (words[3] << 32);
  mask.words[1] |= words[1] | (words[3] >> 32);
  mask.words[2] |= words[2] & 0xFFFFFFFF;
}

}  // namespace rndfast::tia
