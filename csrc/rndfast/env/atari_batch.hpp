// SPDX-License-Identifier: MIT
// Many environments of one game, stepped by worker threads while the caller waits or does something else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rndfast/common/worker_queue.hpp"
#include "rndfast/env/atari_env.hpp"

namespace rndfast {

/// Results are the same for any number of threads and any instruction set. All functions are called from one thread at
/// a time.
class AtariBatch {
 public:
  /// Where the results of some environments go, one row for each in the order in which they were named. The caller
  /// keeps the memory until the call is finished.
  struct Outputs {
    std::uint8_t* observations;        // (n, stack_num, frame)
    StepRecord* records;               // (n)
    StepRecord* final_records;         // (n), written in same-step mode where an episode ends
    std::uint8_t* final_observations;  // (n, stack_num, frame), likewise
  };
  using Call = std::shared_ptr<WorkerQueue::Job>;

  /// Throws std::invalid_argument if the ROM's size is wrong or a thread cannot be pinned.
  AtariBatch(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings, std::size_t num_envs,
             std::size_t num_threads, int first_cpu, SimdLevel level);

  const EnvPlan& plan() const { return plan_; }
  std::size_t num_envs() const { return envs_.size(); }
  std::size_t num_threads() const { return queue_.num_threads(); }
  bool has_ended(std::size_t env) const { return envs_[env].has_ended(); }

  /// Begins to reset some environments; kUnseeded goes on with the present random stream. The first reset of each
  /// must be seeded.
  static constexpr std::int64_t kUnseeded = -1;
  Call start_reset(std::vector<std::int64_t> env_ids, std::vector<std::int64_t> seeds, Outputs outputs);

  /// Begins to step some environments; actions are indices into plan().actions(). None may be under way.
  Call start_step(std::vector<std::int64_t> env_ids, std::vector<std::int64_t> actions, Outputs outputs);

  /// Waits for a call; see WorkerQueue::wait.
  [[nodiscard]] std::exception_ptr finish(const Call& call, WorkerQueue::Poll poll) { return queue_.wait(*call, poll); }
  /// When each thread worked on which environment; see WorkerQueue.
  void start_trace(std::size_t max_spans) { queue_.start_trace(max_spans); }
  std::vector<Span> take_trace() { return queue_.take_trace(); }
  /// Throws std::runtime_error in a process forked after construction.
  void require_owner() const { queue_.require_owner(); }

  /// What one environment observes now, (stack_num, frame), and the state of its console.
  void observe(std::size_t env, std::uint8_t* observation, StepRecord& record) const;

  /// Writes what the console shows in colour and full size, (height, 160, 3), pooled as observations are. Needs
  /// pictures that keep their colours.
  void render(std::size_t env, std::uint8_t* rgb);

  /// The state of all environments, and its inverse; see unpack_snapshot for what is refused.
  std::vector<std::uint8_t> snapshot() const;
  void restore(std::span<const std::uint8_t> bytes);

 private:
  AtariEnv::Frames frames_of(std::size_t env) const;
  std::string description() const;
  std::size_t env_bytes() const { return envs_.size() * sizeof(AtariEnv); }
  std::size_t frame_bytes() const { return envs_.size() * frames_per_env_; }

  EnvPlan plan_;
  std::vector<AtariEnv> envs_;
  std::size_t frames_per_env_;              // bytes
  std::unique_ptr<std::uint8_t[]> frames_;  // (num_envs, frames_per_env_)
  WorkerQueue queue_;                       // last, so that the threads end first
};

}  // namespace rndfast
