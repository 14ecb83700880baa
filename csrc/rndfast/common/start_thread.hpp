// SPDX-License-Identifier: MIT
// Starting worker threads.
#pragma once

#include <cstddef>
#include <functional>
#include <thread>

namespace rndfast {

/// Starts thread number `index` (from 0) of `num_threads`. It takes no signals but those of faults, so that the others
/// interrupt what the threads of the user's program wait for. Throws std::runtime_error if the system refuses, with the
/// limits that are in force.
std::thread start_thread(std::size_t index, std::size_t num_threads, std::function<void()> work);

}  // namespace rndfast
