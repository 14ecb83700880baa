// SPDX-License-Identifier: MIT
#include "rndfast/env/batch_calls.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../sample_rom.hpp"
#include "doctest/doctest.h"
#include "rndfast/common/random.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kEnvs = 12;
constexpr auto never_stops = [] {};
constexpr auto stops = [] { throw std::domain_error("interrupted"); };

using Ids = std::vector<std::int64_t>;

EnvSettings tiny_settings() {
  EnvSettings settings;
  settings.img_height = settings.img_width = 8;
  settings.stack_num = 1;
  return settings;
}

/// Memory of one call for any number of its environments.
struct Rows {
  std::vector<std::uint8_t> observations = std::vector<std::uint8_t>(kEnvs * 64);
  StepTable table = StepTable(kEnvs);
  StepTable final_table = StepTable(kEnvs);
  std::vector<std::vector<std::uint8_t>> final_observations = std::vector<std::vector<std::uint8_t>>(kEnvs);
  Ids env_ids;

  AtariBatch::Outputs outputs() { return {observations.data(), &table, &final_table, final_observations.data()}; }
  std::int32_t episode_length(std::size_t row) const { return table.row(row).episode_length; }
};

/// A batch whose calls bring memory of their own.
class Calls {
 public:
  explicit Calls(std::size_t num_threads, const EnvSettings& settings = tiny_settings())
      : calls(*find_game("pitfall"), tests::sample_rom(), settings, kEnvs, num_threads, -1, SimdLevel::kBaseline) {}

  static Ids all() {
    Ids ids(kEnvs);
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
  }

  void reset(const Ids& ids = all(), WorkerQueue::Poll poll = never_stops) {
    calls.reset(ids, Ids(ids.size(), 3), poll);
  }
  void send(const Ids& ids = all(), std::int64_t action = 0) { send(ids, Ids(ids.size(), action)); }
  void send(const Ids& ids, const Ids& actions) {
    const auto rows = std::make_shared<Rows>();
    rows->env_ids = ids;
    calls.send(ids, actions, rows->outputs(), rows, WorkerQueue::Start::kAllThreads, never_stops);
  }
  std::shared_ptr<Rows> receive(WorkerQueue::Poll poll = never_stops) {
    return std::static_pointer_cast<Rows>(calls.receive(poll));
  }
  std::vector<StepRecord> receive_records() {
    const auto rows = receive();
    std::vector<StepRecord> records;
    for (std::size_t row = 0; row < rows->env_ids.size(); ++row) records.push_back(rows->table.row(row));
    return records;
  }

  BatchCalls calls;
};

}  // namespace

TEST_CASE("results come in the order of the calls, each with the rows of its environments") {
  Calls calls(3);
  calls.reset();
  calls.send({5, 2});
  calls.send({0});
  calls.send({11, 7, 1});
  CHECK_FALSE(calls.calls.is_idle());
  CHECK(calls.receive()->env_ids == Ids{5, 2});
  CHECK(calls.receive()->env_ids == Ids{0});
  const auto last = calls.receive();
  CHECK(last->env_ids == Ids{11, 7, 1});
  for (std::size_t row = 0; row < 3; ++row) CHECK(last->episode_length(row) == 1);
  CHECK(calls.calls.is_idle());
}

