// SPDX-License-Identifier: MIT
#include "gil.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "rndfast/common/operating_system.hpp"

namespace rndfast::bindings {
namespace py = pybind11;

namespace {

std::atomic<bool> is_ending = false;
std::atomic<unsigned long> main_thread = 0;  // its identifier in Python
std::atomic<int> num_attempts = 0;           // under way

/// Runs in the main thread, before Python begins to end other threads: from now on none of them comes back, and those
/// that are about to have done so.
void end_attempts() {
  is_ending = true;
  const py::gil_scoped_release no_gil;
  while (num_attempts.load() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

/// The thread that forked is the only one left.
void forget_other_threads() {
  main_thread = PyThread_get_thread_ident();
  num_attempts = 0;
}

}  // namespace

void prepare_for_interpreter_end() {
  main_thread = py::cast<unsigned long>(py::module_::import("threading").attr("main_thread")().attr("ident"));
  py::module_::import("atexit").attr("register")(py::cpp_function(&end_attempts));
  call_in_forks(&forget_other_threads);
}

bool is_main_thread() { return main_thread.load() == PyThread_get_thread_ident(); }

GilAttempt::GilAttempt() {
  num_attempts.fetch_add(1);
  if (!is_ending.load() || is_main_thread()) return;
  num_attempts.fetch_sub(1);
  while (true) std::this_thread::sleep_for(std::chrono::hours(1));
}

GilAttempt::~GilAttempt() { num_attempts.fetch_sub(1); }

}  // namespace rndfast::bindings
