// SPDX-License-Identifier: MIT
// Running mean and variance of every element of a stream of equally shaped arrays, merged in float64 by the parallel
// formula of Chan, Golub and LeVeque (1979).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rndfast/common/thread_pool.hpp"

namespace rndfast {

/// Not for several threads at once; update() itself uses those of a pool.
class RunningMoments {
 public:
  /// Moments of `size` elements. `prior_count` samples of mean 0 and variance 1 are counted as seen already (the
  /// authors' implementation: 1e-4).
  RunningMoments(std::size_t size, double prior_count);

  /// Merges `batch`, whose length is a multiple of size(): (B, size) elements. The sums over uint8 are exact
  /// integers. The result depends neither on the thread count nor on the instruction set. Throws
  /// std::invalid_argument for a NaN or an infinity in a float batch, and what `poll` throws; a batch abandoned by
  /// `poll` may be merged in part.
  void update(std::span<const std::uint8_t> batch, ThreadPool& pool, ThreadPool::Poll poll);
  void update(std::span<const float> batch, ThreadPool& pool, ThreadPool::Poll poll);

  std::size_t size() const { return mean_.size(); }
  double count() const { return count_; }
  std::span<const double> mean() const { return mean_; }
  /// Sum of squared deviations from the mean; the population variance is m2 / count.
  std::span<const double> m2() const { return m2_; }

  /// Replaces the state (to resume). `mean` and `m2` have size() elements.
  void set(double count, std::span<const double> mean, std::span<const double> m2);

 private:
  /// Mean and m2 of `count` samples, to be merged.
  struct Batch {
    double count;
    std::vector<double> mean;
    std::vector<double> m2;
  };
  void merge(const Batch& batch);

  double count_;
  std::vector<double> mean_;
  std::vector<double> m2_;
};

}  // namespace rndfast
