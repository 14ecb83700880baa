// SPDX-License-Identifier: MIT
// The calls of a batch that are under way: in which order they were made, and for which environments.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "rndfast/env/atari_batch.hpp"

namespace rndfast {

/// A batch and its calls. Only one call at a time may be under way for each environment. Results are received in the
/// order of the calls.
///
/// Threads may call any function at any time; while one waits, another that would have to is refused. Functions throw
/// std::invalid_argument for wrong arguments and std::runtime_error for a call at the wrong time, and change nothing
/// then.
class BatchCalls {
 public:
  using Poll = WorkerQueue::Poll;
  /// Keeps the memory of a call's outputs alive while threads may write to it.
  using Memory = std::shared_ptr<void>;

  /// See AtariBatch.
  BatchCalls(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings, std::size_t num_envs,
             std::size_t num_threads, int first_cpu, SimdLevel level, bool remembers_resets = true);

  /// What it says about environments is up to date while none is under way; see finish_all().
  AtariBatch& batch() { return batch_; }
  const AtariBatch& batch() const { return batch_; }

  /// Resets some environments and waits for it, after all that is under way, whose results are lost. If `poll` throws,
  /// the reset goes on by itself.
  void reset(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds, Poll poll);

  /// Begins to step some environments. Waits for a reset that goes on by itself.
  void send(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions,
            const AtariBatch::Outputs& outputs, Memory memory, WorkerQueue::Start start, Poll poll);

  /// Waits for the oldest step and returns its memory. If `poll` throws, the step is still the oldest one. Rethrows
  /// the first exception of an environment.
  Memory receive(Poll poll);

  /// Waits for all that is under way and forgets the results.
  void finish_all(Poll poll);

  /// Whether no step is under way. A reset may be, if `poll` ended the wait for it.
  bool is_idle() const;

 private:
  using CallPtr = std::unique_ptr<AtariBatch::Call>;
  struct Pending {
    CallPtr call;
    Memory memory;
    bool is_reset() const { return call->kind() == AtariBatch::Call::Kind::kReset; }
  };

  void require_env_ids(std::span<const std::int64_t> env_ids);
  void require_seeds(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds) const;
  void require_actions(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions) const;
  void require_can_step(std::span<const std::int64_t> env_ids) const;
  CallPtr new_call();
  void add(CallPtr call, Memory memory);
  Memory finish_first(std::unique_lock<std::mutex>& lock, Poll poll);
  void finish_resets(std::unique_lock<std::mutex>& lock, Poll poll);
  void finish_all(std::unique_lock<std::mutex>& lock, Poll poll);
  static void forget(std::unique_lock<std::mutex>& lock, Memory memory);

  mutable std::mutex mutex_;                // guards the members below, but not the batch
  std::vector<std::uint8_t> is_under_way_;  // by environment
  std::vector<std::uint64_t> named_in_;     // the last call that named it
  std::uint64_t num_calls_ = 0;
  bool is_waiting_ = false;
  std::deque<Pending> calls_;
  std::vector<CallPtr> old_calls_;  // to be used again
  AtariBatch batch_;                // last: its threads write to the memory of calls_ until they end
};

}  // namespace rndfast
