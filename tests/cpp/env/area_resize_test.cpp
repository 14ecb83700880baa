// SPDX-License-Identifier: MIT
// Bytes are compared with ale-py's in tests/core/test_area_resize.py.
#include "rndfast/env/area_resize.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <vector>

#include "../simd_levels.hpp"
#include "doctest/doctest.h"

namespace rndfast {
namespace {

using Picture = std::vector<std::uint8_t>;

struct Case {
  PictureSize source;
  PictureSize destination;
  std::size_t channels;
};

constexpr Case kCases[] = {
    {{210, 160}, {84, 84}, 1},    // narrow sums, the usual case
    {{210, 160}, {84, 84}, 3},    //
    {{250, 160}, {84, 84}, 1},    // wide sums
    {{250, 160}, {84, 84}, 3},    //
    {{230, 160}, {97, 101}, 1},   //
    {{210, 160}, {6, 16}, 1},     // the smallest of narrow sums
    {{210, 160}, {7, 9}, 1},      // lanes and groups overlap
    {{210, 160}, {5, 160}, 1},    // fewer rows than a group
    {{210, 160}, {210, 5}, 1},    // fewer bytes than a vector
    {{210, 160}, {105, 80}, 3},   // whole factors
    {{210, 160}, {30, 20}, 1},    //
    {{210, 160}, {1, 1}, 3},      //
    {{37, 53}, {31, 17}, 3},      // pictures of other widths
    {{210, 160}, {210, 160}, 3},  // copied
    {{210, 160}, {256, 256}, 1},  // grows
    {{210, 160}, {84, 256}, 3},   // grows along one axis
};

/// Smooth in some places, noisy in others, with many equal bytes: ties are frequent.
Picture make_picture(const Case& c, unsigned seed) {
  std::mt19937 random(seed);
  Picture picture(c.source.height * c.source.width * c.channels);
  for (auto& pixel : picture) {
    pixel = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 8 * 20 + random() % 2 * 235);
  }
  return picture;
}

Picture resize_max(const Case& c, const Picture& first, const Picture& second, SimdLevel level) {
  const AreaResize resize(c.source, c.destination, c.channels, level);
  Picture out(c.destination.height * c.destination.width * c.channels + 1, 77);
  std::vector<std::byte> scratch(resize.scratch_size() + 1, std::byte{0xFF});  // NaN, as floats
  resize.resize_max(first.data(), second.data(), out.data(), std::span(scratch).subspan(1));
  CHECK(out.back() == 77);
  out.pop_back();
  return out;
}

Picture resize(const Case& c, const Picture& picture, SimdLevel level) {
  return resize_max(c, picture, picture, level);
}

/// The exact mean of what each pixel of the result covers.
std::vector<double> covered_means(const Case& c, const Picture& picture) {
  const auto overlap = [](std::size_t s, std::size_t source, std::size_t d, std::size_t destination) {
    const std::size_t begin = std::max(s * destination, d * source);
    const std::size_t end = std::min((s + 1) * destination, (d + 1) * source);
    return begin < end ? static_cast<double>(end - begin) / static_cast<double>(source) : 0.0;
  };
  std::vector<double> means(c.destination.height * c.destination.width * c.channels);
  for (std::size_t i = 0; i < means.size(); ++i) {
    const std::size_t channel = i % c.channels;
    const std::size_t x = i / c.channels % c.destination.width;
    const std::size_t y = i / c.channels / c.destination.width;
    const std::size_t first_row = y * c.source.height / c.destination.height;
    const std::size_t first_column = x * c.source.width / c.destination.width;
    for (std::size_t row = first_row; row < c.source.height; ++row) {
      const double row_share = overlap(row, c.source.height, y, c.destination.height);
      if (row_share == 0.0) break;
      for (std::size_t column = first_column; column < c.source.width; ++column) {
        const double share = overlap(column, c.source.width, x, c.destination.width);
        if (share == 0.0) break;
        means[i] += row_share * share * picture[(row * c.source.width + column) * c.channels + channel];
      }
    }
  }
  return means;
}

}  // namespace

TEST_CASE("shrunk pictures are rounded means of the area that each pixel covers") {
  for (const Case& c : kCases) {
    if (c.destination.height > c.source.height || c.destination.width > c.source.width) continue;
    const Picture picture = make_picture(c, 1);
    const auto means = covered_means(c, picture);
    const Picture out = resize(c, picture, detect_simd_level());
    double largest_error = 0.0;
    for (std::size_t i = 0; i < out.size(); ++i) largest_error = std::max(largest_error, std::abs(out[i] - means[i]));
    CAPTURE(c.source.height);
    CAPTURE(c.destination.height);
    CAPTURE(c.destination.width);
    CHECK(largest_error < 0.5002);  // at ties the float32 sums decide
  }
}

TEST_CASE("pictures of one colour stay so") {
  for (const Case& c : kCases) {
    for (const int colour : {0, 1, 127, 128, 254, 255}) {
      const Picture picture(c.source.height * c.source.width * c.channels, static_cast<std::uint8_t>(colour));
      const Picture out = resize(c, picture, detect_simd_level());
      CAPTURE(c.destination.height);
      CAPTURE(c.destination.width);
      CAPTURE(colour);
      CHECK(std::ranges::all_of(out, [&](std::uint8_t pixel) { return pixel == colour; }));
    }
  }
}

