// SPDX-License-Identifier: MIT
// The Mersenne Twister MT19937 (Matsumoto and Nishimura, 1998), whose state, unlike that of std::mt19937, has a fixed
// layout and 32-bit words, so that it can be stored as bytes.
#pragma once

#include <cstdint>

#include "rndfast/common/valid_state.hpp"

namespace rndfast {

class Mt19937 {
 public:
  Mt19937() = default;  // seed() must be called before the first draw
  explicit Mt19937(std::uint32_t seed) { this->seed(seed); }

  void seed(std::uint32_t seed) {
    words_[0] = seed;
    for (std::uint32_t i = 1; i < kNumWords; ++i) {
      words_[i] = 1812433253U * (words_[i - 1] ^ (words_[i - 1] >> 30)) + i;
    }
    next_ = kNumWords;
  }

  bool operator==(const Mt19937&) const = default;

  /// See valid_state.hpp. A generator whose 19937 bits are all 0 gives nothing but 0.
  void validate() const {
    static_assert(sizeof(Mt19937) == sizeof(std::uint32_t) * (kNumWords + 1), "validate() must know every member");
    require_state_between("the number of random words that are used", next_, 0, kNumWords);
    std::uint32_t bits = words_[0] & 0x80000000U;
    for (std::uint32_t i = 1; i < kNumWords; ++i) bits |= words_[i];
    require_state(bits != 0, "a random generator must not be all zero");
  }

  /// Uniform in [0, 2^32).
  std::uint32_t operator()() {
    if (next_ >= kNumWords) refill();
    std::uint32_t word = words_[next_++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9D2C5680U;
    word ^= (word << 15) & 0xEFC60000U;
    return word ^ (word >> 18);
  }

 private:
  static constexpr std::uint32_t kNumWords = 624;
  static constexpr std::uint32_t kShift = 397;

  void refill() {
    for (std::uint32_t i = 0; i < kNumWords; ++i) {
      const std::uint32_t next = words_[i + 1 < kNumWords ? i + 1 : 0];
      const std::uint32_t mixed = (words_[i] & 0x80000000U) | (next & 0x7FFFFFFFU);
      const std::uint32_t shifted = words_[i + kShift < kNumWords ? i + kShift : i + kShift - kNumWords];
      words_[i] = shifted ^ (mixed >> 1) ^ ((next & 1U) != 0 ? 0x9908B0DFU : 0U);
    }
    next_ = 0;
  }

  std::uint32_t words_[kNumWords];
  std::uint32_t next_;
};

}  // namespace rndfast
