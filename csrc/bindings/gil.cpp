// SPDX-License-Identifier: MIT
#include "gil.hpp"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace rndfast::bindings {
namespace py = pybind11;

namespace {

std::atomic<bool> is_ending = false;
std::atomic<pthread_t> main_thread = pthread_self();
std::atomic<int> num_attempts = 0;  // under way

/// Runs in the main thread, before Python begins to end other threads: from now on none of them comes back, and those
/// that are about to have done so.
void end_attempts() {
  is_ending = true;
  const py::gil_scoped_release no_gil;
  while (num_attempts.load() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

/// The thread that forked is the only one left.
void forget_other_threads() {
  main_thread = pthread_self();
  num_attempts = 0;
}

}  // namespace

void prepare_for_interpreter_end() {
  const auto ident = py::module_::import("threading").attr("main_thread")().attr("ident");
  main_thread = reinterpret_cast<pthread_t>(py::cast<std::uintptr_t>(ident));
  py::module_::import("atexit").attr("register")(py::cpp_function(&end_attempts));
  pthread_atfork(nullptr, nullptr, &forget_other_threads);
}

bool is_main_thread() { return pthread_equal(main_thread.load(), pthread_self()) != 0; }

GilAttempt::GilAttempt() {
  num_attempts.fetch_add(1);
  if (!is_ending.load() || is_main_thread()) return;
  num_attempts.fetch_sub(1);
  while (true) pause();
}

GilAttempt::~GilAttempt() { num_attempts.fetch_sub(1); }

}  // namespace rndfast::bindings
