// SPDX-License-Identifier: MIT
#include "rndfast/common/worker_queue.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

constexpr std::size_t kThreadCounts[] = {1, 2, 3, 8};
constexpr int kNoCpu = -1;

using JobPtr = std::shared_ptr<WorkerQueue::Job>;

JobPtr make_job(std::size_t num_items, std::function<void(std::size_t)> work) {
  auto job = std::make_shared<WorkerQueue::Job>();
  job->num_items = num_items;
  job->work = std::move(work);
  return job;
}

constexpr auto never_stops = [] {};

void wait(WorkerQueue& queue, WorkerQueue::Job& job) {
  if (const std::exception_ptr error = queue.wait(job, never_stops)) std::rethrow_exception(error);
}

/// Runs one job to its end.
void run(WorkerQueue& queue, std::size_t num_items, std::function<void(std::size_t)> work) {
  const JobPtr job = make_job(num_items, std::move(work));
  queue.submit(job);
  wait(queue, *job);
}

/// How often each item of a job ran.
std::vector<int> count_runs(WorkerQueue& queue, std::size_t num_items) {
  std::vector<int> runs(num_items, 0);  // no atomics: each item is one thread's own
  run(queue, num_items, [&](std::size_t item) { ++runs[item]; });
  return runs;
}

void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

/// What holds workers until it is opened.
class Gate {
 public:
  void pass() {
    ++num_waiting;
    while (!is_open_) nap();
  }
  void open() { is_open_ = true; }
  void wait_for(std::size_t number) const {
    while (num_waiting < number) nap();
  }

  std::atomic<std::size_t> num_waiting = 0;

 private:
  std::atomic<bool> is_open_ = false;
};

}  // namespace

TEST_CASE("every item of a job runs exactly once") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    CHECK(queue.num_threads() == num_threads);
    for (const std::size_t num_items : {0, 1, 2, 3, 7, 8, 9, 100, 1001}) {
      CHECK(count_runs(queue, num_items) == std::vector<int>(num_items, 1));
    }
  }
  CHECK(WorkerQueue(0, kNoCpu).num_threads() >= 1);
}

TEST_CASE("jobs begin in the order of submission and may be waited for in any") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    std::mutex mutex;
    std::vector<std::size_t> order;  // jobs of the items as they were taken
    Gate gate;
    const JobPtr first = make_job(num_threads, [&](std::size_t) { gate.pass(); });
    queue.submit(first);
    gate.wait_for(num_threads);  // all threads are busy: what follows waits in the queue
    std::vector<JobPtr> jobs;
    for (std::size_t number = 0; number < 20; ++number) {
      jobs.push_back(make_job(1, [&mutex, &order, number](std::size_t) {
        const std::lock_guard lock(mutex);
        order.push_back(number);
      }));
      queue.submit(jobs.back());
    }
    CHECK(order.empty());
    gate.open();
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) wait(queue, **job);
    wait(queue, *first);
    REQUIRE(order.size() == jobs.size());
    if (num_threads > 1) continue;  // two threads may overtake each other on the way to the mutex
    for (std::size_t number = 0; number < order.size(); ++number) CHECK(order[number] == number);
  }
}

TEST_CASE("items of the next job are taken while the last of the one before still runs") {
  WorkerQueue queue(2, kNoCpu);
  Gate gate;
  const JobPtr slow = make_job(1, [&](std::size_t) { gate.pass(); });
  queue.submit(slow);
  CHECK(count_runs(queue, 50) == std::vector<int>(50, 1));
  CHECK(gate.num_waiting <= 1);
  gate.open();
  wait(queue, *slow);
}

TEST_CASE("what the items wrote is visible to the one that waited") {
  WorkerQueue queue(8, kNoCpu);
  std::vector<std::size_t> values(64, 0);
  for (std::size_t loop = 0; loop < 1000; ++loop) {
    run(queue, values.size(), [&](std::size_t item) { values[item] += item; });
  }
  for (std::size_t item = 0; item < values.size(); ++item) CHECK(values[item] == 1000 * item);
}

TEST_CASE("an exception is thrown once all items are done, and only to the one that waits for the job") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    for (const std::size_t bad : {0, 4, 8}) {
      std::vector<int> runs(9, 0);
      const JobPtr failing = make_job(9, [&](std::size_t item) {
        ++runs[item];
        if (item == bad) throw std::out_of_range("item " + std::to_string(item));
      });
      const JobPtr other = make_job(9, [](std::size_t) {});
      queue.submit(failing);
      queue.submit(other);
      CHECK_NOTHROW(wait(queue, *other));
      const std::string message = "item " + std::to_string(bad);
      CHECK_THROWS_WITH_AS(wait(queue, *failing), message.c_str(), std::out_of_range);
      CHECK(runs == std::vector<int>(9, 1));
    }
    CHECK_THROWS_AS(run(queue, 64, [](std::size_t) { throw std::bad_alloc(); }), std::bad_alloc);
    CHECK(count_runs(queue, 20) == std::vector<int>(20, 1));
  }
}

TEST_CASE("a poll that throws ends the wait but not the job") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    Gate gate;
    std::vector<int> runs(20, 0);
    const JobPtr job = make_job(runs.size(), [&](std::size_t item) {
      gate.pass();
      ++runs[item];
    });
    queue.submit(job);
    const auto caller = std::this_thread::get_id();
    bool is_on_caller = true;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto begin = std::chrono::steady_clock::now();
      const auto stop = [&] {
        is_on_caller = is_on_caller && std::this_thread::get_id() == caller;
        throw std::runtime_error("interrupted");
      };
      CHECK_THROWS_WITH_AS(static_cast<void>(queue.wait(*job, stop)), "interrupted", std::runtime_error);
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
    }
    CHECK(is_on_caller);
    gate.open();
    wait(queue, *job);
    CHECK(runs == std::vector<int>(20, 1));
  }
}

