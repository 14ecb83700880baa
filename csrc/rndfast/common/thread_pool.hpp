// SPDX-License-Identifier: MIT
// Worker threads that run one parallel loop at a time, together with the thread that calls.
//
// Each thread has a share of the loop: a contiguous range of its items. Which thread runs an item depends on the number
// of threads alone, and kernels write each item's results to memory of its own, so results depend on neither.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "rndfast/common/function_ref.hpp"
#include "rndfast/common/simd.hpp"
#include "rndfast/common/span_log.hpp"

namespace rndfast {

class ThreadPool {
 public:
  /// Does the work of item `index`. Called from several threads at once, for different items.
  using Task = FunctionRef<void(std::size_t index)>;
  /// Called on the calling thread about every 50 ms; throws to abandon the loop (Ctrl-C).
  using Poll = FunctionRef<void()>;

  /// `num_threads` >= 1 counts the calling thread: 1 starts no worker. 0 means usable_cores(). Throws
  /// std::runtime_error if the system refuses a thread.
  explicit ThreadPool(std::size_t num_threads, SimdLevel simd_level = detect_simd_level());
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  std::size_t num_threads() const { return num_threads_; }
  SimdLevel simd_level() const { return simd_level_; }

  /// Runs `task` for each item of [0, count) and returns when no thread works on the loop any more.
  /// The first exception, of a task or of `poll`, stops the loop at the next item of each thread and is rethrown
  /// here; the pool stays usable. Throws std::runtime_error in a process forked after construction, where the
  /// workers do not exist. Loops of several callers run one after the other.
  void run(std::size_t count, Task task, Poll poll);
  void run(std::size_t count, Task task) {
    run(count, task, [] {});
  }

  /// Starts a trace: from now on notes when each thread works on its share of a loop, for at most `max_spans` shares.
  /// The calling thread is number 0; a span's item is the first of the share.
  void start_trace(std::size_t max_spans);
  /// Ends the trace and returns the spans of all shares that are done.
  std::vector<Span> take_trace();

 private:
  struct Loop {
    std::size_t count;
    std::size_t num_shares;  // threads that take part
    Task task;

    std::size_t begin_of(std::size_t share) const { return count * share / num_shares; }
  };

  /// What all threads read and write. On the heap, so that a forked child can leave it alone (see the destructor).
  struct Shared {
    std::mutex mutex;         // guards the members below
    bool has_caller = false;  // which is in run()
    std::condition_variable caller_left;
    std::condition_variable work_ready;
    std::condition_variable work_done;
    const Loop* loop = nullptr;
    std::uint64_t generation = 0;  // counts loops, so that a worker runs each once
    std::size_t busy_workers = 0;
    bool closing = false;
    std::exception_ptr error;
    std::atomic<bool> stopped = false;  // relaxed: only shortens work; results are published by `mutex`
    SpanLog spans;
    std::vector<std::thread> workers;
  };

  void require_owner() const;
  void join_workers();
  static void work(Shared& shared, std::size_t thread_index);
  static void run_share(Shared& shared, const Loop& loop, std::size_t thread_index, const Poll* poll) noexcept;
  static Span timed_share(Shared& shared, const Loop& loop, std::size_t thread_index, const Poll* poll,
                          bool is_traced) noexcept;
  static void stop_with(Shared& shared, std::exception_ptr error) noexcept;

  const std::size_t num_threads_;
  const SimdLevel simd_level_;
  const std::int64_t owner_pid_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace rndfast
