// SPDX-License-Identifier: MIT
#include "rndfast/common/random.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <type_traits>

#include "doctest/doctest.h"

namespace rndfast {

TEST_CASE("the Mersenne Twister is the standard library's") {
  for (const std::uint32_t seed : {0U, 1U, 5489U, 4753849U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
    CAPTURE(seed);
    Mt19937 random(seed);
    std::mt19937 expected(seed);
    int num_wrong = 0;
    for (int draw = 0; draw < 3 * 624 + 500; ++draw) num_wrong += random() != expected();
    CHECK(num_wrong == 0);
  }
}

TEST_CASE("the 10,000th number of the default seed is what the C++ standard says") {
  Mt19937 random(5489);
  for (int draw = 1; draw < 10'000; ++draw) random();
  CHECK(random() == 4123659995U);
}

TEST_CASE("seeding starts anew, in the middle of the words too") {
  Mt19937 random(3);
  for (const int num_draws : {0, 1, 623, 624, 625, 1000}) {
    for (int draw = 0; draw < num_draws; ++draw) random();
    random.seed(7);
    std::mt19937 expected(7);
    for (int draw = 0; draw < 700; ++draw) REQUIRE(random() == expected());
  }
}

TEST_CASE("a copy of the bytes goes on with the same numbers") {
  static_assert(std::is_trivially_copyable_v<Mt19937>);
  static_assert(sizeof(Mt19937) == 625 * sizeof(std::uint32_t));
  Mt19937 random(11);
  for (int draw = 0; draw < 900; ++draw) random();
  Mt19937 twin;
  std::memcpy(static_cast<void*>(&twin), &random, sizeof(random));
  for (int draw = 0; draw < 2000; ++draw) REQUIRE(twin() == random());
}

}  // namespace rndfast
