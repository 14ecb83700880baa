// SPDX-License-Identifier: MIT
// Generalised advantage estimation (Schulman et al. 2016), backwards in time over one rollout.
#pragma once

#include <span>

#include "rndfast/common/view.hpp"

namespace rndfast {

struct GaeConfig {
  double gamma;
  double gae_lambda;
};

/// rewards, values: (T, N). next_value: (N), the value of the observation after the last step.
/// terminated: (T, N); non-zero after step t stops both the bootstrap and the sum there. data == nullptr: a
/// non-episodic stream, in which no episode ends (RND's intrinsic stream, paper section 2.3).
/// truncated, final_values: (T, N); where truncated is non-zero the sum stops after step t and final_values(t, n), the
/// value of the episode's last observation, takes the place of the next value. data == nullptr: no truncations.
/// Sums in float64. Writes `out` (T, N) only, which must not alias an input. Pure: safe from several threads.
///
///   delta(t) = r(t) + gamma * V(t+1) * (1 - terminated(t)) - V(t)
///   A(t)     = delta(t) + gamma * lambda * (1 - ended(t)) * A(t+1),   ended = terminated or truncated
void compute_gae(View2D<const float> rewards, View2D<const float> values, std::span<const float> next_value,
                 View2D<const bool> terminated, View2D<const bool> truncated, View2D<const float> final_values,
                 View2D<float> out, const GaeConfig& config);

}  // namespace rndfast
