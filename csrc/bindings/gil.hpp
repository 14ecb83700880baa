// SPDX-License-Identifier: MIT
// Giving up the GIL and taking it back, also while the interpreter ends.
//
// Until Python 3.13 a thread that wants the GIL then is ended where it stands, by unwinding its stack: through
// destructors of C++, which ends the process. Daemon threads meet this when the main thread leaves. Here they sleep for
// good instead, as they do from Python 3.14 on.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>

namespace rndfast::bindings {

/// Must be called once, while the module is imported.
void prepare_for_interpreter_end();

/// Whether this is the thread in which Python runs the handlers of signals.
bool is_main_thread();

/// Around each attempt to take the GIL.
class GilAttempt {
 public:
  /// Does not return if the interpreter is ending and this is not the thread that ends it.
  GilAttempt();
  ~GilAttempt();
  GilAttempt(const GilAttempt&) = delete;
  GilAttempt& operator=(const GilAttempt&) = delete;
};

/// Gives the GIL up for as long as it lives.
class GilRelease {
 public:
  GilRelease() { released_.emplace(); }
  ~GilRelease() {
    const GilAttempt attempt;
    released_.reset();
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  std::optional<pybind11::gil_scoped_release> released_;
};

/// Holds the GIL for as long as it lives, whether or not this thread had it before.
class GilAcquire {
 public:
  GilAcquire() {
    if (PyGILState_Check() != 0) return;
    const GilAttempt attempt;
    acquired_.emplace();
  }
  GilAcquire(const GilAcquire&) = delete;
  GilAcquire& operator=(const GilAcquire&) = delete;

 private:
  std::optional<pybind11::gil_scoped_acquire> acquired_;
};

}  // namespace rndfast::bindings
