// SPDX-License-Identifier: MIT
#include "rndfast/learner/discounted_return_filter.hpp"

#include <cstddef>
#include <vector>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

std::vector<float> filter_all(DiscountedReturnFilter& filter, const std::vector<float>& rewards) {
  const std::size_t steps = rewards.size() / filter.num_envs();
  std::vector<float> out(rewards.size());
  filter.update({rewards.data(), steps, filter.num_envs()}, {out.data(), steps, filter.num_envs()});
  return out;
}

}  // namespace

TEST_CASE("the forward filter runs over time and is carried across calls") {
  DiscountedReturnFilter filter(2, 0.5, FilterDirection::kForward);
  CHECK(filter_all(filter, {1, 0, 0, 0, 0, 8}) == std::vector<float>{1, 0, 0.5F, 0, 0.25F, 8});
  CHECK(filter_all(filter, {0, 0}) == std::vector<float>{0.125F, 4});
  CHECK(filter.carry()[0] == 0.125);
  CHECK(filter.carry()[1] == 4.0);
}

TEST_CASE("the backward filter looks ahead, each call on its own") {
  DiscountedReturnFilter filter(2, 0.5, FilterDirection::kBackward);
  for (int call = 0; call < 2; ++call) {
    CHECK(filter_all(filter, {0, 0, 0, 8, 4, 0}) == std::vector<float>{1, 4, 2, 8, 4, 0});
    CHECK(filter.carry()[0] == 0.0);
  }
}

TEST_CASE("a filter resumes from its carry") {
  const std::vector<double> carry = {2, 4, 6};
  DiscountedReturnFilter filter(3, 0.5, FilterDirection::kForward);
  filter.set_carry(carry);
  CHECK(filter_all(filter, {1, 1, 1}) == std::vector<float>{2, 3, 4});
}

TEST_CASE("out may be the rewards, at sizes with tails") {
  for (std::size_t envs = 1; envs < 20; ++envs) {
    for (const auto direction : {FilterDirection::kForward, FilterDirection::kBackward}) {
      std::vector<float> rewards(5 * envs);
      for (std::size_t i = 0; i < rewards.size(); ++i) rewards[i] = static_cast<float>(i % 7) - 2.5F;
      DiscountedReturnFilter apart(envs, 0.9, direction);
      DiscountedReturnFilter in_place(envs, 0.9, direction);
      const auto expected = filter_all(apart, rewards);
      in_place.update({rewards.data(), 5, envs}, {rewards.data(), 5, envs});
      CHECK(rewards == expected);
    }
  }
}

TEST_CASE("no steps change nothing") {
  DiscountedReturnFilter filter(1, 0.5, FilterDirection::kForward);
  filter_all(filter, {3});
  CHECK(filter_all(filter, {}).empty());
  CHECK(filter.carry()[0] == 3.0);
}

}  // namespace rndfast
