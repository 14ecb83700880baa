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

namespace rndfast::tia {
namespace {

/// The columns that each object covers in the present line, as far as they have not been drawn.
[[gnu::always_inline]] inline void merge(const Tia& tia, PixelMask* objects) {
  for (unsigned object = 0; object < kNumTiaObjects; ++object) {
    Columns columns = load(tia.shape[object]);
    if ((tia.cut >> object & 1) != 0) {
      columns &= columns_from(tia.shape_from[object]);
      if ((tia.was_drawn >> object & 1) != 0) columns |= load(tia.drawn[object]);
    }
    store(objects[object], columns);
  }
}

/// Sets those of `latches` whose objects overlap in columns [from, to).
[[gnu::always_inline]] inline void find_collisions(Tia& tia, unsigned latches, const PixelMask* objects,
                                                   std::int32_t from, std::int32_t to) {
  PixelMask segment;
  store(segment, columns_from(from) & ~columns_from(to));
  for (; latches != 0; latches &= latches - 1) {
    const auto latch = static_cast<unsigned>(std::countr_zero(latches));
    const auto [first, second] = kPairs[latch];
    PixelMask common;
    store(common, load(objects[first]) & load(objects[second]));
    tia.collisions |= static_cast<std::uint16_t>(intersect(common, segment) << latch);
  }
}

/// Paints a whole row of the picture; if it is the row above once more, as a copy of that.
template <typename Painter>
[[gnu::always_inline]] inline void paint_row(Machine& machine, const PixelMask* objects) {
  const std::int32_t row = machine.state.tia.row;
  const bool has_blanks = machine.state.tia.hmove_blanks_next_pixels;
  const bool is_next = machine.layered_row + 1 == row && (has_blanks || !machine.layered_row_has_blanks);
  machine.layered_row = row;
  machine.layered_row_has_blanks = has_blanks;

  Layers& layers = machine.layers;
  const std::uint32_t shades = shades_of(machine);
  Columns columns[3];
  arrange(machine.state.tia, objects, columns);
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

/// Keeps what `object` covers of columns [from, to) as it is now.
[[gnu::always_inline]] inline void keep(Tia& tia, unsigned object, std::int32_t from, std::int32_t to) {
  const unsigned bit = 1U << object;
  if ((tia.stale & bit) != 0) rebuild(tia, bit);
  Columns columns = load(tia.shape[object]) & columns_from(from) & ~columns_from(to);
  if ((tia.was_drawn & bit) != 0) columns |= load(tia.drawn[object]);
  store(tia.drawn[object], columns);
  tia.was_drawn |= static_cast<std::uint8_t>(bit);
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
      if (tia.stale != 0) rebuild(tia, kAllObjects);
      const PixelMask* objects = tia.shape;
      PixelMask merged[kNumTiaObjects];
      if (tia.cut != 0) {
        merge(tia, merged);
        objects = merged;
      }
      if (latches != 0) find_collisions(tia, latches, objects, from, to);
      if (paints) {
        if (from == 0 && to == kScreenWidth) {
          paint_row<Painter>(machine, objects);
        } else {
          paint_segment<Painter>(machine, objects, from, to);
        }
      }
    }
  }
  if (tia.hmove_blanks_next_pixels && from < 8) {
    if (paints) std::fill(row_of(machine) + from, row_of(machine) + 8, machine.shades[0]);
    if (to >= 8) tia.hmove_blanks_next_pixels = false;
  }
}

}  // namespace

void draw_segment_baseline(Machine& machine, std::int32_t to) { draw<PaintByTable>(machine, to); }
void keep_columns_baseline(Tia& tia, unsigned object, std::int32_t from, std::int32_t to) {
  keep(tia, object, from, to);
}

#ifdef RNDFAST_X86_LEVELS
RNDFAST_TARGET_AVX2 void draw_segment_avx2(Machine& machine, std::int32_t to) { draw<PaintByVector>(machine, to); }
RNDFAST_TARGET_AVX2 void keep_columns_avx2(Tia& tia, unsigned object, std::int32_t from, std::int32_t to) {
  keep(tia, object, from, to);
}
#endif

void paint_columns(const Machine& machine, const PixelMask* objects, std::int32_t from, std::int32_t to) {
  paint_segment<PaintByTable>(machine, objects, from, to);
}

}  // namespace rndfast::tia
