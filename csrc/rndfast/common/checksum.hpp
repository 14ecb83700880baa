// SPDX-License-Identifier: MIT
// A checksum that snapshots carry, so that damaged bytes are noticed. It is made of the 64-bit hash FNV-1a (Fowler,
// Noll and Vo), whose multiplications wait for each other: eight at a time hash megabytes several times as fast.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace rndfast {

inline constexpr std::uint64_t kFnvStart = 0xCBF29CE484222325;
inline constexpr std::uint64_t kFnvPrime = 0x00000100000001B3;

/// FNV-1a of some bytes.
inline std::uint64_t fnv1a(std::span<const std::uint8_t> bytes, std::uint64_t hash = kFnvStart) {
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * kFnvPrime;
  return hash;
}

/// FNV-1a of eight hashes, of which the i-th is of the bytes i, i + 8, i + 16 ..., and of the bytes that are left.
inline std::uint64_t checksum(std::span<const std::uint8_t> bytes) {
  constexpr std::size_t kLanes = 8;
  std::array<std::uint64_t, kLanes> hashes;
  hashes.fill(kFnvStart);
  const std::size_t num_whole = bytes.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < num_whole; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) hashes[lane] = (hashes[lane] ^ bytes[i + lane]) * kFnvPrime;
  }
  std::uint64_t sum = kFnvStart;
  for (const std::uint64_t hash : hashes) {
    for (unsigned shift = 0; shift < 64; shift += 8) sum = (sum ^ ((hash >> shift) & 0xFF)) * kFnvPrime;
  }
  return fnv1a(bytes.subspan(num_whole), sum);
}

}  // namespace rndfast
