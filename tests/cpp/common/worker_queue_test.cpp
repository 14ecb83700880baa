// SPDX-License-Identifier: MIT
#include "rndfast/common/worker_queue.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "doctest/doctest.h"
#include "rndfast/common/random.hpp"

namespace rndfast {
namespace {

constexpr std::size_t kThreadCounts[] = {1, 2, 3, 8};
constexpr int kNoCpu = -1;

constexpr auto never_stops = [] {};

/// A job of a test.
struct TestTask : WorkerQueue::Task {
  TestTask(std::size_t number_of_items, std::function<void(std::size_t)> what)
      : num_items(number_of_items), work(std::move(what)) {}

  void run(std::size_t item) override { work(item); }
  std::uint32_t name_of(std::size_t item) const override {
    return names.empty() ? static_cast<std::uint32_t>(item) : names[item];
  }

  void submit_to(WorkerQueue& queue, WorkerQueue::Start start = WorkerQueue::Start::kAllThreads) {
    job = queue.submit(*this, num_items, first_items, start);
  }
  void wait_in(WorkerQueue& queue, WorkerQueue::Poll poll = never_stops) const {
    if (const std::exception_ptr error = queue.wait(job, poll)) std::rethrow_exception(error);
  }

  std::size_t num_items;
  std::function<void(std::size_t)> work;
  std::vector<std::uint32_t> names;
  std::vector<std::uint32_t> first_items;
  WorkerQueue::Job* job = nullptr;
};
using TaskPtr = std::unique_ptr<TestTask>;

TaskPtr make_task(std::size_t num_items, std::function<void(std::size_t)> work) {
  return std::make_unique<TestTask>(num_items, std::move(work));
}

/// Runs one job to its end, half of them with the caller in place of thread 0 from the start.
void run(WorkerQueue& queue, std::size_t num_items, std::function<void(std::size_t)> work) {
  TestTask task(num_items, std::move(work));
  task.submit_to(queue, num_items % 2 == 0 ? WorkerQueue::Start::kAllThreads : WorkerQueue::Start::kAllButThread0);
  task.wait_in(queue);
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

TEST_CASE("a job wakes all threads, however long they have been without work") {
  for (const std::size_t num_threads : {1, 2, 3, 7, 16}) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::this_thread::sleep_for(std::chrono::microseconds(200 * (repeat % 4)));
      Gate gate;
      const TaskPtr job = make_task(num_threads, [&](std::size_t) { gate.pass(); });
      job->submit_to(queue);
      gate.wait_for(num_threads);
      gate.open();
      job->wait_in(queue);
    }
  }
}

TEST_CASE("jobs begin in the order of submission and may be waited for in any") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    std::mutex mutex;
    std::vector<std::size_t> order;  // jobs of the items as they were taken
    Gate gate;
    const TaskPtr first = make_task(num_threads, [&](std::size_t) { gate.pass(); });
    first->submit_to(queue);
    gate.wait_for(num_threads);  // all threads are busy: what follows waits in the queue
    std::vector<TaskPtr> jobs;
    for (std::size_t number = 0; number < 20; ++number) {
      jobs.push_back(make_task(1, [&mutex, &order, number](std::size_t) {
        const std::lock_guard lock(mutex);
        order.push_back(number);
      }));
      jobs.back()->submit_to(queue);
    }
    CHECK(order.empty());
    gate.open();
    const auto num_begun = [&] {
      const std::lock_guard lock(mutex);
      return order.size();
    };
    while (num_begun() < jobs.size()) nap();  // a thread that waits would begin with its own
    for (auto job = jobs.rbegin(); job != jobs.rend(); ++job) (*job)->wait_in(queue);
    first->wait_in(queue);
    if (num_threads > 1) continue;  // two threads may overtake each other on the way to the mutex
    for (std::size_t number = 0; number < order.size(); ++number) CHECK(order[number] == number);
  }
}

