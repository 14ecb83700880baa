// SPDX-License-Identifier: MIT
#include "rndfast/common/start_thread.hpp"

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "rndfast/common/operating_system.hpp"

namespace rndfast {

std::thread start_thread(std::size_t index, std::size_t num_threads, std::function<void()> work) {
  const SignalBlock block;
  try {
    return std::thread(std::move(work));
  } catch (const std::system_error& error) {
    throw std::runtime_error("only " + std::to_string(index) + " of " + std::to_string(num_threads) +
                             " worker threads could be started (" + error.code().message() +
                             "): ask for fewer, or raise the limit. Limits: " + thread_limits());
  }
}

}  // namespace rndfast
