// SPDX-License-Identifier: MIT
#include "rndfast/env/atari_batch.hpp"

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
  std::vector<std::uint8_t> observations(kEnvs * size);
  std::vector<std::uint8_t> final_observations(kEnvs * size);
  std::vector<StepRecord> records(kEnvs);
  std::vector<StepRecord> final_records(kEnvs);
  const auto outputs_from = [&](std::size_t env) {
    return AtariBatch::Outputs{observations.data() + env * size, records.data() + env, final_records.data() + env,
                               final_observations.data() + env * size};
  };
  const auto ids = [](std::size_t begin, std::size_t end) {
    std::vector<std::int64_t> list(end - begin);
    std::iota(list.begin(), list.end(), static_cast<std::int64_t>(begin));
    return list;
  };
  REQUIRE_FALSE(batch.finish(batch.start_reset(ids(0, kEnvs), ids(7, 7 + kEnvs), outputs_from(0)), [] {}));
  std::vector<std::uint8_t> seen;
  for (std::size_t step = 0; step < kSteps; ++step) {
    const std::size_t parts = in_halves ? 2 : 1;
    std::vector<AtariBatch::Call> calls;
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t begin = part * kEnvs / parts;
      const std::size_t end = (part + 1) * kEnvs / parts;
      std::vector<std::int64_t> actions;
      for (std::size_t env = begin; env < end; ++env) actions.push_back(static_cast<std::int64_t>((step + env) % 18));
      calls.push_back(batch.start_step(ids(begin, end), actions, outputs_from(begin)));
    }
    for (const auto& call : calls) REQUIRE_FALSE(batch.finish(call, [] {}));
    seen.insert(seen.end(), observations.begin(), observations.end());
    for (const StepRecord& record : records) seen.insert(seen.end(), record.ram, record.ram + kRamBytes);
    seen.insert(seen.end(), final_observations.begin(), final_observations.end());
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
  const EnvSettings settings;
  std::vector<std::uint8_t> observations(kEnvs * static_cast<std::size_t>(settings.stack_num * 84 * 84));
  std::vector<StepRecord> records(kEnvs);
  const AtariBatch::Outputs outputs = {observations.data(), records.data(), records.data(), observations.data()};
  AtariBatch batch(*find_game("pitfall"), tests::sample_rom(), settings, kEnvs, 3, -1, SimdLevel::kBaseline);
  REQUIRE(observations.size() == kEnvs * batch.plan().observation_size());
  batch.start_reset({0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, outputs);
}

}  // namespace rndfast
