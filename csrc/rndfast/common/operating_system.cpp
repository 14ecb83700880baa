// SPDX-License-Identifier: MIT
#include "rndfast/common/operating_system.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <atomic>
#include <fstream>
#include <vector>

namespace rndfast {
namespace {

std::atomic<std::uint32_t> num_forks = 0;

void add_limit(std::string& text, const std::string& limit) { text += (text.empty() ? "" : ", ") + limit; }

}  // namespace

std::int64_t process_id() { return getpid(); }

void call_in_forks(void (*function)()) { pthread_atfork(nullptr, nullptr, function); }

std::uint32_t fork_count() {
  static const bool is_counting = [] {
    call_in_forks([] { num_forks.fetch_add(1, std::memory_order_relaxed); });
    return true;
  }();
  static_cast<void>(is_counting);
  return num_forks.load(std::memory_order_relaxed);
}

std::size_t allowed_cores() {
#ifdef __linux__
  // a set of the usual size is refused on machines with more CPUs than it has bits
  for (std::size_t num_cpus = CPU_SETSIZE; num_cpus <= (1U << 20U); num_cpus *= 2) {
    std::vector<cpu_set_t> cpus(num_cpus / CPU_SETSIZE);
    const std::size_t size = cpus.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, size, cpus.data()) == 0) return static_cast<std::size_t>(CPU_COUNT_S(size, cpus.data()));
  }
#endif
  return std::thread::hardware_concurrency();
}

bool pin_thread([[maybe_unused]] std::thread& thread, [[maybe_unused]] std::size_t cpu) {
#ifdef __linux__
  if (cpu >= CPU_SETSIZE) return false;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  return pthread_setaffinity_np(thread.native_handle(), sizeof(cpus), &cpus) == 0;
#else
  return true;
#endif
}

struct SignalBlock::Mask {
  sigset_t signals;
};

SignalBlock::SignalBlock() : before_(std::make_unique<Mask>()) {
  sigset_t signals;
  sigfillset(&signals);
  for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP}) sigdelset(&signals, fault);
  pthread_sigmask(SIG_SETMASK, &signals, &before_->signals);
}

SignalBlock::~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_->signals, nullptr); }

std::string thread_limits() {
  std::string text;
  rlimit limit{};
  if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    add_limit(text, std::to_string(limit.rlim_cur) + " processes and threads of this user (ulimit -u)");
  }
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    add_limit(text, std::to_string(limit.rlim_cur >> 20) + " MiB of address space (ulimit -v)");
  }
  for (const char* const path : {"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"}) {
    std::uint64_t number = 0;
    if (std::ifstream(path) >> number) {  // not a number where there is no limit
      add_limit(text, std::to_string(number) + " processes and threads in this container (" + path + ")");
    }
  }
  return text.empty() ? "none is set for this process: the system's memory or kernel.threads-max" : text;
}

}  // namespace rndfast
