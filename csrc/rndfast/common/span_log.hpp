// SPDX-License-Identifier: MIT
// What threads did and when, noted while somebody wants to know.
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
  std::uint32_t item;  // what was worked on
};

inline std::int64_t steady_now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Off until started. Not synchronised: the owner's mutex guards it.
class SpanLog {
 public:
  /// Forgets earlier spans. Memory for `max_spans` is allocated here, none when they are added.
  void start(std::size_t max_spans) {
    spans_.clear();
    spans_.reserve(max_spans);
    max_spans_ = max_spans;
    is_on_ = true;
  }

  /// Ends it and returns the spans, in the order of their ends.
  std::vector<Span> take() {
    is_on_ = false;
    return std::exchange(spans_, {});
  }

  bool is_on() const { return is_on_; }

  /// Does nothing while it is off or once there are max_spans.
  void add(const Span& span) {
    if (is_on_ && spans_.size() < max_spans_) spans_.push_back(span);
  }

 private:
  bool is_on_ = false;
  std::size_t max_spans_ = 0;
  std::vector<Span> spans_;
};

}  // namespace rndfast