TEST_CASE("wrong calls are named and change nothing") {
  Calls calls(2);
  calls.reset();
  CHECK_THROWS_WITH_AS(calls.receive(), "nothing is under way: call send() before recv()", std::runtime_error);
  CHECK_THROWS_WITH_AS(calls.send({0, 12}), "env_ids must be in [0, 11], got 12", std::invalid_argument);
  CHECK_THROWS_WITH_AS(calls.send({-1}), "env_ids must be in [0, 11], got -1", std::invalid_argument);
  CHECK_THROWS_WITH_AS(calls.send({3, 4, 3}), "env_ids must name each environment once, got 3 twice",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(calls.send({3, 4}, {0, 18}), "action of env 4 must be in [0, 18), got 18",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(calls.send({3}, {-1}), "action of env 3 must be in [0, 18), got -1", std::invalid_argument);
  CHECK_THROWS_AS(calls.reset({12}), std::invalid_argument);
  calls.send({1, 2});
  CHECK_THROWS_WITH_AS(calls.send({0, 2}), "env 2 is still under way: call recv() before stepping it again",
                       std::runtime_error);
  calls.receive();
  calls.send();
  for (const StepRecord& record : calls.receive_records()) CHECK(record.episode_length <= 2);
}

TEST_CASE("without autoreset an ended episode is refused until it is reset") {
  EnvSettings settings = tiny_settings();
  settings.autoreset = Autoreset::kDisabled;
  settings.max_num_frames_per_episode = 4;
  Calls calls(2, settings);
  calls.reset();
  calls.send({4});
  CHECK(calls.receive_records()[0].truncated);
  CHECK_THROWS_WITH_AS(calls.send({3, 4}),
                       "the episode of env 4 has ended and autoreset is disabled: "
                       "call reset(options={\"reset_mask\": mask}) first",
                       std::runtime_error);
  calls.reset({4});
  calls.send({3, 4});
  CHECK(calls.receive_records()[1].episode_length == 1);
}

TEST_CASE("an interrupted wait leaves the step where it is") {
  EnvSettings settings = tiny_settings();
  settings.frameskip = 2000;  // longer than until the first poll
  Calls calls(1, settings);
  calls.reset();
  calls.send();
  for (int repeat = 0; repeat < 2; ++repeat) CHECK_THROWS_AS(calls.receive(stops), std::domain_error);
  CHECK_THROWS_AS(calls.send({0}), std::runtime_error);
  const auto rows = calls.receive();
  CHECK(rows->env_ids == Calls::all());
  for (std::size_t row = 0; row < kEnvs; ++row) CHECK(rows->episode_length(row) == 1);
}

TEST_CASE("an interrupted reset goes on by itself, and the next call waits for it") {
  EnvSettings settings = tiny_settings();
  settings.noop_max = 20'000;  // so that resets take longer than until the first poll
  Calls calls(1, settings);
  CHECK_THROWS_AS(calls.reset(Calls::all(), stops), std::domain_error);
  CHECK(calls.calls.is_idle());  // no step is under way
  calls.send();
  for (const StepRecord& record : calls.receive_records()) CHECK(record.episode_length == 1);
  CHECK_THROWS_AS(calls.reset(Calls::all(), stops), std::domain_error);
  CHECK_THROWS_AS(calls.receive(), std::runtime_error);  // it has no results to receive
}

TEST_CASE("a reset forgets the results of steps under way") {
  Calls calls(2);
  calls.reset();
  calls.send();
  calls.reset({0, 1});
  CHECK_THROWS_AS(calls.receive(), std::runtime_error);
  calls.send();
  const auto rows = calls.receive();
  CHECK(rows->episode_length(0) == 1);
  CHECK(rows->episode_length(2) == 2);
}

TEST_CASE("memory is kept as long as threads may write to it") {
  auto calls = std::make_unique<Calls>(3);
  calls->reset();
  const auto rows = std::make_shared<Rows>();
  calls->calls.send(Calls::all(), Ids(kEnvs), rows->outputs(), rows, WorkerQueue::Start::kAllThreads, never_stops);
  CHECK(rows.use_count() == 2);
  SUBCASE("until it is received") { CHECK(calls->receive() == rows); }
  SUBCASE("until it is forgotten") { calls->calls.finish_all(never_stops); }
  SUBCASE("until the batch ends") { calls.reset(); }
  CHECK(rows.use_count() == 1);
}

TEST_CASE("threads that call at random are served or refused, and every step is received once") {
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    Calls calls(1 + seed);
    calls.reset();
    std::atomic<int> num_sent = 0;
    std::atomic<int> num_received = 0;
    const auto use = [&](std::uint32_t thread) {
      Mt19937 random(100 * seed + thread);
      for (int repeat = 0; repeat < 100; ++repeat) {
        try {
          if (random() % 2 == 0) {
            calls.send({static_cast<std::int64_t>(random() % kEnvs)});
            ++num_sent;
          } else {
            const auto rows = random() % 4 == 0 ? calls.receive(stops) : calls.receive();
            num_received += static_cast<int>(rows->env_ids.size());
          }
        } catch (const std::runtime_error&) {  // nothing or still under way, or another thread waits
        } catch (const std::domain_error&) {
        }
      }
    };
    std::vector<std::thread> threads;
    for (std::uint32_t thread = 0; thread < 4; ++thread) threads.emplace_back(use, thread);
    for (std::thread& thread : threads) thread.join();
    while (!calls.calls.is_idle()) num_received += static_cast<int>(calls.receive()->env_ids.size());
    CHECK(num_sent == num_received);
    CHECK(num_sent > 0);
  }
}

}  // namespace rndfast
