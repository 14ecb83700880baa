// SPDX-License-Identifier: MIT
#include "rndfast/learner/discounted_return_filter.hpp"

#include <algorithm>
#include <cassert>

namespace rndfast {
namespace {

/// sums = gamma * sums + rewards, written to `out` as well: one step of every environment's filter.
void step(std::span<double> sums, const float* rewards, float* out, double gamma) {
  for (std::size_t n = 0; n < sums.size(); ++n) {
    sums[n] = gamma * sums[n] + double{rewards[n]};
    out[n] = static_cast<float>(sums[n]);
  }
}

}  // namespace

DiscountedReturnFilter::DiscountedReturnFilter(std::size_t num_envs, double gamma, FilterDirection direction)
    : gamma_(gamma), direction_(direction), carry_(num_envs, 0.0) {}

void DiscountedReturnFilter::update(View2D<const float> rewards, View2D<float> out) {
  assert(rewards.cols == num_envs());
  if (direction_ == FilterDirection::kForward) {
    for (std::size_t t = 0; t < rewards.rows; ++t) step(carry_, rewards.row(t), out.row(t), gamma_);
    return;
  }
  std::vector<double> sums(num_envs(), 0.0);
  for (std::size_t t = rewards.rows; t-- > 0;) step(sums, rewards.row(t), out.row(t), gamma_);
}

void DiscountedReturnFilter::set_carry(std::span<const double> carry) {
  assert(carry.size() == carry_.size());
  std::ranges::copy(carry, carry_.begin());
}

}  // namespace rndfast
