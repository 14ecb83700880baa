// SPDX-License-Identifier: MIT
// One step of every environment at a time, so that the compiler can use vector instructions across environments:
// flags become bit masks, which choose between two values without a branch.
#include "rndfast/learner/gae.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rndfast {
namespace {

/// All bits set if flag n is set, else none. The flag is read as a byte, since NumPy's bool arrays may hold other bytes
/// than 0 and 1, for which reading a C++ bool is undefined.
std::uint64_t mask_of(const bool* flags, std::size_t n) {
  return std::uint64_t{0} - std::uint64_t{reinterpret_cast<const unsigned char*>(flags)[n] != 0};
}

/// `a` where all bits of the mask are set, `b` where none is. Made of bit operations, unlike mask * a + ..., so that a
/// NaN in the number that is not chosen has no effect.
double choose(std::uint64_t mask, double a, double b) {
  return std::bit_cast<double>((std::bit_cast<std::uint64_t>(a) & mask) | (std::bit_cast<std::uint64_t>(b) & ~mask));
}

/// What one step of the recursion reads: arrays of (N), one element for each environment.
struct StepView {
  const float* rewards;
  const float* values;
  const float* next_values;
  const bool* terminated;
  const bool* truncated;
  const float* final_values;
};

/// Goes one step back in time. `advantage` is A(t+1) on entry and A(t) on return. Arrays of flags that the template's
/// arguments say are absent are not read.
template <bool kHasTerminated, bool kHasTruncated>
void step(const StepView& view, std::size_t num_envs, const GaeConfig& config, double* __restrict advantage,
          float* __restrict out) {
  const double gamma = config.gamma;
  const double decay = config.gamma * config.gae_lambda;
  for (std::size_t n = 0; n < num_envs; ++n) {
    double bootstrap = double{view.next_values[n]};
    double carried = advantage[n];
    if constexpr (kHasTruncated) {
      const std::uint64_t truncated = mask_of(view.truncated, n);
      bootstrap = choose(truncated, double{view.final_values[n]}, bootstrap);
      carried = choose(truncated, 0.0, carried);
    }
    if constexpr (kHasTerminated) {
      const std::uint64_t terminated = mask_of(view.terminated, n);
      bootstrap = choose(terminated, 0.0, bootstrap);
      carried = choose(terminated, 0.0, carried);
    }
    const double delta = double{view.rewards[n]} + gamma * bootstrap - double{view.values[n]};
    advantage[n] = delta + decay * carried;
    out[n] = static_cast<float>(advantage[n]);
  }
}

auto step_for(bool has_terminated, bool has_truncated) {
  if (has_truncated) return has_terminated ? &step<true, true> : &step<false, true>;
  return has_terminated ? &step<true, false> : &step<false, false>;
}

}  // namespace

void compute_gae(View2D<const float> rewards, View2D<const float> values, std::span<const float> next_value,
                 View2D<const bool> terminated, View2D<const bool> truncated, View2D<const float> final_values,
                 View2D<float> out, const GaeConfig& config) {
  const bool has_terminated = terminated.data != nullptr;
  const bool has_truncated = truncated.data != nullptr;
  const auto step_all = step_for(has_terminated, has_truncated);
  std::vector<double> advantage(rewards.cols, 0.0);

  for (std::size_t t = rewards.rows; t-- > 0;) {
    const StepView view{
        .rewards = rewards.row(t),
        .values = values.row(t),
        .next_values = t + 1 < rewards.rows ? values.row(t + 1) : next_value.data(),
        .terminated = has_terminated ? terminated.row(t) : nullptr,
        .truncated = has_truncated ? truncated.row(t) : nullptr,
        .final_values = has_truncated ? final_values.row(t) : nullptr,
    };
    step_all(view, rewards.cols, config, advantage.data(), out.row(t));
  }
}

}  // namespace rndfast