TEST_CASE("pictures are the same at every level") {
  for (const Case& c : kCases) {
    const Picture picture = make_picture(c, 2);
    const Picture expected = resize(c, picture, SimdLevel::kBaseline);
    for (const auto level : tests::supported_levels()) {
      CAPTURE(c.destination.height);
      CAPTURE(c.destination.width);
      CHECK(resize(c, picture, level) == expected);
    }
  }
}

TEST_CASE("two pictures are resized as their maximum") {
  for (const Case& c : kCases) {
    const Picture first = make_picture(c, 3);
    const Picture second = make_picture(c, 4);
    Picture larger(first.size());
    std::ranges::transform(first, second, larger.begin(), [](auto a, auto b) { return std::max(a, b); });
    CAPTURE(c.destination.height);
    CAPTURE(c.destination.width);
    for (const auto level : tests::supported_levels()) {
      const Picture expected = resize(c, larger, level);
      CHECK(resize_max(c, first, second, level) == expected);
      CHECK(resize_max(c, second, first, level) == expected);
    }
  }
}

TEST_CASE("some rows of a picture that changed in some rows are what they are in the whole picture") {
  std::mt19937 random(5);
  for (const Case& c : kCases) {
    CAPTURE(c.destination.height);
    CAPTURE(c.destination.width);
    for (const auto level : tests::supported_levels()) {
      const AreaResize resize(c.source, c.destination, c.channels, level);
      REQUIRE(resize.source_rows().size() == c.destination.height);
      std::vector<std::byte> scratch(resize.scratch_size());
      Picture picture = make_picture(c, 6);
      Picture out(c.destination.height * c.destination.width * c.channels);
      resize.resize(picture.data(), out.data(), scratch);
      for (unsigned repeat = 0; repeat < 6; ++repeat) {
        std::vector<bool> is_changed(c.source.height);
        const std::size_t source_row_size = c.source.width * c.channels;
        for (unsigned change = 0; change < repeat * repeat; ++change) {
          const std::size_t row = random() % c.source.height;
          is_changed[row] = true;
          picture[row * source_row_size + random() % source_row_size] = static_cast<std::uint8_t>(random());
        }
        std::vector<std::uint32_t> rows;
        for (std::uint32_t y = 0; y < c.destination.height; ++y) {
          const auto [begin, end] = resize.source_rows()[y];
          bool depends = false;
          for (std::uint32_t row = begin; row < end; ++row) depends = depends || is_changed[row];
          if (depends) rows.push_back(y);
        }
        resize.resize_rows(picture.data(), picture.data(), rows, out.data(), scratch);
        CHECK(out == ::rndfast::resize(c, picture, level));
        if (rows.empty()) continue;
        const Picture before = out;  // rows that are not named stay as they are
        out.assign(out.size(), 77);
        resize.resize_rows(picture.data(), picture.data(), std::span(rows).first(1), out.data(), scratch);
        const std::size_t row_size = c.destination.width * c.channels;
        for (std::size_t i = 0; i < out.size(); ++i) {
          if (out[i] != (i / row_size == rows[0] ? before[i] : 77)) FAIL("byte ", i);
        }
        out = before;
      }
    }
  }
}

TEST_CASE("channels are resized one by one") {
  for (Case c : kCases) {
    if (c.channels == 1) continue;
    const Picture picture = make_picture(c, 5);
    const Picture out = resize(c, picture, detect_simd_level());
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const auto plane = [&](const Picture& all) {
        Picture one;
        for (std::size_t i = channel; i < all.size(); i += 3) one.push_back(all[i]);
        return one;
      };
      const Case grey{c.source, c.destination, 1};
      CHECK(resize(grey, plane(picture), detect_simd_level()) == plane(out));
    }
  }
}

TEST_CASE("ties are rounded as the sums in float32 are") {
  const Case halves{{2, 160}, {1, 80}, 1};
  Picture picture(320, 0);
  picture[0] = 2;  // 2 / 4: half up
  CHECK(resize(halves, picture, detect_simd_level())[0] == 1);
  const Case quarters{{4, 160}, {1, 40}, 1};
  Picture other(640, 0);
  other[0] = 8;   // 8 / 16: to even
  other[4] = 24;  // 24 / 16
  CHECK(resize(quarters, other, detect_simd_level())[0] == 0);
  CHECK(resize(quarters, other, detect_simd_level())[1] == 2);
}

TEST_CASE("AreaResize refuses empty pictures and other numbers of channels") {
  CHECK_THROWS_AS(AreaResize({0, 160}, {84, 84}, 1), std::invalid_argument);
  CHECK_THROWS_AS(AreaResize({210, 0}, {84, 84}, 1), std::invalid_argument);
  CHECK_THROWS_AS(AreaResize({210, 160}, {0, 84}, 1), std::invalid_argument);
  CHECK_THROWS_AS(AreaResize({210, 160}, {84, 0}, 1), std::invalid_argument);
  CHECK_THROWS_AS(AreaResize({210, 160}, {84, 84}, 0), std::invalid_argument);
  CHECK_THROWS_AS(AreaResize({210, 160}, {84, 84}, 2), std::invalid_argument);
}

}  // namespace rndfast
