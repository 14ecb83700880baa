// SPDX-License-Identifier: MIT
#include "rndfast/learner/running_moments.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "../simd_levels.hpp"
#include "doctest/doctest.h"

namespace rndfast {
namespace {

constexpr std::size_t kSizes[] = {1, 7, 16, 31, 33, 1023, 1024, 1025, 2049};

template <typename T>
std::vector<T> random_batch(std::size_t count) {
  std::mt19937 random(1);
  std::vector<T> batch(count);
  for (auto& value : batch) value = static_cast<T>(random() % 256);
  return batch;
}

std::vector<double> state_of(const RunningMoments& moments) {
  std::vector<double> state{moments.count()};
  state.insert(state.end(), moments.mean().begin(), moments.mean().end());
  state.insert(state.end(), moments.m2().begin(), moments.m2().end());
  return state;
}

template <typename T>
std::vector<double> state_after(std::size_t size, const std::vector<T>& batch, ThreadPool& pool) {
  RunningMoments moments(size, 1e-4);
  for (int update = 0; update < 2; ++update) moments.update(batch, pool, [] {});
  return state_of(moments);
}

}  // namespace

TEST_CASE("moments of bytes are the exact fractions rounded once") {
  for (const auto level : tests::supported_levels()) {
    ThreadPool pool(2, level);
    for (const std::size_t size : kSizes) {
      for (const std::size_t frames : {1, 256, 257, 300}) {
        const auto batch = random_batch<std::uint8_t>(size * frames);
        RunningMoments moments(size, 0.0);
        moments.update(batch, pool, [] {});
        bool is_exact = moments.count() == static_cast<double>(frames);
        for (std::size_t i = 0; i < size; ++i) {
          std::uint64_t sum = 0;
          std::uint64_t squares = 0;
          for (std::size_t at = i; at < batch.size(); at += size) {
            sum += batch[at];
            squares += std::uint64_t{batch[at]} * batch[at];
          }
          const auto count = static_cast<double>(frames);
          is_exact = is_exact && moments.mean()[i] == static_cast<double>(sum) / count;
          is_exact = is_exact && moments.m2()[i] == static_cast<double>(frames * squares - sum * sum) / count;
        }
        CAPTURE(size);
        CAPTURE(frames);
        CHECK(is_exact);
      }
    }
  }
}

TEST_CASE("white frames do not overflow any sum") {
  ThreadPool pool(1);
  for (const std::size_t frames : {257, 258, 65'536, 65'537, 66'052, 140'000}) {
    RunningMoments moments(2, 0.0);
    moments.update(std::vector<std::uint8_t>(2 * frames, 255), pool, [] {});
    CAPTURE(frames);
    CHECK(moments.count() == static_cast<double>(frames));
    CHECK(moments.mean()[1] == 255.0);
    CHECK(moments.m2()[1] == 0.0);
  }
}

TEST_CASE("floats far from zero keep their deviations") {
  ThreadPool pool(1);
  RunningMoments moments(1, 0.0);
  moments.update(std::vector<float>{1e6F + 1, 1e6F - 1}, pool, [] {});
  moments.update(std::vector<float>{1e6F + 3, 1e6F - 3}, pool, [] {});
  CHECK(moments.mean()[0] == 1e6);
  CHECK(moments.m2()[0] == 20.0);
}

TEST_CASE("the prior is samples of mean 0 and variance 1") {
  ThreadPool pool(1);
  RunningMoments moments(1, 2.0);
  CHECK(moments.m2()[0] == 2.0);
  moments.update(std::vector<float>{6, 6}, pool, [] {});
  CHECK(moments.count() == 4.0);
  CHECK(moments.mean()[0] == 3.0);
  CHECK(moments.m2()[0] == 2.0 * (1.0 + 9.0) + 2.0 * 9.0);
}

TEST_CASE("moments have the same bits at every level and thread count") {
  ThreadPool baseline(1, SimdLevel::kBaseline);
  for (const std::size_t size : kSizes) {
    const auto bytes = random_batch<std::uint8_t>(size * 301);
    const auto floats = random_batch<float>(size * 37);
    for (const auto level : tests::supported_levels()) {
      for (const std::size_t num_threads : {1, 2, 3, 8}) {
        ThreadPool pool(num_threads, level);
        CAPTURE(size);
        CHECK(state_after(size, bytes, pool) == state_after(size, bytes, baseline));
        CHECK(state_after(size, floats, pool) == state_after(size, floats, baseline));
      }
    }
  }
}

TEST_CASE("a NaN or an infinity is refused, and nothing is merged") {
  ThreadPool pool(2);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    RunningMoments moments(3, 0.5);
    const auto before = state_of(moments);
    CHECK_THROWS_AS(moments.update(std::vector<float>{1, 2, 3, 4, bad, 6}, pool, [] {}), std::invalid_argument);
    CHECK(state_of(moments) == before);
  }
}

TEST_CASE("an empty batch changes nothing") {
  ThreadPool pool(2);
  RunningMoments moments(3, 0.0);
  moments.update(std::vector<std::uint8_t>{}, pool, [] {});
  moments.update(std::vector<float>{}, pool, [] {});
  CHECK(state_of(moments) == std::vector<double>(7, 0.0));
}

TEST_CASE("a state goes to another object") {
  ThreadPool pool(1);
  RunningMoments moments(5, 1e-4);
  moments.update(random_batch<std::uint8_t>(50), pool, [] {});
  RunningMoments resumed(5, 0.0);
  resumed.set(moments.count(), moments.mean(), moments.m2());
  CHECK(state_of(resumed) == state_of(moments));
}

}  // namespace rndfast
