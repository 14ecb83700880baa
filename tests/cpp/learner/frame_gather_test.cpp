// SPDX-License-Identifier: MIT
#include "rndfast/learner/frame_gather.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "../simd_levels.hpp"
#include "doctest/doctest.h"

namespace rndfast {
namespace {

struct FrameShape {
  std::size_t channels;
  std::size_t height;
  std::size_t width;
  std::size_t size() const { return channels * height * width; }
  std::size_t block_rows() const { return height / kBlockSide; }
  std::size_t block_columns() const { return width / kBlockSide; }
};

constexpr FrameShape kFrameShapes[] = {{1, 4, 4},   {1, 4, 5},   {2, 5, 4},  {1, 7, 7},   {3, 8, 5},
                                       {1, 8, 8},   {1, 9, 6},   {1, 5, 21}, {2, 17, 12}, {1, 31, 33},
                                       {5, 16, 16}, {1, 4, 129}, {1, 63, 4}, {2, 84, 84}};
constexpr std::size_t kRows = 9;
constexpr std::size_t kEnvs = 3;
constexpr std::size_t kStack = 4;
constexpr std::size_t kObservations = (kRows - kStack + 1) * kEnvs;

struct Store {
  explicit Store(const FrameShape& frame_shape)
      : shape(frame_shape), frames(kRows * kEnvs * shape.size()), valid_frames(kObservations) {
    std::mt19937 random(1);
    for (auto& pixel : frames) pixel = static_cast<std::uint8_t>(random());
    for (auto& valid : valid_frames) valid = static_cast<std::uint8_t>(1 + random() % kStack);
    for (std::size_t i = 0; i < 2 * kObservations; ++i) {
      indices.push_back(static_cast<std::int64_t>(random() % kObservations));
    }
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const double mean = static_cast<double>(random() % 255'000) / 1000.0;
      mean_high.push_back(static_cast<float>(mean));
      mean_low.push_back(static_cast<float>(mean - double{mean_high.back()}));
      inverse_std.push_back(1.0F / static_cast<float>(1 + random() % 90));
    }
  }
  FrameStoreView view() const { return {frames.data(), kRows, kEnvs, shape.channels, shape.height, shape.width}; }
  FrameStatistics statistics(float clip) const { return {mean_high, mean_low, inverse_std, clip}; }
  /// Numbers of an input of `num_planes` planes.
  std::size_t input_size(std::size_t num_planes) const {
    return shape.block_rows() * shape.block_columns() * num_planes * 16;
  }

