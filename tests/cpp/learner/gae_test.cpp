// SPDX-License-Identifier: MIT
#include "rndfast/learner/gae.hpp"

#include <cstddef>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

using Floats = std::vector<float>;
using Flags = std::vector<char>;  // bytes: std::vector<bool> has no array of bool

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Rollout {
  std::size_t steps;
  std::size_t envs;
  Floats rewards;
  Floats values;
  Floats next_value;
  Flags terminated = {};
  Flags truncated = {};
  Floats final_values = {};
};

View2D<const bool> flags_view(const Flags& flags, const Rollout& rollout) {
  if (flags.empty()) return {};
  return {reinterpret_cast<const bool*>(flags.data()), rollout.steps, rollout.envs};
}

Floats advantages(const Rollout& r, double gamma, double gae_lambda) {
  Floats out(r.steps * r.envs, -77.0F);
  const View2D<const float> final_values{r.final_values.data(), r.steps, r.envs};
  compute_gae({r.rewards.data(), r.steps, r.envs}, {r.values.data(), r.steps, r.envs}, r.next_value,
              flags_view(r.terminated, r), flags_view(r.truncated, r), final_values, {out.data(), r.steps, r.envs},
              {.gamma = gamma, .gae_lambda = gae_lambda});
  return out;
}

}  // namespace

TEST_CASE("undiscounted advantages are returns minus values") {
  const Rollout rollout{3, 1, {1, 2, 4}, {1, 1, 1}, {8}};
  CHECK(advantages(rollout, 1, 1) == Floats{14, 13, 11});
}

TEST_CASE("gae by hand") {
  // delta = 1 + 0.5 * 4 - 2 = 1, 3 + 0.5 * 8 - 4 = 3; A = 1 + 0.25 * 3, 3
  const Rollout rollout{2, 1, {1, 3}, {2, 4}, {8}};
  CHECK(advantages(rollout, 0.5, 0.5) == Floats{1.75F, 3});
}

TEST_CASE("a termination cuts the value and the sum, in its environment alone") {
  Rollout rollout{2, 2, {1, 1, 3, 3}, {2, 2, 4, 4}, {8, 8}, {1, 0, 0, 0}};
  CHECK(advantages(rollout, 0.5, 0.5) == Floats{-1, 1.75F, 3, 3});
  rollout.terminated = {0, 0, 0, 1};
  CHECK(advantages(rollout, 0.5, 0.5) == Floats{1.75F, 0.75F, 3, -1});
}

TEST_CASE("a truncation cuts the sum and takes the final value") {
  Rollout rollout{2, 2, {1, 1, 3, 3}, {2, 2, 4, 4}, {8, 8}};
  rollout.truncated = {1, 0, 0, 0};
  rollout.final_values = {10, kNan, kNan, kNan};
  CHECK(advantages(rollout, 0.5, 0.5) == Floats{4, 1.75F, 3, 3});
  rollout.terminated = {1, 0, 0, 0};  // termination wins
  CHECK(advantages(rollout, 0.5, 0.5) == Floats{-1, 1.75F, 3, 3});
}

TEST_CASE("sizes with tails: a batch equals its environments alone") {
  std::mt19937 random(1);
  const auto uniform = [&] { return static_cast<float>(random() % 2001) / 1000.0F - 1.0F; };
  for (std::size_t envs = 1; envs < 36; ++envs) {
    Rollout batch{7, envs, {}, {}, {}};
    for (std::size_t i = 0; i < 7 * envs; ++i) {
      batch.rewards.push_back(uniform());
      batch.values.push_back(uniform());
      batch.final_values.push_back(uniform());
      batch.terminated.push_back(static_cast<char>(random() % 5 == 0));
      batch.truncated.push_back(static_cast<char>(random() % 5 == 0));
    }
    for (std::size_t n = 0; n < envs; ++n) batch.next_value.push_back(uniform());
    const Floats together = advantages(batch, 0.99, 0.95);
    for (std::size_t n = 0; n < envs; ++n) {
      Rollout one{7, 1, {}, {}, {batch.next_value[n]}};
      Floats expected;
      for (std::size_t i = n; i < 7 * envs; i += envs) {
        one.rewards.push_back(batch.rewards[i]);
        one.values.push_back(batch.values[i]);
        one.final_values.push_back(batch.final_values[i]);
        one.terminated.push_back(batch.terminated[i]);
        one.truncated.push_back(batch.truncated[i]);
        expected.push_back(together[i]);
      }
      CHECK(advantages(one, 0.99, 0.95) == expected);
    }
  }
}

TEST_CASE("an empty rollout is no error") {
  CHECK(advantages({0, 2, {}, {}, {1, 1}}, 0.9, 0.9).empty());
  CHECK(advantages({2, 0, {}, {}, {}}, 0.9, 0.9).empty());
}

}  // namespace rndfast
