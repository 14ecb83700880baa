// SPDX-License-Identifier: MIT
#include "rndfast/common/thread_pool.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "rndfast/common/operating_system.hpp"
#include "rndfast/common/start_thread.hpp"
#include "rndfast/common/usable_cores.hpp"

namespace rndfast {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

}  // namespace

ThreadPool::ThreadPool(std::size_t num_threads, SimdLevel simd_level)
    : num_threads_(num_threads != 0 ? num_threads : usable_cores()),
      simd_level_(simd_level),
      owner_pid_(process_id()),
      shared_(std::make_unique<Shared>()) {
  shared_->workers.reserve(num_threads_ - 1);
  try {
    for (std::size_t index = 1; index < num_threads_; ++index) {
      shared_->workers.push_back(
          start_thread(index - 1, num_threads_ - 1, [&shared = *shared_, index] { work(shared, index); }));
    }
  } catch (...) {
    join_workers();  // the system refused a thread: end those that did start, then report it
    throw;
  }
}

ThreadPool::~ThreadPool() {
  if (process_id() != owner_pid_) {
    // a forked child has handles of threads that do not exist there, and condition variables that they wait on:
    // joining, detaching or destroying any of them is undefined or hangs
    static_cast<void>(shared_.release());
    return;
  }
  join_workers();
}

void ThreadPool::require_owner() const {
  if (process_id() == owner_pid_) return;
  throw std::runtime_error("this ThreadPool belongs to process " + std::to_string(owner_pid_) +
                           " and its threads do not exist in the forked process " + std::to_string(process_id()) +
                           ": create it after the fork, or start the process with 'spawn' or 'forkserver'");
}

void ThreadPool::run(std::size_t count, Task task, Poll poll) {
  require_owner();
  Shared& shared = *shared_;
  const Loop loop{.count = count, .num_shares = count > 1 ? num_threads_ : 1, .task = task};

  std::unique_lock lock(shared.mutex);
  while (!shared.caller_left.wait_for(lock, kPollInterval, [&] { return !shared.has_caller; })) {
    lock.unlock();
    poll();
    lock.lock();
  }
  shared.has_caller = true;
  shared.stopped.store(false, std::memory_order_relaxed);
  const bool is_traced = shared.spans.is_on();
  if (loop.num_shares > 1) {
    shared.loop = &loop;
    shared.busy_workers = num_threads_ - 1;
    ++shared.generation;
  }
  lock.unlock();
  if (loop.num_shares > 1) shared.work_ready.notify_all();
  const Span span = timed_share(shared, loop, 0, &poll, is_traced);

  lock.lock();
  if (is_traced) shared.spans.add(span);
  while (!shared.work_done.wait_for(lock, kPollInterval, [&] { return shared.busy_workers == 0; })) {
    lock.unlock();
    try {
      poll();
    } catch (...) {
      stop_with(shared, std::current_exception());
    }
    lock.lock();
  }
  shared.has_caller = false;
  shared.caller_left.notify_one();
  if (shared.error) std::rethrow_exception(std::exchange(shared.error, nullptr));
}

void ThreadPool::start_trace(std::size_t max_spans) {
  require_owner();
  const std::lock_guard lock(shared_->mutex);
  shared_->spans.start(max_spans);
}

std::vector<Span> ThreadPool::take_trace() {
  require_owner();
  const std::lock_guard lock(shared_->mutex);
  return shared_->spans.take();
}

void ThreadPool::join_workers() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->closing = true;
  }
  shared_->work_ready.notify_all();
  for (auto& thread : shared_->workers) thread.join();
}

void ThreadPool::work(Shared& shared, std::size_t thread_index) {
  std::uint64_t seen_generation = 0;
  std::unique_lock lock(shared.mutex);
  while (true) {
    shared.work_ready.wait(lock, [&] { return shared.closing || shared.generation != seen_generation; });
    if (shared.closing) return;
    seen_generation = shared.generation;
    const Loop& loop = *shared.loop;
    const bool is_traced = shared.spans.is_on();
    lock.unlock();
    const Span span = timed_share(shared, loop, thread_index, nullptr, is_traced);
    lock.lock();
    if (is_traced) shared.spans.add(span);
    if (--shared.busy_workers == 0) shared.work_done.notify_one();
  }
}

/// Runs a thread's share of a loop. The span has its times if `is_traced`; else they are 0, as reading a clock costs
/// more than a small share.
Span ThreadPool::timed_share(Shared& shared, const Loop& loop, std::size_t thread_index, const Poll* poll,
                             bool is_traced) noexcept {
  const std::int64_t start_ns = is_traced ? steady_now_ns() : 0;
  run_share(shared, loop, thread_index, poll);
  const std::int64_t end_ns = is_traced ? steady_now_ns() : 0;
  return {start_ns, end_ns, static_cast<std::uint32_t>(thread_index),
          static_cast<std::uint32_t>(loop.begin_of(thread_index))};
}

void ThreadPool::run_share(Shared& shared, const Loop& loop, std::size_t thread_index, const Poll* poll) noexcept {
  const std::size_t begin = loop.begin_of(thread_index);
  const std::size_t end = loop.begin_of(thread_index + 1);
  auto last_poll = std::chrono::steady_clock::now();
  try {
    for (std::size_t index = begin; index < end; ++index) {
      if (shared.stopped.load(std::memory_order_relaxed)) return;
      loop.task(index);
      if (poll == nullptr) continue;
      if (const auto now = std::chrono::steady_clock::now(); now - last_poll >= kPollInterval) {
        last_poll = now;
        (*poll)();
      }
    }
  } catch (...) {
    stop_with(shared, std::current_exception());
  }
}

void ThreadPool::stop_with(Shared& shared, std::exception_ptr error) noexcept {
  const std::lock_guard lock(shared.mutex);
  if (!shared.error) shared.error = std::move(error);
  shared.stopped.store(true, std::memory_order_relaxed);
}

}  // namespace rndfast
