// SPDX-License-Identifier: MIT
// Threads that work through jobs in the order of submission while the submitter goes on.
//
// One idea: a job is a number of independent items. Any worker may take any item, so that one slow item holds up no
// other, and the result cannot depend on who did what.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "rndfast/common/function_ref.hpp"
#include "rndfast/common/span_log.hpp"

namespace rndfast {

class WorkerQueue {
 public:
  /// Called on the waiting thread about every 50 ms; throws to stop waiting (Ctrl-C).
  using Poll = FunctionRef<void()>;

  struct Job {
    std::size_t num_items;
    std::function<void(std::size_t item)> work;  // called once per item, from several threads at once
    std::vector<std::int64_t> names;             // names[i] is what a trace calls item i; empty: i itself

   private:
    friend class WorkerQueue;
    std::size_t next_item = 0;
    std::size_t num_done = 0;
    std::exception_ptr error;  // the first one
  };

  /// `num_threads` 0 means one per processor core. Thread i runs on CPU `first_cpu` + i only, unless that is negative.
  /// Throws std::invalid_argument if there is no such CPU.
  WorkerQueue(std::size_t num_threads, int first_cpu);
  /// Waits for the items that are being worked on; the others are never begun.
  ~WorkerQueue();
  WorkerQueue(const WorkerQueue&) = delete;
  WorkerQueue& operator=(const WorkerQueue&) = delete;

  std::size_t num_threads() const { return num_threads_; }

  /// Adds a job behind those that are waiting, and returns at once. Throws std::runtime_error in a process forked
  /// after construction, where the workers do not exist.
  void submit(std::shared_ptr<Job> job);

  /// Returns the first exception of an item, if any, when all items of a submitted job are done. Throws only what
  /// `poll` throws; the job goes on then.
  [[nodiscard]] std::exception_ptr wait(Job& job, Poll poll);

  /// Starts a trace: from now on notes when each item is worked on and by which thread, for at most `max_spans` items.
  void start_trace(std::size_t max_spans);
  /// Ends the trace and returns the spans of all items that are done.
  std::vector<Span> take_trace();

  /// Throws std::runtime_error in a forked process.
  void require_owner() const;

 private:
  /// What all threads read and write. On the heap, so that a forked child can leave it alone (see the destructor).
  struct Shared {
    std::mutex mutex;
    std::condition_variable work_ready;
    std::condition_variable job_done;
    std::deque<std::shared_ptr<Job>> jobs;  // those with items that no worker has taken yet
    bool closing = false;
    SpanLog spans;
    std::vector<std::thread> workers;
  };

  void join_workers();
  static void work(Shared& shared, std::size_t thread_index);

  std::size_t num_threads_;
  const pid_t owner_pid_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace rndfast
