// SPDX-License-Identifier: MIT
#include "rndfast/common/worker_queue.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "rndfast/common/operating_system.hpp"
#include "rndfast/common/spin_lock.hpp"
#include "rndfast/common/start_thread.hpp"
#include "rndfast/common/usable_cores.hpp"

namespace rndfast {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPollInterval = std::chrono::milliseconds(50);
constexpr auto kSpinTime = std::chrono::microseconds(50);  // about what it costs to put a thread to sleep and wake it
constexpr std::size_t kCacheLine = 64;

void pin(std::thread& thread, std::size_t cpu) {
  if (pin_thread(thread, cpu)) return;
  throw std::invalid_argument("thread_affinity_offset: this process may not run on CPU " + std::to_string(cpu));
}

/// Looks at `is_true` for a while without giving up the processor.
template <typename Condition>
void spin_until(const Condition& is_true) {
  constexpr int kLooksPerClock = 32;
  const auto end = Clock::now() + kSpinTime;
  do {
    for (int look = 0; look < kLooksPerClock; ++look) {
      if (is_true()) return;
      pause_briefly();
    }
  } while (Clock::now() < end);
}

/// Neighbouring items, from `next` on.
struct alignas(kCacheLine) Block {
  std::atomic<std::size_t> next = 0;
  std::size_t end = 0;
};

}  // namespace

/// Constant while it is visited, but for what is atomic and the error.
class WorkerQueue::Job {
 public:
  explicit Job(std::size_t number_of_blocks)
      : num_blocks(number_of_blocks), blocks(std::make_unique<Block[]>(number_of_blocks)) {}

  void prepare(Task& new_task, std::size_t num_items, std::span<const std::uint32_t> new_first_items) {
    task = &new_task;
    first_items.assign(new_first_items.begin(), new_first_items.end());
    is_first.assign(first_items.empty() ? 0 : num_items, 0);
    for (const std::uint32_t item : first_items) is_first[item] = 1;
    for (std::size_t i = 0; i < num_blocks; ++i) {
      blocks[i].next.store(num_items * i / num_blocks, std::memory_order_relaxed);
      blocks[i].end = num_items * (i + 1) / num_blocks;
    }
    next_first.store(0, std::memory_order_relaxed);
    num_left.store(num_items, std::memory_order_relaxed);
  }

  bool is_done() const { return num_left.load() == 0; }

  /// Calls run(item) for items that nobody has taken, beginning with block `own`, while goes_on(). Returns whether none
  /// is left.
  template <typename GoesOn, typename Run>
  bool take_items(std::size_t own, const GoesOn& goes_on, const Run& run) {
    while (next_first.load(std::memory_order_relaxed) < first_items.size()) {
      if (!goes_on()) return false;
      const std::size_t i = next_first.fetch_add(1, std::memory_order_relaxed);
      if (i < first_items.size()) run(first_items[i]);
    }
    for (std::size_t i = 0; i < num_blocks; ++i) {
      Block& block = blocks[(own + i) % num_blocks];
      while (block.next.load(std::memory_order_relaxed) < block.end) {
        if (!goes_on()) return false;
        const std::size_t item = block.next.fetch_add(1, std::memory_order_relaxed);
        if (item < block.end && (is_first.empty() || is_first[item] == 0)) run(item);
      }
    }
    return true;
  }

  Task* task = nullptr;
  const std::size_t num_blocks;
  const std::unique_ptr<Block[]> blocks;
  std::vector<std::uint32_t> first_items;
  std::vector<std::uint8_t> is_first;  // by item; empty if none is
  alignas(kCacheLine) std::atomic<std::size_t> next_first = 0;
  alignas(kCacheLine) std::atomic<std::size_t> num_left = 0;    // items that are not done
  alignas(kCacheLine) std::atomic<std::size_t> num_visits = 0;  // threads that may look at this
  std::exception_ptr error;                                     // the first one
};

struct WorkerQueue::Shared {
  SpinLock lock;          // guards jobs, those free, their errors and the spans
  std::deque<Job*> jobs;  // that may have items that nobody has taken, in the order of submission
  std::vector<Job*> free_jobs;
  std::vector<std::unique_ptr<Job>> all_jobs;
  SpanLog spans;

