// SPDX-License-Identifier: MIT
// Discounted sums of intrinsic rewards, whose running deviation scales the bonus (RND paper, section 2.4).
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rndfast/common/view.hpp"

namespace rndfast {

/// Which rewards a discounted sum at step t holds.
enum class FilterDirection {
  kForward,   // r(t) + gamma r(t-1) + ...: the authors' implementation; carried across rollouts
  kBackward,  // r(t) + gamma r(t+1) + ...: the paper's words ("returns"); ends with each rollout
};

/// One filter per environment. Never reset at episode ends: the intrinsic return is non-episodic.
/// May be called from one thread at a time.
class DiscountedReturnFilter {
 public:
  DiscountedReturnFilter(std::size_t num_envs, double gamma, FilterDirection direction);

  /// rewards, out: (T, N). Writes all of `out`, which may be `rewards` itself.
  void update(View2D<const float> rewards, View2D<float> out);

  /// Each environment's sum after the last step so far, from which the forward filter goes on. Zeros when backward.
  std::span<const double> carry() const { return carry_; }
  void set_carry(std::span<const double> carry);

  std::size_t num_envs() const { return carry_.size(); }
  double gamma() const { return gamma_; }
  FilterDirection direction() const { return direction_; }

 private:
  double gamma_;
  FilterDirection direction_;
  std::vector<double> carry_;
};

}  // namespace rndfast
