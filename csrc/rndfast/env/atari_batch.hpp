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

/// Results are the same for any number of threads and any instruction set. All functions but finish() are called from
/// one thread at a time.
class AtariBatch {
 public:
  /// Where the results of some environments go, one row for each in the order in which they were named. The caller
  /// keeps the memory until the call is finished.
  struct Outputs {
    std::uint8_t* observations;  // (n, stack_num, frame)
    StepTable* table;            // n rows

    // set where an episode ends in same-step mode
    StepTable* final_table;                         // n rows
    std::vector<std::uint8_t>* final_observations;  // n times (stack_num, frame)
  };

  /// Some environments, and what is done with them. May be used again once it is finished.
  class Call;

  /// Throws std::invalid_argument if the ROM's size is wrong or a thread cannot be pinned.
  AtariBatch(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings, std::size_t num_envs,
             std::size_t num_threads, int first_cpu, SimdLevel level, bool remembers_resets = true);

  const EnvPlan& plan() const { return plan_; }
  std::size_t num_envs() const { return envs_.size(); }
  std::size_t num_threads() const { return queue_.num_threads(); }
  /// Whether the episode of an environment that is not under way has ended.
  bool has_ended(std::size_t env) const { return has_ended_[env] != 0; }
  /// Throws std::runtime_error unless an environment has been seeded or restored. Until then it can only be reset,
  /// with a seed.
  void require_started(std::size_t env) const;

  /// Begins to reset some environments; kUnseeded goes on with the present random stream.
  static constexpr std::int64_t kUnseeded = -1;
  void start_reset(Call& call, std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds);

  /// Begins to step some environments; actions are indices into plan().actions(). None may be under way.
  void start_step(Call& call, std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions,
                  const Outputs& outputs, WorkerQueue::Start start);

  /// Waits for a call; see WorkerQueue::wait.
  [[nodiscard]] std::exception_ptr finish(Call& call, WorkerQueue::Poll poll);
  /// When each thread worked on which environment; see WorkerQueue.
  void start_trace(std::size_t max_spans) { queue_.start_trace(max_spans); }
  std::vector<Span> take_trace() { return queue_.take_trace(); }
  /// Throws std::runtime_error in a process forked after construction.
  void require_owner() const { queue_.require_owner(); }

  // Those below need environments that have started; see require_started().

  /// What one environment observes now, (stack_num, frame), and the state of its console.
  void observe(std::size_t env, std::uint8_t* observation, StepRecord& record) const;

  /// Writes what the console shows in colour and full size, (height, 160, 3), pooled as observations are. Needs
  /// pictures that keep their colours.
  void render(std::size_t env, std::uint8_t* rgb);

  /// The state of all environments without its sum, see snapshot_header, copied by all threads into as many bytes as
  /// snapshot_bytes() says. No environment may be under way.
  void copy_state(std::span<std::uint8_t> out);
  std::size_t snapshot_bytes() const;

  /// The state of all environments, and its inverse; which throws std::invalid_argument and changes nothing if the
  /// bytes are damaged, of other environments, or of a state that cannot be.
  std::vector<std::uint8_t> snapshot();
  void restore(std::span<const std::uint8_t> bytes);

  // The same for single environments, which must exist and not be under way; a state is a snapshot of one alone.

  std::vector<std::uint8_t> snapshot_of(std::size_t env) const;
  /// Puts a state into each of some environments. Throws as restore() does, and changes nothing then.
  void restore_each(std::span<const std::int64_t> env_ids, std::span<const std::span<const std::uint8_t>> states);
  /// Puts the states of some environments, as they are before the call, into others; targets are distinct.
  void copy_states(std::span<const std::int64_t> source_ids, std::span<const std::int64_t> target_ids);

 private:
  AtariEnv::Frames frames_of(std::size_t env) const;
  /// What a snapshot of so many environments must agree on.
  std::string description(std::size_t num_envs) const;
  /// Of one environment; throws std::invalid_argument.
  void validate(std::span<const std::uint8_t> state) const;
  /// Puts what is valid into an environment.
  void assign(std::size_t env, std::span<const std::uint8_t> state, std::span<const std::uint8_t> frames);
  std::span<const std::uint8_t> state_bytes(std::size_t env) const {
    return {reinterpret_cast<const std::uint8_t*>(&envs_[env]), sizeof(AtariEnv)};
  }
  std::span<const std::uint8_t> frame_bytes(std::size_t env) const {
    return {frames_.get() + env * frames_per_env_, frames_per_env_};
  }

  EnvPlan plan_;
  std::vector<AtariEnv> envs_;
  std::vector<std::uint8_t> has_ended_;     // by environment, apart from the environments, to be read at a glance
  std::vector<std::uint8_t> has_started_;   // likewise
  std::size_t frames_per_env_;              // bytes
  std::unique_ptr<std::uint8_t[]> frames_;  // (num_envs, frames_per_env_)
  WorkerQueue queue_;                       // last, so that the threads end first
};

class AtariBatch::Call final : public WorkerQueue::Task {
 public:
  enum class Kind : std::uint8_t { kReset, kStep };

  Kind kind() const { return kind_; }
  std::span<const std::int64_t> env_ids() const { return env_ids_; }
  void run(std::size_t item) override;
  std::uint32_t name_of(std::size_t item) const override { return static_cast<std::uint32_t>(env_ids_[item]); }

 private:
  friend class AtariBatch;
  void reset(std::size_t item);
  void step(std::size_t item);

  AtariBatch* batch_ = nullptr;
  Kind kind_ = Kind::kReset;
  std::vector<std::int64_t> env_ids_;
  std::vector<std::int64_t> arguments_;  // seeds or actions
  std::vector<std::uint32_t> first_items_;
  Outputs outputs_{};  // of a step
  WorkerQueue::Job* job_ = nullptr;
};

}  // namespace rndfast