  std::size_t num_threads = 0;
  bool spins = false;
  std::atomic<bool> closing = false;
  std::atomic<bool> is_traced = false;
  // what threads without work look at, and what all threads look at after each item
  alignas(kCacheLine) std::atomic<std::uint32_t> signal = 0;  // changes when the threads but thread 0 should look
  alignas(kCacheLine) std::atomic<std::uint32_t> thread0_signal = 0;
  alignas(kCacheLine) std::atomic<std::size_t> num_helpers = 0;  // waiting threads that work in place of thread 0
  std::atomic<std::size_t> num_sleepers = 0;                     // waiting threads to be woken when a job is done
  std::mutex sleep_mutex;
  std::condition_variable job_done;
  std::vector<std::thread> workers;

  void wake_thread0() {
    thread0_signal.fetch_add(1);
    thread0_signal.notify_one();
  }
  /// Wakes two threads but thread 0, if so many sleep. Each does the same once it has found a job, so that the caller
  /// need not pay for all of them. Nobody is left asleep: who goes to sleep after the signal has changed wakes at once.
  void wake_two() {
    signal.notify_one();
    signal.notify_one();
  }
  void leave(Job& job, bool is_exhausted) {
    {
      const std::lock_guard guard(lock);
      if (is_exhausted) std::erase(jobs, &job);
    }
    job.num_visits.fetch_sub(1, std::memory_order_release);
  }
  bool has_jobs() {
    const std::lock_guard guard(lock);
    return !jobs.empty();
  }

  void run_item(Job& job, std::size_t item, std::size_t thread_index) noexcept;
};

void WorkerQueue::Shared::run_item(Job& job, std::size_t item, std::size_t thread_index) noexcept {
  const bool records = is_traced.load(std::memory_order_relaxed) && job.task->is_traced();
  const std::int64_t start_ns = records ? steady_now_ns() : 0;
  try {
    job.task->run(item);
  } catch (...) {
    const std::lock_guard guard(lock);
    if (!job.error) job.error = std::current_exception();
  }
  if (records) {
    const std::int64_t end_ns = steady_now_ns();
    const std::lock_guard guard(lock);
    spans.add({start_ns, end_ns, static_cast<std::uint32_t>(thread_index), job.task->name_of(item)});
  }
  if (job.num_left.fetch_sub(1) > 1 || num_sleepers.load() == 0) return;
  const std::lock_guard guard(sleep_mutex);
  job_done.notify_all();
}

WorkerQueue::WorkerQueue(std::size_t num_threads, int first_cpu)
    : num_threads_(num_threads != 0 ? num_threads : usable_cores()),
      owner_pid_(process_id()),
      owner_fork_count_(fork_count()),
      shared_(std::make_unique<Shared>()) {
  shared_->num_threads = num_threads_;
  shared_->spins = num_threads_ <= usable_cores();
  shared_->workers.reserve(num_threads_);
  try {
    for (std::size_t index = 0; index < num_threads_; ++index) {
      shared_->workers.push_back(
          start_thread(index, num_threads_, [&shared = *shared_, index] { work(shared, index); }));
      if (first_cpu >= 0) pin(shared_->workers.back(), static_cast<std::size_t>(first_cpu) + index);
    }
  } catch (...) {
    join_workers();  // end those that did start, then report it
    throw;
  }
}

WorkerQueue::~WorkerQueue() {
  if (fork_count() != owner_fork_count_) {
    // a forked child has handles of threads that do not exist there, and condition variables that they wait on:
    // joining, detaching or destroying any of them is undefined or hangs
    static_cast<void>(shared_.release());
    return;
  }
  join_workers();
}

void WorkerQueue::require_owner() const {
  if (fork_count() == owner_fork_count_) return;
  throw std::runtime_error("the environment belongs to process " + std::to_string(owner_pid_) +
                           " and its threads do not exist in its fork " + std::to_string(process_id()) +
                           ": make it in the child, or start the child by spawn");
}

