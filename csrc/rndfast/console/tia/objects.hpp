// SPDX-License-Identifier: MIT
// The six graphics objects: two players, two missiles, the ball and the playfield.
#pragma once

#include <cstdint>

#include "rndfast/console/machine_state.hpp"
#include "rndfast/console/tia/pixel_mask.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {

inline constexpr unsigned kMovable = (1U << kPF) - 1;
inline constexpr unsigned kAllObjects = (1U << kNumTiaObjects) - 1;

/// How the end-of-line motion of the "Cosmic Ark" stars changes missile 0.
enum M0Variant : std::uint8_t { kM0Normal, kM0Wide, kM0Absent };

/// The byte of GRP0 or GRP1 that is shown.
inline unsigned current_graphics(const Tia& tia, unsigned player) {
  return (tia.vdelp[player] & 1) != 0 ? tia.delayed_grp[player] : tia.grp[player];
}

/// Whether an object's registers let it show somewhere.
inline bool is_enabled(const Tia& tia, unsigned object) {
  switch (object) {
    case kP0:
    case kP1:
      return current_graphics(tia, object) != 0;
    case kM0:
    case kM1:
      return (tia.enam[object - kM0] & 2) != 0 && (tia.resmp[object - kM0] & 2) == 0;
    case kBL:
      return (((tia.vdelbl & 1) != 0 ? tia.delayed_enabl : tia.enabl) & 2) != 0;
    default:
      return ((tia.pf[0] & 0xF0) | tia.pf[1] | tia.pf[2]) != 0;
  }
}

}  // namespace rndfast::tia