TEST_CASE("items of the next job are taken while the last of the one before still runs") {
  WorkerQueue queue(2, kNoCpu);
  Gate gate;
  const TaskPtr slow = make_task(1, [&](std::size_t) { gate.pass(); });
  slow->submit_to(queue);
  CHECK(count_runs(queue, 50) == std::vector<int>(50, 1));
  CHECK(gate.num_waiting <= 1);
  gate.open();
  slow->wait_in(queue);
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
      const TaskPtr failing = make_task(9, [&](std::size_t item) {
        ++runs[item];
        if (item == bad) throw std::out_of_range("item " + std::to_string(item));
      });
      const TaskPtr other = make_task(9, [](std::size_t) {});
      failing->submit_to(queue);
      other->submit_to(queue);
      CHECK_NOTHROW(other->wait_in(queue));
      const std::string message = "item " + std::to_string(bad);
      CHECK_THROWS_WITH_AS(failing->wait_in(queue), message.c_str(), std::out_of_range);
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
    const auto caller = std::this_thread::get_id();
    const TaskPtr job = make_task(runs.size(), [&](std::size_t item) {
      if (std::this_thread::get_id() != caller) gate.pass();
      ++runs[item];
    });
    job->submit_to(queue);
    gate.wait_for(num_threads);
    bool is_on_caller = true;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const auto begin = std::chrono::steady_clock::now();
      const auto stop = [&] {
        is_on_caller = is_on_caller && std::this_thread::get_id() == caller;
        throw std::runtime_error("interrupted");
      };
      CHECK_THROWS_WITH_AS(job->wait_in(queue, stop), "interrupted", std::runtime_error);
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
    }
    CHECK(is_on_caller);
    gate.open();
    job->wait_in(queue);
    CHECK(runs == std::vector<int>(20, 1));
  }
}

