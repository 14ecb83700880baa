// SPDX-License-Identifier: MIT
#include "rndfast/preprocess/frame_gather.hpp"

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

constexpr std::size_t kFrameSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 65, 84, 129};
constexpr std::size_t kRows = 9;
constexpr std::size_t kEnvs = 3;
constexpr std::size_t kStack = 4;
constexpr std::size_t kObservations = (kRows - kStack + 1) * kEnvs;

struct Store {
  explicit Store(std::size_t size) : frame_size(size), frames(kRows * kEnvs * size), valid_frames(kObservations) {
    std::mt19937 random(1);
    for (auto& pixel : frames) pixel = static_cast<std::uint8_t>(random());
    for (auto& valid : valid_frames) valid = static_cast<std::uint8_t>(1 + random() % kStack);
    for (std::size_t i = 0; i < 2 * kObservations; ++i) {
      indices.push_back(static_cast<std::int64_t>(random() % kObservations));
    }
    for (std::size_t i = 0; i < size; ++i) {
      const double mean = static_cast<double>(random() % 255'000) / 1000.0;
      mean_high.push_back(static_cast<float>(mean));
      mean_low.push_back(static_cast<float>(mean - double{mean_high.back()}));
      inverse_std.push_back(1.0F / static_cast<float>(1 + random() % 90));
    }
  }
  FrameStoreView view() const { return {frames.data(), kRows, kEnvs, frame_size}; }
  FrameStatistics statistics(float clip) const { return {mean_high, mean_low, inverse_std, clip}; }

  std::size_t frame_size;
  std::vector<std::uint8_t> frames;
  std::vector<std::uint8_t> valid_frames;
  std::vector<std::int64_t> indices;
  std::vector<float> mean_high;
  std::vector<float> mean_low;
  std::vector<float> inverse_std;
};

template <typename Out>
std::vector<Out> gather(const Store& store, ThreadPool& pool) {
  std::vector<Out> out(store.indices.size() * kStack * store.frame_size);
  if (!out.empty()) std::memset(out.data(), 77, out.size() * sizeof(Out));
  gather_stacks<Out>(store.view(), store.valid_frames, store.indices, kStack, out.data(), pool, [] {});
  return out;
}

template <typename Out>
std::vector<Out> normalize(const Store& store, float clip, ThreadPool& pool) {
  std::vector<Out> out(store.indices.size() * store.frame_size);
  normalize_frames<Out>(store.view(), store.indices, store.statistics(clip), out.data(), pool, [] {});
  return out;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE("gather_stacks writes the episode's frames and zeros before them") {
  for (const std::size_t size : kFrameSizes) {
    const Store store(size);
    ThreadPool pool(2);
    const auto pixels = gather<std::uint8_t>(store, pool);
    const auto scaled = gather<float>(store, pool);
    const auto halves = gather<Bfloat16>(store, pool);
    bool is_equal = true;
    for (std::size_t b = 0; b < store.indices.size(); ++b) {
      const auto observation = static_cast<std::size_t>(store.indices[b]);
      const std::size_t t = observation / kEnvs;
      const std::size_t n = observation % kEnvs;
      for (std::size_t k = 0; k < kStack; ++k) {
        const bool is_blank = k + store.valid_frames[observation] < kStack;
        for (std::size_t i = 0; i < size; ++i) {
          const std::uint8_t pixel = is_blank ? std::uint8_t{0} : store.frames[((t + k) * kEnvs + n) * size + i];
          const float value = static_cast<float>(pixel) / 255.0F;
          const std::size_t at = (b * kStack + k) * size + i;
          is_equal =
              is_equal && pixels[at] == pixel && scaled[at] == value && halves[at].bits == to_bfloat16(value).bits;
        }
      }
    }
    CAPTURE(size);
    CHECK(is_equal);
  }
}

TEST_CASE("normalize_frames is accurate and clips") {
  for (const std::size_t size : kFrameSizes) {
    const Store store(size);
    ThreadPool pool(2);
    for (const float clip : {0.5F, 5.0F}) {
      const auto out = normalize<float>(store, clip, pool);
      double largest_error = 0.0;
      for (std::size_t b = 0; b < store.indices.size(); ++b) {
        for (std::size_t i = 0; i < size; ++i) {
          const auto frame = static_cast<std::size_t>(store.indices[b]) * size;
          const double mean = double{store.mean_high[i]} + double{store.mean_low[i]};
          const double exact =
              (double{static_cast<float>(store.frames[frame + i])} - mean) * double{store.inverse_std[i]};
          const double clipped = std::clamp(exact, -double{clip}, double{clip});
          largest_error = std::max(largest_error, std::abs(double{out[b * size + i]} - clipped) / std::abs(clipped));
        }
      }
      CAPTURE(size);
      CHECK(largest_error < 3e-7);
    }
  }
}

TEST_CASE("frame kernels give the same bits at every level and thread count") {
  for (const std::size_t size : kFrameSizes) {
    const Store store(size);
    ThreadPool baseline(1, SimdLevel::kBaseline);
    for (const auto level : tests::supported_levels()) {
      for (const std::size_t num_threads : {1, 2, 3, 8}) {
        CAPTURE(size);
        CAPTURE(num_threads);
        ThreadPool pool(num_threads, level);
        CHECK(same_bits(gather<std::uint8_t>(store, pool), gather<std::uint8_t>(store, baseline)));
        CHECK(same_bits(gather<float>(store, pool), gather<float>(store, baseline)));
        CHECK(same_bits(gather<Bfloat16>(store, pool), gather<Bfloat16>(store, baseline)));
        CHECK(same_bits(normalize<float>(store, 5.0F, pool), normalize<float>(store, 5.0F, baseline)));
        CHECK(same_bits(normalize<Bfloat16>(store, 5.0F, pool), normalize<Bfloat16>(store, 5.0F, baseline)));
      }
    }
  }
}

TEST_CASE("no index writes nothing") {
  Store store(5);
  store.indices.clear();
  ThreadPool pool(3);
  CHECK(gather<float>(store, pool).empty());
  CHECK(normalize<float>(store, 5.0F, pool).empty());
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
