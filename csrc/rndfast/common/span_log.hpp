// SPDX-License-Identifier: MIT
// A log of what threads worked on and when, for traces. While it is off it costs next to nothing.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace rndfast {

/// Nanoseconds of std::chrono::steady_clock. Plain data, NumPy reads it as a record.
struct Span {
  std::int64_t start_ns;
  std::int64_t end_ns;
  std::uint32_t thread;
  std::uint32_t item;  // number of the item that was worked on
};

inline std::int64_t steady_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Off until it is started. Not synchronised: the owner guards it by a mutex.
class SpanLog {
 public:
  /// Forgets earlier spans. Memory for `max_spans` is allocated here, so that adding one allocates nothing.
  void start(std::size_t max_spans) {
    spans_.clear();
    spans_.reserve(max_spans);
    max_spans_ = max_spans;
    is_on_ = true;
  }

  /// Switches the log off and returns the spans, in the order of their ends.
  std::vector<Span> take() {
    is_on_ = false;
    return std::exchange(spans_, {});
  }

  bool is_on() const { return is_on_; }

  /// Does nothing while the log is off or holds max_spans already.
  void add(const Span& span) {
    if (is_on_ && spans_.size() < max_spans_) spans_.push_back(span);
  }

 private:
  bool is_on_ = false;
  std::size_t max_spans_ = 0;
  std::vector<Span> spans_;
};

}  // namespace rndfast
