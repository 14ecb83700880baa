// SPDX-License-Identifier: MIT
// Pools two pictures in colour and turns the result grey, as the authors of RND do (atari_wrappers.py, MaxAndSkipEnv
// and WarpFrame): the larger of each of red, green and blue, then OpenCV's grey of that.
//
// Which grey a pixel becomes depends on its two colour bytes alone, so that a table has the answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "rndfast/console/palette.hpp"

namespace rndfast {

/// Constant, so that threads may share one.
class GreyPool {
 public:
  explicit GreyPool(const Palette& palette);

  /// Pictures are (height, kScreenWidth) colour bytes; `grey` has their shape and may be neither of them.
  void pool(const std::uint8_t* first, const std::uint8_t* second, std::size_t height, std::uint8_t* grey) const;

 private:
  std::uint64_t grey_of(const std::uint8_t* first, const std::uint8_t* second) const;

  std::unique_ptr<std::uint8_t[]> greys_;  // (256, 256), by both colour bytes
};

}  // namespace rndfast
