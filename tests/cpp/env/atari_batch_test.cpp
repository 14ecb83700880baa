// SPDX-License-Identifier: MIT
#include "rndfast/env/atari_batch.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "../sample_rom.hpp"
#include "../simd_levels.hpp"
#include "doctest/doctest.h"
#include "rndfast/games/game.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kEnvs = 6;
constexpr std::size_t kSteps = 40;

/// All that some steps of a batch give, as bytes.
std::vector<std::uint8_t> play(std::size_t num_threads, SimdLevel level, bool in_halves) {
  EnvSettings settings;
  settings.max_num_frames_per_episode = 50;
  settings.autoreset = Autoreset::kSameStep;
  settings.full_action_space = true;
  AtariBatch batch(*find_game("pitfall"), tests::sample_rom(), settings, kEnvs, num_threads, -1, level);
  const std::size_t size = batch.plan().observation_size();
  std::vector<std::uint8_t> seen;
  const auto ids = [](std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> list(end - begin);
    std::iota(list.begin(), list.end(), static_cast<std::int64_t>(begin));
    return list;
  };
  AtariBatch::Call reset;
  batch.start_reset(reset, ids(0, kEnvs), ids(7, 7 + kEnvs));
  REQUIRE_FALSE(batch.finish(reset, [] {}));
  const std::size_t num_parts = in_halves ? 2 : 1;
  const std::size_t num_rows = kEnvs / num_parts;
  std::array<AtariBatch::Call, 2> calls;
  for (std::size_t step = 0; step < kSteps; ++step) {
    std::vector<std::uint8_t> observations(kEnvs * size);
    std::vector<StepTable> tables;
    std::vector<StepTable> final_tables;
    std::vector<std::vector<std::uint8_t>> final_observations(kEnvs);
    tables.reserve(num_parts);  // they must stay where they are
    final_tables.reserve(num_parts);
    for (std::size_t part = 0; part < num_parts; ++part) {
      const std::size_t begin = part * num_rows;
      tables.emplace_back(num_rows);
      final_tables.emplace_back(num_rows);
      std::vector<std::int64_t> actions;
      for (std::size_t row = 0; row < num_rows; ++row) {
        actions.push_back(static_cast<std::int64_t>((step + begin + row) % 18));
      }
      batch.start_step(
          calls[part], ids(begin, begin + num_rows), actions,
          {observations.data() + begin * size, &tables[part], &final_tables[part], final_observations.data() + begin},
          in_halves ? WorkerQueue::Start::kAllThreads : WorkerQueue::Start::kAllButThread0);
    }
    for (std::size_t part = 0; part < num_parts; ++part) REQUIRE_FALSE(batch.finish(calls[part], [] {}));
    seen.insert(seen.end(), observations.begin(), observations.end());
    for (std::size_t env = 0; env < kEnvs; ++env) {
      for (const StepTable* table : {&tables[env / num_rows], &final_tables[env / num_rows]}) {
        const StepRecord record = table->row(env % num_rows);
        seen.insert(seen.end(), record.ram, record.ram + kRamBytes);
        seen.push_back(static_cast<std::uint8_t>(record.env_id));
      }
      seen.insert(seen.end(), final_observations[env].begin(), final_observations[env].end());
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("a batch gives the same bytes on any number of threads, at any level, whole or in halves") {
  const auto expected = play(1, SimdLevel::kBaseline, false);
  std::size_t num_different = 0;
  for (std::size_t i = 1; i < expected.size(); ++i) num_different += expected[i] != expected[i - 1];
  CHECK(num_different > 10'000);  // there is something to see
  for (const SimdLevel level : tests::supported_levels()) {
    for (const std::size_t num_threads : {1, 2, 3, 8}) {
      CHECK(play(num_threads, level, false) == expected);
      CHECK(play(num_threads, level, true) == expected);
    }
  }
}

TEST_CASE("a batch can end while its threads are at work") {
  const std::vector<std::int64_t> ids = {0, 1, 2, 3, 4, 5};
  AtariBatch::Call reset;
  AtariBatch batch(*find_game("pitfall"), tests::sample_rom(), {}, kEnvs, 3, -1, SimdLevel::kBaseline);
  batch.start_reset(reset, ids, ids);
}

}  // namespace rndfast
