// SPDX-License-Identifier: MIT
// A lock for sections of a few instructions: it waits without a call of the operating system.
#pragma once

#include <atomic>
#include <thread>

namespace rndfast {

/// Tells the processor that this is a loop that waits for another thread.
inline void pause_briefly() {
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
  __builtin_ia32_pause();
#endif
}

class SpinLock {
 public:
  void lock() {
    constexpr int kSpins = 64;  // then the owner has probably lost its processor
    while (is_locked_.exchange(true, std::memory_order_acquire)) {
      for (int spin = 0; is_locked_.load(std::memory_order_relaxed); ++spin) {
        if (spin < kSpins) {
          pause_briefly();
        } else {
          std::this_thread::yield();
        }
      }
    }
  }
  void unlock() { is_locked_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> is_locked_ = false;
};

}  // namespace rndfast
