// SPDX-License-Identifier: MIT
#include "rndfast/learner/running_moments.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <stdexcept>

#include "rndfast/common/simd.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kBlock = 1024;  // elements summed at a time: the sums stay in the first-level cache

// A 32-bit sum of squares holds 2^32 / 255^2 = 66,051 frames, a 16-bit sum 2^16 / 255 = 257 frames.
constexpr std::size_t kMaxFramesPerSum = 65'536;
constexpr std::size_t kMaxFramesPerShortSum = 256;

/// sum[i] and sum_of_squares[i] over `frames` rows of `stride` bytes, i < length <= kBlock.
[[gnu::always_inline]] inline void sum_uint8_body(const std::uint8_t* first, std::size_t frames, std::size_t stride,
                                                  std::size_t length, std::uint32_t* sum,
                                                  std::uint32_t* sum_of_squares) {
  std::fill_n(sum, length, 0U);
  std::fill_n(sum_of_squares, length, 0U);
  std::array<std::uint16_t, kBlock> short_sum;
  for (std::size_t begin = 0; begin < frames; begin += kMaxFramesPerShortSum) {
    const std::size_t end = std::min(begin + kMaxFramesPerShortSum, frames);
    std::fill_n(short_sum.data(), length, std::uint16_t{0});
    for (std::size_t frame = begin; frame < end; ++frame) {
      const std::uint8_t* const row = first + frame * stride;
      for (std::size_t i = 0; i < length; ++i) {
        const std::uint16_t value = row[i];
        short_sum[i] = static_cast<std::uint16_t>(short_sum[i] + value);
        sum_of_squares[i] += static_cast<std::uint16_t>(value * value);
      }
    }
    for (std::size_t i = 0; i < length; ++i) sum[i] += short_sum[i];
  }
}

RNDFAST_SIMD_KERNEL(sum_uint8, sum_uint8_body,
                    (const std::uint8_t* first, std::size_t frames, std::size_t stride, std::size_t length,
                     std::uint32_t* sum, std::uint32_t* sum_of_squares),
                    (first, frames, stride, length, sum, sum_of_squares))

/// Moments of `length` columns, by two passes: the mean, then the squared deviations from it.
void moments_of_floats(const float* first, std::size_t rows, std::size_t stride, std::size_t length, double* mean,
                       double* m2) {
  std::fill_n(mean, length, 0.0);
  std::fill_n(m2, length, 0.0);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < length; ++i) mean[i] += double{first[row * stride + i]};
  }
  for (std::size_t i = 0; i < length; ++i) mean[i] /= static_cast<double>(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t i = 0; i < length; ++i) {
      const double deviation = double{first[row * stride + i]} - mean[i];
      m2[i] += deviation * deviation;
    }
  }
}

std::size_t num_blocks(std::size_t size) { return (size + kBlock - 1) / kBlock; }

bool all_finite(std::span<const double> values) {
  return std::ranges::all_of(values, [](double value) { return std::isfinite(value); });
}

}  // namespace

RunningMoments::RunningMoments(std::size_t size, double prior_count)
    : count_(prior_count), mean_(size, 0.0), m2_(size, prior_count) {}

void RunningMoments::update(std::span<const std::uint8_t> batch, ThreadPool& pool, ThreadPool::Poll poll) {
  assert(batch.size() % size() == 0);
  const auto sum_uint8 = sum_uint8_for(pool.simd_level());

  std::size_t remaining = batch.size() / size();
  for (const std::uint8_t* first = batch.data(); remaining > 0;) {
    const std::size_t frames = std::min(remaining, kMaxFramesPerSum);
    Batch part{static_cast<double>(frames), std::vector<double>(size()), std::vector<double>(size())};
    const auto sum_block = [&](std::size_t block) {
      std::array<std::uint32_t, kBlock> sum;
      std::array<std::uint32_t, kBlock> sum_of_squares;
      const std::size_t begin = block * kBlock;
      const std::size_t length = std::min(kBlock, size() - begin);
      sum_uint8(first + begin, frames, size(), length, sum.data(), sum_of_squares.data());
      for (std::size_t i = 0; i < length; ++i) {
        // m2 = sum of squares - sum^2 / frames, rounded once: the numerator is an exact integer below 2^49
        const std::uint64_t square_of_sum = std::uint64_t{sum[i]} * sum[i];
        const std::uint64_t numerator = std::uint64_t{frames} * sum_of_squares[i] - square_of_sum;
        part.mean[begin + i] = static_cast<double>(sum[i]) / part.count;
        part.m2[begin + i] = static_cast<double>(numerator) / part.count;
      }
    };
    pool.run(num_blocks(size()), sum_block, poll);
    merge(part);
    first += frames * size();
    remaining -= frames;
  }
}

void RunningMoments::update(std::span<const float> batch, ThreadPool& pool, ThreadPool::Poll poll) {
  assert(batch.size() % size() == 0);
  const std::size_t rows = batch.size() / size();
  if (rows == 0) return;
  Batch part{static_cast<double>(rows), std::vector<double>(size()), std::vector<double>(size())};
  const auto sum_block = [&](std::size_t block) {
    const std::size_t begin = block * kBlock;
    const std::size_t length = std::min(kBlock, size() - begin);
    moments_of_floats(batch.data() + begin, rows, size(), length, &part.mean[begin], &part.m2[begin]);
  };
  pool.run(num_blocks(size()), sum_block, poll);
  if (!all_finite(part.mean) || !all_finite(part.m2)) {
    throw std::invalid_argument("batch must be finite, got NaN or infinity (the moments are unchanged)");
  }
  merge(part);
}

void RunningMoments::merge(const Batch& batch) {
  const double total = count_ + batch.count;
  for (std::size_t i = 0; i < size(); ++i) {
    const double delta = batch.mean[i] - mean_[i];
    mean_[i] += delta * (batch.count / total);
    m2_[i] += batch.m2[i] + delta * delta * (count_ * batch.count / total);
  }
  count_ = total;
}

void RunningMoments::set(double count, std::span<const double> mean, std::span<const double> m2) {
  assert(mean.size() == size() && m2.size() == size());
  count_ = count;
  std::ranges::copy(mean, mean_.begin());
  std::ranges::copy(m2, m2_.begin());
}

}  // namespace rndfast
