// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/segment.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "rndfast/common/simd.hpp"
#include "rndfast/console/tia/collisions.hpp"
#include "rndfast/console/tia/objects.hpp"
#include "rndfast/console/tia/painting.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"
#include "rndfast/console/tia/shapes.hpp"

namespace rndfast::tia {
namespace {

/// Sets those of `latches` whose objects overlap in columns [from, to).
[[gnu::always_inline]] inline void find_collisions(Tia& tia, unsigned latches, std::int32_t from, std::int32_t to) {
  PixelMask segment;
  store(segment, columns_from(from) & ~columns_from(to));
  for (; latches != 0; latches &= latches - 1) {
    const auto latch = static_cast<unsigned>(std::countr_zero(latches));
    const auto [first, second] = kPairs[latch];
    PixelMask common;
    store(common, load(tia.shape[first]) & load(tia.shape[second]));
    tia.collisions |= static_cast<std::uint16_t>(intersect(common, segment) << latch);
  }
}

/// Paints a whole row of the picture; if it is the row above once more, as a copy of that.
template <typename Painter>
[[gnu::always_inline]] inline void paint_row(Machine& machine) {
  const std::int32_t row = machine.state.tia.row;
  const bool has_blanks = machine.state.tia.hmove_blanks_next_pixels;
  const bool is_next = machine.layered_row + 1 == row && (has_blanks || !machine.layered_row_has_blanks);
  machine.layered_row = row;
  machine.layered_row_has_blanks = has_blanks;

  Layers& layers = machine.layers;
  const std::uint32_t shades = shades_of(machine);
  Columns columns[3];
  arrange(machine.state.tia, machine.state.tia.shape, columns);
  PixelMask differences;
  store(differences, (columns[0] ^ load(layers.columns[0])) | (columns[1] ^ load(layers.columns[1])) |
                         (columns[2] ^ load(layers.columns[2])));
  std::uint32_t shades_above;
  std::memcpy(&shades_above, layers.shades, sizeof(shades_above));
  std::uint8_t* const pixels = row_of(machine);
  if (is_next && shades == shades_above && is_empty(differences)) {
    std::memcpy(pixels, pixels - kScreenWidth, kScreenWidth);
    return;
  }
  for (unsigned layer = 0; layer < 3; ++layer) store(layers.columns[layer], columns[layer]);
  std::memcpy(layers.shades, &shades, sizeof(shades));
  Painter::paint_row(layers, pixels);
}

template <typename Painter>
[[gnu::always_inline]] inline void paint_segment(const Machine& machine, const PixelMask* objects, std::int32_t from,
                                                 std::int32_t to) {
  Layers layers;
  Columns columns[3];
  arrange(machine.state.tia, objects, columns);
  for (unsigned layer = 0; layer < 3; ++layer) store(layers.columns[layer], columns[layer]);
  const std::uint32_t shades = shades_of(machine);
  std::memcpy(layers.shades, &shades, sizeof(shades));
  Painter::paint(layers, row_of(machine), static_cast<unsigned>(from), static_cast<unsigned>(to));
}

/// Brings the shape of `object` up to date: from `shape_from` on, as the registers are now.
[[gnu::always_inline]] inline void rebuild_shape(Tia& tia, unsigned object) {
  const unsigned bit = 1U << object;
  tia.stale &= static_cast<std::uint8_t>(~bit);
  Columns columns = (tia.enabled & bit) != 0 ? shape_of(tia, object) : Columns{};
  if ((tia.cut & bit) != 0) {
    const Columns to_come = columns_from(tia.shape_from[object]);
    columns = (load(tia.shape[object]) & ~to_come) | (columns & to_come);
  }
  store(tia.shape[object], columns);
}

[[gnu::always_inline]] inline void rebuild_stale(Tia& tia) {
  const unsigned stale = tia.stale;
#pragma GCC unroll 6
  for (unsigned object = 0; object < kNumTiaObjects; ++object) {
    if ((stale >> object & 1) != 0) rebuild_shape(tia, object);
  }
}

template <typename Painter>
[[gnu::always_inline]] inline void draw(Machine& machine, std::int32_t to) {
  Tia& tia = machine.state.tia;
  const std::int32_t from = tia.segment_from;
  tia.segment_from = to;
  const bool paints = machine.picture != nullptr;
  if (is_blanked(tia)) {
    if (paints) std::memset(row_of(machine) + from, machine.shades[0], static_cast<std::size_t>(to - from));
  } else {
    const unsigned latches = open_latches(tia);
    if (latches != 0 || paints) {
      if (tia.stale != 0) rebuild_stale(tia);
      if (latches != 0) find_collisions(tia, latches, from, to);
      if (paints) {
        if (from == 0 && to == kScreenWidth) {
          paint_row<Painter>(machine);
        } else {
          paint_segment<Painter>(machine, tia.shape, from, to);
        }
      }
    }
  }
  if (tia.hmove_blanks_next_pixels && from < kHmoveBlankWidth) {
    if (paints) std::fill(row_of(machine) + from, row_of(machine) + kHmoveBlankWidth, machine.shades[0]);
    if (to >= kHmoveBlankWidth) tia.hmove_blanks_next_pixels = false;
  }
}

template <unsigned kObject>
void rebuild_baseline(Tia& tia) {
  rebuild_shape(tia, kObject);
}

#ifdef RNDFAST_X86_LEVELS
template <unsigned kObject>
RNDFAST_TARGET_AVX2 void rebuild_avx2(Tia& tia) {
  rebuild_shape(tia, kObject);
}
#endif

}  // namespace

const RebuildFunctions kRebuildBaseline = {rebuild_baseline<kP0>, rebuild_baseline<kP1>, rebuild_baseline<kM0>,
                                           rebuild_baseline<kM1>, rebuild_baseline<kBL>, rebuild_baseline<kPF>};
#ifdef RNDFAST_X86_LEVELS
const RebuildFunctions kRebuildAvx2 = {rebuild_avx2<kP0>, rebuild_avx2<kP1>, rebuild_avx2<kM0>,
                                       rebuild_avx2<kM1>, rebuild_avx2<kBL>, rebuild_avx2<kPF>};
#endif

void draw_segment_baseline(Machine& machine, std::int32_t to) { draw<PaintByTable>(machine, to); }

#ifdef RNDFAST_X86_LEVELS
RNDFAST_TARGET_AVX2 void draw_segment_avx2(Machine& machine, std::int32_t to) { draw<PaintByVector>(machine, to); }
#endif

void paint_columns(const Machine& machine, const PixelMask* objects, std::int32_t from, std::int32_t to) {
  paint_segment<PaintByTable>(machine, objects, from, to);
}

}  // namespace rndfast::tia