TEST_CASE("destruction finishes what has begun and forgets the rest") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    std::atomic<std::size_t> num_begun = 0;
    std::atomic<std::size_t> num_done = 0;
    const JobPtr first = make_job(100'000, [&](std::size_t) {
      ++num_begun;
      nap();
      ++num_done;
    });
    const JobPtr second = make_job(1, [&](std::size_t) { num_done += 1'000'000; });
    {
      WorkerQueue queue(num_threads, kNoCpu);
      queue.submit(first);
      queue.submit(second);
      while (num_begun < num_threads) nap();
    }
    CHECK(num_done == num_begun);
    CHECK(num_done < 50'000);  // some 100 s / num_threads if it went on
    CHECK(first.use_count() == 1);
    CHECK(second.use_count() == 1);
  }
}

TEST_CASE("a trace has a span for each item, on the thread that did it, within the time of the job") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    run(queue, 3, [](std::size_t) { nap(); });
    CHECK(queue.take_trace().empty());  // it was not asked for

    constexpr std::size_t kItems = 40;
    std::vector<std::thread::id> ids(kItems);
    queue.start_trace(kItems);
    const std::int64_t begin_ns = steady_now_ns();
    run(queue, kItems, [&](std::size_t item) {
      ids[item] = std::this_thread::get_id();
      nap();
    });
    const std::int64_t end_ns = steady_now_ns();
    const std::vector<Span> spans = queue.take_trace();
    REQUIRE(spans.size() == kItems);
    std::vector<int> runs(kItems, 0);
    std::vector<std::int64_t> last_end_ns(num_threads, begin_ns);
    std::vector<std::thread::id> id_of_thread(num_threads);
    for (const Span& span : spans) {
      REQUIRE(span.item < kItems);
      REQUIRE(span.thread < num_threads);
      ++runs[span.item];
      CHECK(span.start_ns >= last_end_ns[span.thread]);  // a thread does one thing at a time
      CHECK(span.end_ns - span.start_ns >= 1'000'000);   // the nap
      last_end_ns[span.thread] = span.end_ns;
      auto& id = id_of_thread[span.thread];
      if (id == std::thread::id()) id = ids[span.item];
      CHECK(id == ids[span.item]);
      CHECK(span.end_ns <= end_ns);
    }
    CHECK(runs == std::vector<int>(kItems, 1));
    run(queue, 3, [](std::size_t) {});
    CHECK(queue.take_trace().empty());  // it has ended
  }
}

TEST_CASE("a trace keeps no more spans than it was given room for, and items that failed too") {
  WorkerQueue queue(2, kNoCpu);
  queue.start_trace(5);
  CHECK_THROWS_AS(run(queue, 3, [](std::size_t) { throw std::out_of_range("item"); }), std::out_of_range);
  run(queue, 4, [](std::size_t) {});
  CHECK(queue.take_trace().size() == 5);
}

TEST_CASE("a trace calls items by the names that they were given") {
  WorkerQueue queue(2, kNoCpu);
  queue.start_trace(9);
  const JobPtr job = make_job(3, [](std::size_t) {});
  job->names = {7, 5, 6};
  queue.submit(job);
  wait(queue, *job);
  std::vector<std::uint32_t> names;
  for (const Span& span : queue.take_trace()) names.push_back(span.item);
  std::ranges::sort(names);
  CHECK(names == std::vector<std::uint32_t>{5, 6, 7});
}

TEST_CASE("a trace may begin and end while threads are at work") {
  WorkerQueue queue(4, kNoCpu);
  std::vector<JobPtr> jobs;
  std::size_t num_spans = 0;
  for (int repeat = 0; repeat < 200; ++repeat) {
    jobs.push_back(make_job(9, [](std::size_t) {}));
    queue.submit(jobs.back());
    queue.start_trace(9);
    num_spans += queue.take_trace().size();
  }
  for (const JobPtr& job : jobs) wait(queue, *job);
  CHECK(num_spans <= 200 * 9);
}

TEST_CASE("queues come and go") {
  for (int repeat = 0; repeat < 100; ++repeat) {
    WorkerQueue queue(1 + static_cast<std::size_t>(repeat) % 8, kNoCpu);
    if (repeat % 2 == 0) queue.submit(make_job(5, [](std::size_t) {}));
  }
}

TEST_CASE("processors that are not there are refused") {
  for (const int cpu : {1'023, 1'024, 65'535}) {
    CHECK_THROWS_AS(WorkerQueue(2, cpu), std::invalid_argument);
  }
}

TEST_CASE("a forked child is refused at once and leaves cleanly, also during a job") {
  auto queue = std::make_unique<WorkerQueue>(3, kNoCpu);
  Gate gate;
  const JobPtr job = make_job(9, [&](std::size_t) { gate.pass(); });
  queue->submit(job);
  gate.wait_for(3);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int num_refused = 0;
    const auto is_refused = [&](const auto& use) {
      try {
        use();
      } catch (const std::runtime_error&) {
        ++num_refused;
      }
    };
    is_refused([&] { queue->require_owner(); });
    is_refused([&] { queue->submit(make_job(1, [](std::size_t) {})); });
    is_refused([&] { queue->submit(make_job(0, [](std::size_t) {})); });
    is_refused([&] { wait(*queue, *job); });
    is_refused([&] { queue->start_trace(1); });
    is_refused([&] { queue->take_trace(); });
    queue.reset();  // neither joins threads that do not exist nor hangs
    _exit(num_refused);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 6);
  gate.open();
  wait(*queue, *job);
  CHECK(count_runs(*queue, 9) == std::vector<int>(9, 1));
}

}  // namespace rndfast
