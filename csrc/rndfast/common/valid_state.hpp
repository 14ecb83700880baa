// SPDX-License-Identifier: MIT
// Checks of a state that comes from outside, such as a snapshot out of a file. Anyone can write such bytes, so that
// every index, flag, size and generator in them is checked before they become a state that runs.
//
// Each struct has a function `validate` for this, which throws std::invalid_argument with the member that is wrong. It
// accepts whatever can really occur, and nothing else that could read or write outside of its memory, overflow, or loop
// for ever. A static_assert of the struct's size reminds of it whoever adds a member.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace rndfast {

/// `what` says what must hold.
inline void require_state(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(std::string("the snapshot holds an impossible state: ") + what);
}

template <typename T>
void require_state_between(const char* name, T value, std::type_identity_t<T> low, std::type_identity_t<T> high) {
  if (value >= low && value <= high) return;  // false for NaN
  throw std::invalid_argument(std::string("the snapshot holds an impossible state: ") + name + " must be in [" +
                              std::to_string(low) + ", " + std::to_string(high) + "], got " + std::to_string(value));
}

/// A bool must be the byte 0 or 1: reading any other is undefined.
inline void require_state_flag(const char* name, const bool& flag) {
  std::uint8_t byte = 0;
  static_assert(sizeof(flag) == sizeof(byte));
  std::memcpy(&byte, &flag, sizeof(byte));
  require_state_between(name, unsigned{byte}, 0, 1);
}

}  // namespace rndfast
