// SPDX-License-Identifier: MIT
#include "rndfast/common/worker_queue.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

namespace rndfast {
namespace {

constexpr auto kPollInterval = std::chrono::milliseconds(50);

std::size_t num_cores() { return std::max<std::size_t>(1, std::thread::hardware_concurrency()); }

/// Restricts a thread to one CPU, where the system can.
void pin([[maybe_unused]] std::thread& thread, [[maybe_unused]] std::size_t cpu) {
#ifdef __linux__
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  if (cpu >= CPU_SETSIZE || pthread_setaffinity_np(thread.native_handle(), sizeof(cpus), &cpus) != 0) {
    throw std::invalid_argument("thread_affinity_offset: this process may not run on CPU " + std::to_string(cpu));
  }
#endif
}

}  // namespace

WorkerQueue::WorkerQueue(std::size_t num_threads, int first_cpu)
    : num_threads_(num_threads != 0 ? num_threads : num_cores()),
      owner_pid_(getpid()),
      shared_(std::make_unique<Shared>()) {
  try {
    for (std::size_t index = 0; index < num_threads_; ++index) {
      shared_->workers.emplace_back([&shared = *shared_, index] { work(shared, index); });
      if (first_cpu >= 0) pin(shared_->workers.back(), static_cast<std::size_t>(first_cpu) + index);
    }
  } catch (...) {
    join_workers();  // end those that did start, then report it
    throw;
  }
}

WorkerQueue::~WorkerQueue() {
  if (getpid() != owner_pid_) {
    // a forked child has handles of threads that do not exist there, and condition variables that they wait on:
    // joining, detaching or destroying any of them is undefined or hangs
    static_cast<void>(shared_.release());
    return;
  }
  join_workers();
}

void WorkerQueue::require_owner() const {
  if (getpid() == owner_pid_) return;
  throw std::runtime_error("the environment belongs to process " + std::to_string(owner_pid_) +
                           " and its threads do not exist in its fork " + std::to_string(getpid()) +
                           ": make it in the child, or start the child by spawn");
}

void WorkerQueue::submit(std::shared_ptr<Job> job) {
  require_owner();
  if (job->num_items == 0) return;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->jobs.push_back(std::move(job));
  }
  shared_->work_ready.notify_all();
}

std::exception_ptr WorkerQueue::wait(Job& job, Poll poll) {
  require_owner();
  std::unique_lock lock(shared_->mutex);
  while (!shared_->job_done.wait_for(lock, kPollInterval, [&] { return job.num_done == job.num_items; })) {
    lock.unlock();
    poll();
    lock.lock();
  }
  return job.error;
}

void WorkerQueue::start_trace(std::size_t max_spans) {
  require_owner();
  const std::lock_guard lock(shared_->mutex);
  shared_->spans.start(max_spans);
}

std::vector<Span> WorkerQueue::take_trace() {
  require_owner();
  const std::lock_guard lock(shared_->mutex);
  return shared_->spans.take();
}

void WorkerQueue::join_workers() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->closing = true;
  }
  shared_->work_ready.notify_all();
  for (auto& thread : shared_->workers) thread.join();
}

void WorkerQueue::work(Shared& shared, std::size_t thread_index) {
  std::unique_lock lock(shared.mutex);
  while (true) {
    shared.work_ready.wait(lock, [&] { return shared.closing || !shared.jobs.empty(); });
    if (shared.closing) return;
    const std::shared_ptr<Job> job = shared.jobs.front();
    const std::size_t item = job->next_item++;
    if (job->next_item == job->num_items) shared.jobs.pop_front();
    const bool is_traced = shared.spans.is_on();
    lock.unlock();
    const std::int64_t start_ns = is_traced ? steady_now_ns() : 0;
    std::exception_ptr error;
    try {
      job->work(item);
    } catch (...) {
      error = std::current_exception();
    }
    const std::int64_t end_ns = is_traced ? steady_now_ns() : 0;
    lock.lock();
    if (is_traced) {
      const auto name = job->names.empty() ? static_cast<std::int64_t>(item) : job->names[item];
      shared.spans.add({start_ns, end_ns, static_cast<std::uint32_t>(thread_index), static_cast<std::uint32_t>(name)});
    }
    if (error && !job->error) job->error = std::move(error);
    if (++job->num_done == job->num_items) shared.job_done.notify_all();
  }
}

}  // namespace rndfast
