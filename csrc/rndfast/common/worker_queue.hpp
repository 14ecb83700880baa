// SPDX-License-Identifier: MIT
// Threads that work through jobs in the order of submission while the submitter goes on.
//
// A job is a number of independent items. Each thread begins with a block of neighbouring items, the same in every job
// of that size, so that what an item works on stays in the caches of one core; a thread that is done with its block
// takes items of the others. Nothing is locked for an item, and the results cannot depend on who did what.
//
// The thread that waits for a job works on it in place of thread 0, which pauses meanwhile, so that no more threads
// than asked for are at work. Threads without work look for a new job for some microseconds and then sleep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "rndfast/common/function_ref.hpp"
#include "rndfast/common/span_log.hpp"

namespace rndfast {

class WorkerQueue {
 public:
  /// Called on the waiting thread about every 50 ms; throws to stop waiting (Ctrl-C).
  using Poll = FunctionRef<void()>;

  /// What a job does.
  class Task {
   public:
    virtual ~Task() = default;
    /// Called once per item, from several threads at once.
    virtual void run(std::size_t item) = 0;
    /// What traces call an item.
    virtual std::uint32_t name_of(std::size_t item) const { return static_cast<std::uint32_t>(item); }
    /// Whether traces show its items.
    virtual bool is_traced() const { return true; }
  };

  class Job;

  /// `num_threads` 0 means usable_cores(). Thread i runs on CPU `first_cpu` + i only, unless that is negative.
  /// Throws std::invalid_argument if there is no such CPU, std::runtime_error if the system refuses a thread.
  WorkerQueue(std::size_t num_threads, int first_cpu);
  /// Finishes the items that are being worked on and forgets the others.
  ~WorkerQueue();
  WorkerQueue(const WorkerQueue&) = delete;
  WorkerQueue& operator=(const WorkerQueue&) = delete;

  std::size_t num_threads() const { return num_threads_; }

  /// Who will work on a job first.
  enum class Start : std::uint8_t {
    kAllThreads,     // the submitter goes away for a while
    kAllButThread0,  // the submitter waits for the job at once, in place of thread 0
  };

  /// Submits items 0 .. num_items - 1 of a task. Those of `first_items`, different ones, are taken before all others.
  /// The task must live until it has been waited for or the queue ends. Throws std::runtime_error in a process forked
  /// after construction, where the threads do not exist.
  Job* submit(Task& task, std::size_t num_items, std::span<const std::uint32_t> first_items = {},
              Start start = Start::kAllThreads);

  /// Works on the job and returns the first exception of an item, if any, when all items are done; the job may then be
  /// given to another task. Throws only what `poll` throws; the job goes on then and may be waited for again.
  [[nodiscard]] std::exception_ptr wait(Job* job, Poll poll);

  /// Begins to note when each item is worked on and by which thread, for the next `max_spans` items. The thread that
  /// waits has the number num_threads().
  void start_trace(std::size_t max_spans);
  /// Ends it and returns the spans of all items that are done.
  std::vector<Span> take_trace();

  /// Throws std::runtime_error in a forked process.
  void require_owner() const;

 private:
  /// What the threads share. On the heap so that a forked child can leave it alone (see the destructor).
  struct Shared;
  class Help;

  void join_workers();
  static void work(Shared& shared, std::size_t thread_index);

  std::size_t num_threads_;
  const std::int64_t owner_pid_;
  const std::uint32_t owner_fork_count_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace rndfast