TEST_CASE("destruction finishes what has begun and forgets the rest") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    std::atomic<std::size_t> num_begun = 0;
    std::atomic<std::size_t> num_done = 0;
    const TaskPtr first = make_task(100'000, [&](std::size_t) {
      ++num_begun;
      nap();
      ++num_done;
    });
    const TaskPtr second = make_task(1, [&](std::size_t) { num_done += 1'000'000; });
    {
      WorkerQueue queue(num_threads, kNoCpu);
      first->submit_to(queue);
      second->submit_to(queue);
      while (num_begun < num_threads) nap();
    }
    CHECK(num_done == num_begun);
    CHECK(num_done < 50'000);  // some 100 s / num_threads if it went on
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
    std::vector<std::int64_t> last_end_ns(num_threads + 1, begin_ns);
    std::vector<std::thread::id> id_of_thread(num_threads + 1);
    for (const Span& span : spans) {
      REQUIRE(span.item < kItems);
      REQUIRE(span.thread <= num_threads);  // the last is the one that waits
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
  const TaskPtr job = make_task(3, [](std::size_t) {});
  job->names = {7, 5, 6};
  job->submit_to(queue);
  job->wait_in(queue);
  std::vector<std::uint32_t> names;
  for (const Span& span : queue.take_trace()) names.push_back(span.item);
  std::ranges::sort(names);
  CHECK(names == std::vector<std::uint32_t>{5, 6, 7});
}

TEST_CASE("a trace may begin and end while threads are at work") {
  WorkerQueue queue(4, kNoCpu);
  std::vector<TaskPtr> jobs;
  std::size_t num_spans = 0;
  for (int repeat = 0; repeat < 200; ++repeat) {
    jobs.push_back(make_task(9, [](std::size_t) {}));
    jobs.back()->submit_to(queue);
    queue.start_trace(9);
    num_spans += queue.take_trace().size();
  }
  for (const TaskPtr& job : jobs) job->wait_in(queue);
  CHECK(num_spans <= 200 * 9);
}

TEST_CASE("the thread that waits works, and takes the items that come first before the others") {
  WorkerQueue queue(1, kNoCpu);
  Gate gate;
  const TaskPtr block = make_task(1, [&](std::size_t) { gate.pass(); });
  block->submit_to(queue);
  gate.wait_for(1);  // thread 0 is busy
  std::vector<std::size_t> order;
  const TaskPtr task = make_task(6, [&](std::size_t item) { order.push_back(item); });
  task->first_items = {4, 1};
  for (const auto start : {WorkerQueue::Start::kAllThreads, WorkerQueue::Start::kAllButThread0}) {
    order.clear();
    task->submit_to(queue, start);
    task->wait_in(queue);
    CHECK(order == std::vector<std::size_t>{4, 1, 0, 2, 3, 5});
  }
  gate.open();
  block->wait_in(queue);
}

TEST_CASE("a job that was left in the middle of a wait is finished by the threads") {
  WorkerQueue queue(1, kNoCpu);
  std::atomic<int> num_done = 0;
  const TaskPtr task = make_task(300, [&](std::size_t) {
    nap();
    ++num_done;
  });
  task->submit_to(queue, WorkerQueue::Start::kAllButThread0);
  CHECK_THROWS_AS(task->wait_in(queue, [] { throw std::runtime_error("interrupted"); }), std::runtime_error);
  while (num_done < 300) nap();
  task->wait_in(queue);
}

TEST_CASE("jobs of random sizes and durations, several at a time, waited for with interruptions, run every item once") {
  for (std::uint32_t seed = 0; seed < 12; ++seed) {
    Mt19937 random(seed);
    const std::size_t num_threads = 1 + random() % 9;
    CAPTURE(num_threads);
    WorkerQueue queue(num_threads, kNoCpu);
    std::deque<std::pair<TaskPtr, std::vector<int>>> pending;
    const auto finish_first = [&] {
      auto& [task, runs] = pending.front();
      while (true) {
        try {
          task->wait_in(queue, [] { throw std::domain_error("interrupted"); });
          break;
        } catch (const std::domain_error&) {
        }
      }
      CHECK(runs == std::vector<int>(task->num_items, 1));
      pending.pop_front();
    };
    for (int repeat = 0; repeat < 60; ++repeat) {
      const std::size_t num_items = random() % 40;
      const std::uint32_t longest_us = 1 + random() % 100;
      auto& [task, runs] = pending.emplace_back(nullptr, std::vector<int>(num_items));
      task = make_task(num_items, [&counts = runs, longest_us](std::size_t item) {
        const auto duration = std::chrono::microseconds(item * 7919 % longest_us);
        if (duration.count() > 50) std::this_thread::sleep_for(duration);
        ++counts[item];
      });
      for (std::uint32_t item = 0; item < num_items; item += 5) task->first_items.push_back(item);
      task->submit_to(queue, random() % 2 == 0 ? WorkerQueue::Start::kAllThreads : WorkerQueue::Start::kAllButThread0);
      while (pending.size() > random() % 5) finish_first();
      if (random() % 8 == 0) nap();
    }
    while (!pending.empty()) finish_first();
  }
}

TEST_CASE("a queue may end at any moment, also when its threads are about to sleep") {
  Mt19937 random;
  random.seed(5);
  for (int i = 0; i < 500; ++i) {
    const TaskPtr task = make_task(4, [](std::size_t) {});
    WorkerQueue queue(4, kNoCpu);
    task->submit_to(queue);
    task->wait_in(queue);
    const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 100);
    while (std::chrono::steady_clock::now() < end) {
    }
  }
}

TEST_CASE("queues come and go") {
  for (int repeat = 0; repeat < 100; ++repeat) {
    const TaskPtr task = make_task(5, [](std::size_t) {});
    WorkerQueue queue(1 + static_cast<std::size_t>(repeat) % 8, kNoCpu);
    if (repeat % 2 == 0) task->submit_to(queue);
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
  const TaskPtr job = make_task(9, [&](std::size_t) { gate.pass(); });
  job->submit_to(*queue);
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
    is_refused([&] { make_task(1, [](std::size_t) {})->submit_to(*queue); });
    is_refused([&] { make_task(0, [](std::size_t) {})->submit_to(*queue); });
    is_refused([&] { job->wait_in(*queue); });
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
  job->wait_in(*queue);
  CHECK(count_runs(*queue, 9) == std::vector<int>(9, 1));
}

}  // namespace rndfast