  FrameShape shape;
  std::vector<std::uint8_t> frames;
  std::vector<std::uint8_t> valid_frames;
  std::vector<std::int64_t> indices;
  std::vector<float> mean_high;
  std::vector<float> mean_low;
  std::vector<float> inverse_std;
};

/// Memory that is full of rubbish.
template <typename Out>
std::vector<Out> make_out(std::size_t size) {
  std::vector<Out> out(size);
  if (!out.empty()) std::memset(out.data(), 77, out.size() * sizeof(Out));
  return out;
}

template <typename Out>
std::vector<Out> gather(const Store& store, ThreadPool& pool) {
  auto out = make_out<Out>(store.indices.size() * store.input_size(kStack * store.shape.channels));
  gather_stacks<Out>(store.view(), store.valid_frames, store.indices, kStack, out.data(), pool, [] {});
  return out;
}

template <typename Out>
std::vector<Out> normalize(const Store& store, float clip, ThreadPool& pool) {
  auto out = make_out<Out>(store.indices.size() * store.input_size(store.shape.channels));
  normalize_frames<Out>(store.view(), store.indices, store.statistics(clip), out.data(), pool, [] {});
  return out;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// visit(at, plane, y, x) for every number of one input, in order: `at` of it is pixel (y, x) of `plane`.
template <typename Visit>
void for_each_number(const FrameShape& shape, std::size_t num_planes, const Visit& visit) {
  std::size_t at = 0;
  for (std::size_t block_y = 0; block_y < shape.block_rows(); ++block_y) {
    for (std::size_t block_x = 0; block_x < shape.block_columns(); ++block_x) {
      for (std::size_t plane = 0; plane < num_planes; ++plane) {
        for (std::size_t i = 0; i < 4; ++i) {
          for (std::size_t j = 0; j < 4; ++j) visit(at++, plane, 4 * block_y + i, 4 * block_x + j);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("gather_stacks writes the episode's frames and zeros before them") {
  for (const FrameShape& shape : kFrameShapes) {
    const Store store(shape);
    const std::size_t num_planes = kStack * shape.channels;
    ThreadPool pool(2);
    const auto scaled = gather<float>(store, pool);
    const auto halves = gather<Bfloat16>(store, pool);
    bool is_equal = true;
    std::size_t begin = 0;
    for (const std::int64_t index : store.indices) {
      const auto observation = static_cast<std::size_t>(index);
      const std::size_t t = observation / kEnvs;
      const std::size_t n = observation % kEnvs;
      for_each_number(shape, num_planes, [&](std::size_t at, std::size_t plane, std::size_t y, std::size_t x) {
        const std::size_t k = plane / shape.channels;
        const std::size_t c = plane % shape.channels;
        const bool is_blank = k + store.valid_frames[observation] < kStack;
        const std::size_t frame = ((t + k) * kEnvs + n) * shape.size();
        const std::uint8_t pixel =
            is_blank ? std::uint8_t{0} : store.frames[frame + (c * shape.height + y) * shape.width + x];
        const float value = static_cast<float>(pixel) / 255.0F;
        is_equal = is_equal && scaled[begin + at] == value && halves[begin + at].bits == to_bfloat16(value).bits;
      });
      begin += store.input_size(num_planes);
    }
    CAPTURE(shape.channels);
    CAPTURE(shape.height);
    CAPTURE(shape.width);
    CHECK(is_equal);
    CHECK(begin == scaled.size());
  }
}

TEST_CASE("normalize_frames is accurate and clips") {
  for (const FrameShape& shape : kFrameShapes) {
    const Store store(shape);
    ThreadPool pool(2);
    for (const float clip : {0.5F, 5.0F}) {
      const auto out = normalize<float>(store, clip, pool);
      const auto halves = normalize<Bfloat16>(store, clip, pool);
      double largest_error = 0.0;
      bool is_rounded = true;
      std::size_t begin = 0;
      for (const std::int64_t index : store.indices) {
        const std::size_t frame = static_cast<std::size_t>(index) * shape.size();
        for_each_number(shape, shape.channels, [&](std::size_t at, std::size_t c, std::size_t y, std::size_t x) {
          const std::size_t i = (c * shape.height + y) * shape.width + x;
          const double mean = double{store.mean_high[i]} + double{store.mean_low[i]};
          const double exact =
              (double{static_cast<float>(store.frames[frame + i])} - mean) * double{store.inverse_std[i]};
          const double clipped = std::clamp(exact, -double{clip}, double{clip});
          const float value = out[begin + at];
          largest_error = std::max(largest_error, std::abs(double{value} - clipped) / std::abs(clipped));
          is_rounded = is_rounded && halves[begin + at].bits == to_bfloat16(value).bits;
        });
        begin += store.input_size(shape.channels);
      }
      CAPTURE(shape.channels);
      CAPTURE(shape.height);
      CAPTURE(shape.width);
      CHECK(largest_error < 3e-7);
      CHECK(is_rounded);
      CHECK(begin == out.size());
    }
  }
}

TEST_CASE("frame kernels give the same bits at every level and thread count") {
  for (const FrameShape& shape : kFrameShapes) {
    const Store store(shape);
    ThreadPool baseline(1, SimdLevel::kBaseline);
    const auto stacks = gather<float>(store, baseline);
    const auto half_stacks = gather<Bfloat16>(store, baseline);
    const auto inputs = normalize<float>(store, 5.0F, baseline);
    const auto half_inputs = normalize<Bfloat16>(store, 5.0F, baseline);
    for (const auto level : tests::supported_levels()) {
      for (const std::size_t num_threads : {1U, 2U, 3U, 8U}) {
        CAPTURE(shape.channels);
        CAPTURE(shape.height);
        CAPTURE(shape.width);
        CAPTURE(simd_level_name(level));
        CAPTURE(num_threads);
        ThreadPool pool(num_threads, level);
        CHECK(same_bits(gather<float>(store, pool), stacks));
        CHECK(same_bits(gather<Bfloat16>(store, pool), half_stacks));
        CHECK(same_bits(normalize<float>(store, 5.0F, pool), inputs));
        CHECK(same_bits(normalize<Bfloat16>(store, 5.0F, pool), half_inputs));
      }
    }
  }
}

TEST_CASE("no index writes nothing") {
  Store store({1, 5, 5});
  store.indices.clear();
  ThreadPool pool(3);
  CHECK(gather<float>(store, pool).empty());
  CHECK(normalize<float>(store, 5.0F, pool).empty());
}

TEST_CASE("frames smaller than a block write nothing") {
  ThreadPool pool(3);
  for (const FrameShape& shape : {FrameShape{2, 3, 9}, FrameShape{2, 9, 3}, FrameShape{1, 1, 1}}) {
    const Store store(shape);
    std::vector<float> out(16, 77.0F);
    gather_stacks<float>(store.view(), store.valid_frames, store.indices, kStack, out.data(), pool, [] {});
    normalize_frames<float>(store.view(), store.indices, store.statistics(5.0F), out.data(), pool, [] {});
    CHECK(out == std::vector<float>(16, 77.0F));
  }
}

TEST_CASE("bfloat16 rounds to nearest, ties to even") {
  CHECK(to_bfloat16(0.0F).bits == 0x0000);
  CHECK(to_bfloat16(-0.0F).bits == 0x8000);
  CHECK(to_bfloat16(1.0F).bits == 0x3F80);
  CHECK(to_bfloat16(-5.0F).bits == 0xC0A0);
  CHECK(to_bfloat16(0x1.01p0F).bits == 0x3F80);      // halfway above an even number: down
  CHECK(to_bfloat16(0x1.03p0F).bits == 0x3F82);      // halfway above an odd number: up
  CHECK(to_bfloat16(0x1.010002p0F).bits == 0x3F81);  // just above halfway
  CHECK(to_bfloat16(0x1.fffffep0F).bits == 0x4000);  // carries into the exponent
}

}  // namespace rndfast
