// SPDX-License-Identifier: MIT
// All that the core asks of the operating system beyond the standard library: POSIX, and on Linux a little more. Only
// operating_system.cpp includes headers of the system's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace rndfast {

/// The number of this process, for messages.
std::int64_t process_id();

/// Has `function` called in every process that is forked from this one.
void call_in_forks(void (*function)());

/// How often this process has been forked from another, counted from the first call on: to find out without a call of
/// the operating system whether one is still in the process in which something was made.
std::uint32_t fork_count();

/// Cores that this process may run on.
std::size_t allowed_cores();

/// Restricts a thread to one CPU, where the system can. Returns false if this process may not run on it.
bool pin_thread(std::thread& thread, std::size_t cpu);

/// While it lives, the calling thread, and those that it starts, take no signals but those of faults.
class SignalBlock {
 public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock&) = delete;
  SignalBlock& operator=(const SignalBlock&) = delete;

 private:
  struct Mask;
  std::unique_ptr<Mask> before_;
};

/// The limits that the start of a thread may have met, as far as there are any.
std::string thread_limits();

}  // namespace rndfast
