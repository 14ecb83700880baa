// SPDX-License-Identifier: MIT
#include "rndfast/games/reset_memo.hpp"

#include <cstdint>

#include "doctest/doctest.h"
#include "rndfast/games/game_console.hpp"

namespace {

rndfast::ResetKey key_of(std::int32_t mode) {
  rndfast::ResetKey key{};
  key.mode = mode;
  return key;
}

rndfast::ResetResult result_of(std::int32_t num_frames) {
  return {.idle_times = {}, .num_frames = num_frames, .console = nullptr};
}

}  // namespace

TEST_CASE("the memo of resets keeps as many as it says, and the first ones") {
  constexpr auto kMax = static_cast<std::int32_t>(rndfast::ResetMemo::kMaxEntries);
  rndfast::ResetMemo memo;
  for (std::int32_t i = 0; i < kMax + 10; ++i) memo.add(key_of(i), result_of(100 + i));
  for (std::int32_t i = 0; i < kMax; ++i) {
    REQUIRE(memo.find(key_of(i)) != nullptr);
    CHECK(memo.find(key_of(i))->num_frames == 100 + i);
  }
  for (std::int32_t i = kMax; i < kMax + 10; ++i) CHECK(memo.find(key_of(i)) == nullptr);
}

TEST_CASE("the memo of resets has one result for a state") {
  rndfast::ResetMemo memo;
  CHECK(memo.find(key_of(1)) == nullptr);
  memo.add(key_of(1), result_of(5));
  const rndfast::ResetResult* const first = memo.find(key_of(1));
  memo.add(key_of(1), result_of(6));
  CHECK(memo.find(key_of(1)) == first);
  CHECK(first->num_frames == 5);
  rndfast::ResetKey other = key_of(1);
  other.state.ram[127] = 1;
  CHECK(memo.find(other) == nullptr);
}

TEST_CASE("a console of the memo takes no more than it says") { CHECK(sizeof(rndfast::GameConsole) <= 90'000); }
