// SPDX-License-Identifier: MIT
// The 64-bit hash FNV-1a (Fowler, Noll and Vo). A snapshot carries it, so that damaged bytes are noticed.
#pragma once

#include <cstdint>
#include <span>

namespace rndfast {

inline std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x00000100000001B3;
  return hash;
}

}  // namespace rndfast
