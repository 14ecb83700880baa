// SPDX-License-Identifier: MIT
// Fifteen latches remember which two objects have overlapped since CXCLR.
#pragma once

#include <array>
#include <cstdint>

#include "rndfast/console/machine_state.hpp"
#include "rndfast/console/tia/objects.hpp"

namespace rndfast::tia {

struct ObjectPair {
  std::uint8_t first, second;
};

/// By collision latch: bits 7 and 6 of CXM0P, CXM1P, CXP0FB, CXP1FB, CXM0FB, CXM1FB, CXBLPF, CXPPMM.
inline constexpr std::array<ObjectPair, 16> kPairs = {{{kM0, kP1},
                                                       {kM0, kP0},
                                                       {kM1, kP0},
                                                       {kM1, kP1},
                                                       {kP0, kPF},
                                                       {kP0, kBL},
                                                       {kP1, kPF},
                                                       {kP1, kBL},
                                                       {kM0, kPF},
                                                       {kM0, kBL},
                                                       {kM1, kPF},
                                                       {kM1, kBL},
                                                       {kBL, kPF},
                                                       {kBL, kBL},
                                                       {kP0, kP1},
                                                       {kM0, kM1}}};
inline constexpr unsigned kUnusedLatch = 13;

/// The latches of all pairs within a set of objects.
inline constexpr std::array<std::uint16_t, 1U << kNumTiaObjects> kLatchesOf = [] {
  std::array<std::uint16_t, 1U << kNumTiaObjects> table{};
  for (unsigned set = 0; set < table.size(); ++set) {
    for (unsigned latch = 0; latch < kPairs.size(); ++latch) {
      const bool has_both = (set >> kPairs[latch].first & 1) != 0 && (set >> kPairs[latch].second & 1) != 0;
      if (has_both && latch != kUnusedLatch) table[set] |= static_cast<std::uint16_t>(1U << latch);
    }
  }
  return table;
}();

/// The latches of all pairs of which an object is one.
inline constexpr std::array<std::uint16_t, kNumTiaObjects> kLatchesWith = [] {
  std::array<std::uint16_t, kNumTiaObjects> table{};
  for (unsigned object = 0; object < kNumTiaObjects; ++object) {
    table[object] = static_cast<std::uint16_t>(kLatchesOf[kAllObjects] & ~kLatchesOf[kAllObjects & ~(1U << object)]);
  }
  return table;
}();

/// The latches that the objects in the line may still set.
inline unsigned open_latches(const Tia& tia) {
  return kLatchesOf[tia.enabled | tia.was_enabled] & ~unsigned{tia.collisions};
}

}  // namespace rndfast::tia
