// SPDX-License-Identifier: MIT
#include "rndfast/common/thread_pool.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "doctest/doctest.h"

namespace rndfast {
namespace {

constexpr std::size_t kThreadCounts[] = {1, 2, 3, 8};

/// How often each item of a loop ran.
std::vector<int> count_runs(ThreadPool& pool, std::size_t count) {
  std::vector<int> runs(count, 0);  // no atomics: each item is one thread's own
  pool.run(count, [&](std::size_t index) { ++runs[index]; });
  return runs;
}

}  // namespace

TEST_CASE("every item runs exactly once") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    ThreadPool pool(num_threads);
    CHECK(pool.num_threads() == num_threads);
    // none, fewer than threads, as many, and more
    for (const std::size_t count : {0, 1, 2, 3, 5, 7, 8, 9, 100, 1001}) {
      CHECK(count_runs(pool, count) == std::vector<int>(count, 1));
    }
  }
}

TEST_CASE("zero threads means one per core") { CHECK(ThreadPool(0).num_threads() >= 1); }

TEST_CASE("results of the items are visible to the caller, loop after loop") {
  ThreadPool pool(8);
  std::vector<std::size_t> values(64, 0);
  for (std::size_t loop = 0; loop < 2000; ++loop) {
    pool.run(values.size(), [&](std::size_t index) { values[index] += index; });
  }
  for (std::size_t index = 0; index < values.size(); ++index) CHECK(values[index] == 2000 * index);
}

TEST_CASE("an exception of any item reaches the caller, and the pool stays usable") {
  for (const std::size_t num_threads : kThreadCounts) {
    ThreadPool pool(num_threads);
    for (const std::size_t count : {1, 2, 9, 64}) {
      for (std::size_t bad = 0; bad < count; ++bad) {
        const auto fail_at_bad = [&](std::size_t index) {
          if (index == bad) throw std::out_of_range("item " + std::to_string(index));
        };
        const std::string message = "item " + std::to_string(bad);
        CHECK_THROWS_WITH_AS(pool.run(count, fail_at_bad), message.c_str(), std::out_of_range);
      }
      CHECK(count_runs(pool, count) == std::vector<int>(count, 1));
    }
  }
}

TEST_CASE("of several exceptions one reaches the caller, and none is left behind") {
  for (const std::size_t num_threads : kThreadCounts) {
    ThreadPool pool(num_threads);
    for (int repeat = 0; repeat < 100; ++repeat) {
      CHECK_THROWS_AS(pool.run(64, [](std::size_t) { throw std::bad_alloc(); }), std::bad_alloc);
      CHECK_NOTHROW(pool.run(64, [](std::size_t) {}));
    }
  }
}

TEST_CASE("an exception stops the loop early") {
  for (const std::size_t num_threads : kThreadCounts) {
    ThreadPool pool(num_threads);
    std::atomic<std::size_t> runs = 0;
    const auto task = [&](std::size_t index) {
      ++runs;
      if (index == 0) throw std::runtime_error("stop");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    CHECK_THROWS_WITH_AS(pool.run(100'000, task), "stop", std::runtime_error);
    CHECK(runs < 50'000);  // some 100 s if it went on
  }
}

TEST_CASE("a poll that throws stops a long loop within a second") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    ThreadPool pool(num_threads);
    const auto caller = std::this_thread::get_id();
    bool is_on_caller = true;
    int polls = 0;
    const auto poll = [&] {
      is_on_caller = is_on_caller && std::this_thread::get_id() == caller;
      if (++polls == 2) throw std::runtime_error("interrupted");
    };
    const auto begin = std::chrono::steady_clock::now();
    const auto nap = [](std::size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); };
    CHECK_THROWS_WITH_AS(pool.run(1'000'000, nap, poll), "interrupted", std::runtime_error);
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(1));
    CHECK(is_on_caller);
    CHECK(polls == 2);
    CHECK(count_runs(pool, 20) == std::vector<int>(20, 1));
  }
}

TEST_CASE("the caller polls while it waits for the others") {
  ThreadPool pool(2);
  // the caller's item ends at once; the other thread works on until the poll ends it
  std::atomic<bool> is_stopped = false;
  const auto task = [&](std::size_t index) {
    while (index == 1 && !is_stopped) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  const auto poll = [&] {
    is_stopped = true;
    throw std::runtime_error("interrupted");
  };
  CHECK_THROWS_WITH_AS(pool.run(2, task, poll), "interrupted", std::runtime_error);
}

TEST_CASE("loops of several callers run one after the other") {
  ThreadPool pool(3);
  std::size_t loops = 0;  // no atomic: loops that ran at once would race on it
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 200; ++repeat) {
        pool.run(10, [&](std::size_t index) {
          if (index == 0) ++loops;
        });
      }
    });
  }
  for (auto& thread : callers) thread.join();
  CHECK(loops == 800);
}

TEST_CASE("a trace has a span for each thread's share of a loop, within the time of the loop") {
  for (const std::size_t num_threads : kThreadCounts) {
    CAPTURE(num_threads);
    ThreadPool pool(num_threads);
    count_runs(pool, 9);
    CHECK(pool.take_trace().empty());  // it was not asked for

    pool.start_trace(100);
    const std::int64_t begin_ns = steady_now_ns();
    pool.run(2 * num_threads, [](std::size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
    const std::int64_t end_ns = steady_now_ns();
    std::vector<int> shares(num_threads, 0);
    for (const Span& span : pool.take_trace()) {
      REQUIRE(span.thread < num_threads);
      ++shares[span.thread];
      CHECK(span.item == 2 * span.thread);
      CHECK(span.start_ns >= begin_ns);
      CHECK(span.end_ns - span.start_ns >= 2'000'000);  // two items
      CHECK(span.end_ns <= end_ns);
    }
    CHECK(shares == std::vector<int>(num_threads, 1));
    pool.start_trace(1);
    count_runs(pool, 1);
    CHECK(pool.take_trace().size() == 1);  // the calling thread alone
  }
}

TEST_CASE("a caller that waits for another one's loop can be interrupted") {
  ThreadPool pool(2);
  std::atomic<bool> is_running = false;
  std::atomic<bool> may_end = false;
  std::thread other([&] {
    pool.run(2, [&](std::size_t) {
      is_running = true;
      while (!may_end) std::this_thread::yield();
    });
  });
  while (!is_running) std::this_thread::yield();
  const auto interrupt = [] { throw std::runtime_error("interrupted"); };
  CHECK_THROWS_WITH_AS(pool.run(1, [](std::size_t) {}, interrupt), "interrupted", std::runtime_error);
  may_end = true;
  other.join();
  CHECK(count_runs(pool, 9) == std::vector<int>(9, 1));
}

TEST_CASE("pools come and go") {
  for (int repeat = 0; repeat < 200; ++repeat) {
    ThreadPool pool(1 + static_cast<std::size_t>(repeat) % 8);
    if (repeat % 2 == 0) pool.run(5, [](std::size_t) {});
  }
}

TEST_CASE("a forked child is refused at once and leaves cleanly") {
  auto pool = std::make_unique<ThreadPool>(3);
  pool->run(10, [](std::size_t) {});
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int status = 1;
    try {
      pool->run(10, [](std::size_t) {});
    } catch (const std::runtime_error&) {
      status = 7;
    }
    pool.reset();  // neither joins threads that do not exist nor hangs
    _exit(status);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(count_runs(*pool, 9) == std::vector<int>(9, 1));
}

}  // namespace rndfast
