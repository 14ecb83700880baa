// SPDX-License-Identifier: MIT
// Resizes pictures to the byte as ale-py does, that is as OpenCV's INTER_AREA on x86-64.
//
// Three rules, all separable:
//   mean   Both lengths shrink by whole factors: the mean of each block of pixels.
//   area   Other pictures that grow along neither axis: pixels weigh by the area that they share with the result's,
//          summed up in float32 in a fixed order.
//   blend  Pictures that grow along an axis: of the two nearest pixels along each axis, in fixed point.
// Mean and area of pictures like the console's are computed from exact sums of integers, many at a time. These decide
// the byte unless it is so near a tie that the order of the float32 sums does; such pixels, about one in a thousand,
// are computed again by the rule itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "rndfast/common/simd.hpp"

namespace rndfast {

struct PictureSize {
  std::size_t height;
  std::size_t width;
  bool operator==(const PictureSize&) const = default;
};

struct AreaResizeTables;

/// Immutable, so that threads may share one; copies share their tables. Pictures are (height, width, channels) uint8.
class AreaResize {
 public:
  /// `channels`: 1 or 3. Throws std::invalid_argument for other numbers and for an empty picture.
  AreaResize(PictureSize source, PictureSize destination, std::size_t channels, SimdLevel level = detect_simd_level());

  /// Bytes of scratch memory that a call needs, of any alignment; what it leaves there means nothing.
  std::size_t scratch_size() const;

  void resize(const std::uint8_t* picture, std::uint8_t* out, std::span<std::byte> scratch) const {
    resize_max(picture, picture, out, scratch);
  }

  /// Resizes the larger of two pictures at each byte. They may be the same, but must not overlap `out`.
  void resize_max(const std::uint8_t* first, const std::uint8_t* second, std::uint8_t* out,
                  std::span<std::byte> scratch) const {
    resize_rows(first, second, all_rows(), out, scratch);
  }

  /// Does the same for some rows of the result alone; the others stay as they are.
  void resize_rows(const std::uint8_t* first, const std::uint8_t* second, std::span<const std::uint32_t> rows,
                   std::uint8_t* out, std::span<std::byte> scratch) const;

  /// Rows of the source that a row of the result depends on.
  struct RowRange {
    std::uint32_t begin;
    std::uint32_t end;
  };
  std::span<const RowRange> source_rows() const;  // by row of the result
  std::span<const std::uint32_t> all_rows() const;

 private:
  std::shared_ptr<const AreaResizeTables> tables_;
  SimdLevel level_;
};

}  // namespace rndfast
