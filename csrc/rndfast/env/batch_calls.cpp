// SPDX-License-Identifier: MIT
#include "rndfast/env/batch_calls.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

namespace rndfast {
namespace {

std::size_t index_of(std::int64_t env_id) { return static_cast<std::size_t>(env_id); }

}  // namespace

BatchCalls::BatchCalls(const Game& game, std::span<const std::uint8_t> rom, const EnvSettings& settings,
                       std::size_t num_envs, std::size_t num_threads, int first_cpu, SimdLevel level,
                       bool remembers_resets)
    : is_under_way_(num_envs),
      named_in_(num_envs),
      batch_(game, rom, settings, num_envs, num_threads, first_cpu, level, remembers_resets) {}

void BatchCalls::reset(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds, Poll poll) {
  std::unique_lock lock(mutex_);
  require_env_ids(env_ids);
  require_seeds(env_ids, seeds);
  finish_all(lock, poll);
  CallPtr call = new_call();
  batch_.start_reset(*call, env_ids, seeds);
  add(std::move(call), nullptr);
  finish_all(lock, poll);
}

void BatchCalls::send(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions,
                      const AtariBatch::Outputs& outputs, Memory memory, WorkerQueue::Start start, Poll poll) {
  std::unique_lock lock(mutex_);
  finish_resets(lock, poll);
  require_env_ids(env_ids);
  require_actions(env_ids, actions);
  require_can_step(env_ids);
  CallPtr call = new_call();
  batch_.start_step(*call, env_ids, actions, outputs, start);
  add(std::move(call), std::move(memory));
}

BatchCalls::Memory BatchCalls::receive(Poll poll) {
  std::unique_lock lock(mutex_);
  finish_resets(lock, poll);
  if (calls_.empty()) throw std::runtime_error("nothing is under way: call send() before recv()");
  return finish_first(lock, poll);
}

void BatchCalls::finish_all(Poll poll) {
  std::unique_lock lock(mutex_);
  finish_all(lock, poll);
}

bool BatchCalls::is_idle() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(calls_, &Pending::is_reset);
}

void BatchCalls::require_env_ids(std::span<const std::int64_t> env_ids) {
  const auto num_envs = static_cast<std::int64_t>(batch_.num_envs());
  ++num_calls_;
  for (const std::int64_t id : env_ids) {
    if (id < 0 || id >= num_envs) {
      throw std::invalid_argument("env_ids must be in [0, " + std::to_string(num_envs - 1) + "], got " +
                                  std::to_string(id));
    }
    if (std::exchange(named_in_[index_of(id)], num_calls_) == num_calls_) {
      throw std::invalid_argument("env_ids must name each environment once, got " + std::to_string(id) + " twice");
    }
  }
}

void BatchCalls::require_seeds(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> seeds) const {
  constexpr std::int64_t kMaxSeed = std::numeric_limits<std::uint32_t>::max();
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    if (seeds[i] < AtariBatch::kUnseeded || seeds[i] > kMaxSeed) {
      throw std::invalid_argument("seed of env " + std::to_string(env_ids[i]) + " must be in [-1, " +
                                  std::to_string(kMaxSeed) + "], got " + std::to_string(seeds[i]));
    }
    if (seeds[i] == AtariBatch::kUnseeded) batch_.require_started(index_of(env_ids[i]));
  }
}

void BatchCalls::require_actions(std::span<const std::int64_t> env_ids, std::span<const std::int64_t> actions) const {
  const auto num_actions = static_cast<std::int64_t>(batch_.plan().actions().size());
  for (std::size_t i = 0; i < actions.size(); ++i) {
    if (actions[i] >= 0 && actions[i] < num_actions) continue;
    throw std::invalid_argument("action of env " + std::to_string(env_ids[i]) + " must be in [0, " +
                                std::to_string(num_actions) + "), got " + std::to_string(actions[i]));
  }
}

void BatchCalls::require_can_step(std::span<const std::int64_t> env_ids) const {
  for (const std::int64_t id : env_ids) {
    batch_.require_started(index_of(id));
    if (is_under_way_[index_of(id)] != 0) {
      throw std::runtime_error("env " + std::to_string(id) +
                               " is still under way: call recv() before stepping it again");
    }
  }
  if (batch_.plan().settings().autoreset != Autoreset::kDisabled) return;
  for (const std::int64_t id : env_ids) {
    if (!batch_.has_ended(index_of(id))) continue;
    throw std::runtime_error("the episode of env " + std::to_string(id) +
                             " has ended and autoreset is disabled: "
                             "call reset(options={\"reset_mask\": mask}) first");
  }
}

BatchCalls::CallPtr BatchCalls::new_call() {
  if (old_calls_.empty()) return std::make_unique<AtariBatch::Call>();
  CallPtr call = std::move(old_calls_.back());
  old_calls_.pop_back();
  return call;
}

void BatchCalls::add(CallPtr call, Memory memory) {
  for (const std::int64_t id : call->env_ids()) is_under_way_[index_of(id)] = 1;
  calls_.push_back({std::move(call), std::move(memory)});
}

/// Waits for the oldest call and removes it, unless `poll` throws. Meanwhile other threads run, and would finish and
/// remove the same call: they are refused.
BatchCalls::Memory BatchCalls::finish_first(std::unique_lock<std::mutex>& lock, Poll poll) {
  if (is_waiting_) throw std::runtime_error("the environment is in use by another thread");
  is_waiting_ = true;
  AtariBatch::Call& call = *calls_.front().call;
  lock.unlock();
  std::exception_ptr error;
  try {
    error = batch_.finish(call, poll);
  } catch (...) {  // from `poll`
    lock.lock();
    is_waiting_ = false;
    throw;
  }
  lock.lock();
  is_waiting_ = false;
  Pending first = std::move(calls_.front());
  calls_.pop_front();
  for (const std::int64_t id : first.call->env_ids()) is_under_way_[index_of(id)] = 0;
  old_calls_.push_back(std::move(first.call));
  Memory memory = std::move(first.memory);
  if (error) {
    forget(lock, std::move(memory));
    std::rethrow_exception(error);
  }
  return memory;
}

/// Waits for a reset that goes on by itself.
void BatchCalls::finish_resets(std::unique_lock<std::mutex>& lock, Poll poll) {
  while (!calls_.empty() && calls_.front().is_reset()) finish_first(lock, poll);
}

void BatchCalls::finish_all(std::unique_lock<std::mutex>& lock, Poll poll) {
  while (!calls_.empty()) forget(lock, finish_first(lock, poll));
}

/// Without the lock: who owns the memory may have to wait for another thread, which may want the lock.
void BatchCalls::forget(std::unique_lock<std::mutex>& lock, Memory memory) {
  lock.unlock();
  memory.reset();
  lock.lock();
}

}  // namespace rndfast
