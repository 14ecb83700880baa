// SPDX-License-Identifier: MIT
// How often this process has been forked from another, to find out without a call of the operating system whether one
// is still in the process in which something was made.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace rndfast {

/// Counts forks from the first call on.
inline std::uint32_t fork_count() {
  static std::atomic<std::uint32_t> count = 0;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { count.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
  return count.load(std::memory_order_relaxed);
}

}  // namespace rndfast
