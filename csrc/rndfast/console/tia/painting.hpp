// SPDX-License-Identifier: MIT
// From sets of columns to a row of pixels.
//
// Everything here is always inlined, into functions that are compiled once per instruction set: see segment.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rndfast/common/simd.hpp"
#include "rndfast/console/machine.hpp"
#include "rndfast/console/tia/layers.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {

/// Decides which object is seen in each column, by the order that CTRLPF sets.
[[gnu::always_inline]] inline void arrange(const Tia& tia, const PixelMask* objects, Columns* layers) {
  Columns first = load(objects[kP0]) | load(objects[kM0]);
  Columns second = load(objects[kP1]) | load(objects[kM1]);
  Columns playfield = load(objects[kPF]) | load(objects[kBL]);
  if ((tia.ctrlpf & (kScore | kPriority)) != 0) [[unlikely]] {
    const unsigned only_playfield = 1U << kPF;
    const bool has_priority = (tia.ctrlpf & kPriority) != 0;
    if ((tia.ctrlpf & kScore) != 0 && (!has_priority || tia.enabled == only_playfield)) {
      first |= load(objects[kPF]) & load(kLeftHalf);
      second |= load(objects[kPF]) & ~load(kLeftHalf);
      playfield = load(objects[kBL]);
    } else if (has_priority) {
      first &= ~playfield;
      second &= ~playfield;
    }
  }
  layers[0] = first;
  layers[1] = second & ~first;
  layers[2] = playfield & ~(first | second);
}

/// What stands for each colour register in the picture.
[[gnu::always_inline]] inline std::uint32_t shades_of(const Machine& machine) {
  const std::uint8_t* const colu = machine.state.tia.colu;
  const std::uint8_t shades[4] = {machine.shades[colu[0]], machine.shades[colu[1]], machine.shades[colu[2]],
                                  machine.shades[colu[3]]};
  std::uint32_t bytes;
  std::memcpy(&bytes, shades, sizeof(bytes));
  return bytes;
}

/// Writes columns [from, to) of a row, eight at a time.
struct PaintByTable {
  [[gnu::always_inline]] static void paint(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
    constexpr std::uint64_t kEveryByte = 0x0101010101010101;
    const auto& bytes = kStretched<std::uint64_t, 8>;
    const std::uint64_t background = layers.shades[3] * kEveryByte;
    std::uint64_t pixels[kScreenWidth / 8];
    for (unsigned i = from / 8; i < (to + 7) / 8; ++i) {
      pixels[i] = background;
      for (unsigned layer = 0; layer < 3; ++layer) {
        const std::uint64_t eight = layers.columns[layer].words[i / 8] >> (i % 8 * 8) & 0xFF;
        pixels[i] ^= bytes[eight] & ((layers.shades[layer] * kEveryByte) ^ background);
      }
    }
    std::memcpy(row + from, reinterpret_cast<const std::uint8_t*>(pixels) + from, to - from);
  }

  [[gnu::always_inline]] static void paint_row(const Layers& layers, std::uint8_t* row) {
    paint(layers, row, 0, kScreenWidth);
  }
};

#ifdef RNDFAST_X86_LEVELS

/// The same for 32 columns at a time, without tables.
struct PaintByVector {
  using Bytes = std::uint8_t __attribute__((vector_size(32)));
  using Words = std::uint32_t __attribute__((vector_size(32)));
  static constexpr unsigned kBytes = sizeof(Bytes);
  static constexpr unsigned kVectors = kScreenWidth / kBytes;

  [[gnu::always_inline]] static Bytes all(std::uint8_t byte) {
    return reinterpret_cast<Bytes>(byte * std::uint32_t{0x01010101} - Words{});
  }

  /// All bits of a byte, or none, for each of the columns from 32 `index` on.
  [[gnu::always_inline]] static Bytes spread(const PixelMask& mask, unsigned index) {
    constexpr Bytes kBitOfColumn = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                    1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    std::uint32_t bits;
    std::memcpy(&bits, reinterpret_cast<const std::uint8_t*>(&mask) + index * sizeof(bits), sizeof(bits));
    const auto copies = reinterpret_cast<Bytes>(bits - Words{});
    // to each column its byte of the 32 bits, from the same half of the vector
    const Bytes eight = __builtin_shufflevector(copies, copies, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19);
    return reinterpret_cast<Bytes>((eight & kBitOfColumn) == kBitOfColumn);
  }

  [[gnu::always_inline]] static void paint(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
    PixelMask segment;
    store(segment, load(kFrom[from]) & ~load(kFrom[to]));
    const Bytes background = all(layers.shades[3]);
    const Bytes change[3] = {all(layers.shades[0]) ^ background, all(layers.shades[1]) ^ background,
                             all(layers.shades[2]) ^ background};
    for (unsigned i = from / kBytes; i * kBytes < to; ++i) {
      Bytes pixels = background;
#pragma GCC unroll 3
      for (unsigned layer = 0; layer < 3; ++layer) pixels ^= spread(layers.columns[layer], i) & change[layer];
      Bytes present;
      std::memcpy(&present, row + std::size_t{i} * kBytes, kBytes);
      pixels = present ^ ((present ^ pixels) & spread(segment, i));
      std::memcpy(row + std::size_t{i} * kBytes, &pixels, kBytes);
    }
  }

  [[gnu::always_inline]] static void paint_row(const Layers& layers, std::uint8_t* row) {
    const Bytes background = all(layers.shades[3]);
    Bytes pixels[kVectors] = {background, background, background, background, background};
#pragma GCC unroll 3
    for (unsigned layer = 0; layer < 3; ++layer) {
      if (is_empty(layers.columns[layer])) continue;
      const Bytes change = all(layers.shades[layer]) ^ background;
#pragma GCC unroll 5
      for (unsigned i = 0; i < kVectors; ++i) pixels[i] ^= spread(layers.columns[layer], i) & change;
    }
#pragma GCC unroll 5
    for (unsigned i = 0; i < kVectors; ++i) std::memcpy(row + std::size_t{i} * kBytes, &pixels[i], kBytes);
  }
};

#endif

}  // namespace rndfast::tia
