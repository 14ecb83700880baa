// SPDX-License-Identifier: MIT
#include "rndfast/common/start_thread.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace rndfast {
namespace {

/// Blocks all signals but those of faults in the calling thread, and therefore in those that it starts.
class SignalBlock {
 public:
  SignalBlock() {
    sigset_t signals;
    sigfillset(&signals);
    for (const int fault : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP}) sigdelset(&signals, fault);
    pthread_sigmask(SIG_SETMASK, &signals, &before_);
  }
  ~SignalBlock() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  sigset_t before_;
};

void add_limit(std::string& text, const std::string& limit) { text += (text.empty() ? "" : ", ") + limit; }

/// The limits that a new thread may have met, as far as there are any.
std::string limits_in_force() {
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

}  // namespace

std::thread start_thread(std::size_t index, std::size_t num_threads, std::function<void()> work) {
  const SignalBlock block;
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    throw std::runtime_error("only " + std::to_string(index) + " of " + std::to_string(num_threads) +
                             " worker threads could be started (" + error.code().message() +
                             "): ask for fewer, or raise the limit. Limits: " + limits_in_force());
  }
}

}  // namespace rndfast