WorkerQueue::Job* WorkerQueue::submit(Task& task, std::size_t num_items, std::span<const std::uint32_t> first_items,
                                      Start start) {
  require_owner();
  Shared& shared = *shared_;
  Job* job = nullptr;
  {
    const std::lock_guard guard(shared.lock);
    const auto found = std::ranges::find_if(
        shared.free_jobs, [](const Job* old) { return old->num_visits.load(std::memory_order_acquire) == 0; });
    if (found != shared.free_jobs.end()) {
      job = *found;
      shared.free_jobs.erase(found);
    } else {
      job = shared.all_jobs.emplace_back(std::make_unique<Job>(num_threads_)).get();
    }
    job->prepare(task, num_items, first_items);
    if (num_items > 0) shared.jobs.push_back(job);
  }
  if (num_items == 0) return job;
  shared.signal.fetch_add(1);
  if (start == Start::kAllThreads) {
    shared.signal.notify_one();
    shared.wake_thread0();
  } else {
    shared.wake_two();
  }
  return job;
}

/// A waiting thread that works on a job in place of thread 0.
class WorkerQueue::Help {
 public:
  Help(Shared& shared, Job& job) : shared_(shared), job_(job) {
    shared_.num_helpers.fetch_add(1);
    job_.num_visits.fetch_add(1);
  }
  ~Help() {
    shared_.leave(job_, is_exhausted_);
    shared_.num_helpers.fetch_sub(1);
    if (shared_.has_jobs()) shared_.wake_thread0();
  }
  Help(const Help&) = delete;
  Help& operator=(const Help&) = delete;

  void work(Poll poll) {
    auto next_poll = Clock::now() + kPollInterval;
    const auto goes_on = [&] {
      if (const auto now = Clock::now(); now >= next_poll) {
        next_poll = now + kPollInterval;
        poll();
      }
      return true;
    };
    const std::size_t number = shared_.num_threads;
    is_exhausted_ = job_.take_items(0, goes_on, [&](std::size_t item) { shared_.run_item(job_, item, number); });
  }

 private:
  Shared& shared_;
  Job& job_;
  bool is_exhausted_ = false;
};

std::exception_ptr WorkerQueue::wait(Job* job, Poll poll) {
  require_owner();
  Shared& shared = *shared_;
  if (!job->is_done()) Help(shared, *job).work(poll);
  if (!job->is_done() && shared.spins) spin_until([&] { return job->is_done(); });
  while (!job->is_done()) {
    std::unique_lock lock(shared.sleep_mutex);
    shared.num_sleepers.fetch_add(1);
    shared.job_done.wait_for(lock, kPollInterval, [&] { return job->is_done(); });
    shared.num_sleepers.fetch_sub(1);
    lock.unlock();
    if (!job->is_done()) poll();
  }
  const std::lock_guard guard(shared.lock);
  shared.free_jobs.push_back(job);
  return std::exchange(job->error, nullptr);
}

void WorkerQueue::start_trace(std::size_t max_spans) {
  require_owner();
  const std::lock_guard guard(shared_->lock);
  shared_->spans.start(max_spans);
  shared_->is_traced = true;
}

std::vector<Span> WorkerQueue::take_trace() {
  require_owner();
  const std::lock_guard guard(shared_->lock);
  shared_->is_traced = false;
  return shared_->spans.take();
}

void WorkerQueue::join_workers() {
  shared_->closing = true;
  shared_->signal.fetch_add(1);
  shared_->signal.notify_all();
  shared_->wake_thread0();
  for (auto& thread : shared_->workers) thread.join();
}

void WorkerQueue::work(Shared& shared, std::size_t thread_index) {
  const bool is_thread0 = thread_index == 0;
  const auto& signal = is_thread0 ? shared.thread0_signal : shared.signal;
  const auto goes_on = [&] {
    return !shared.closing.load(std::memory_order_relaxed) && !(is_thread0 && shared.num_helpers.load() > 0);
  };
  while (true) {
    const std::uint32_t seen = signal.load();  // first: what changes after it wakes this thread, or keeps it awake
    if (shared.closing) return;
    Job* job = nullptr;
    if (goes_on()) {
      const std::lock_guard guard(shared.lock);
      if (!shared.jobs.empty()) {
        job = shared.jobs.front();
        job->num_visits.fetch_add(1);
      }
    }
    if (job != nullptr) {
      shared.wake_two();
      const bool is_exhausted =
          job->take_items(thread_index, goes_on, [&](std::size_t item) { shared.run_item(*job, item, thread_index); });
      shared.leave(*job, is_exhausted);
      continue;
    }
    if (shared.spins) spin_until([&] { return signal.load(std::memory_order_relaxed) != seen; });
    signal.wait(seen);
  }
}

}  // namespace rndfast
