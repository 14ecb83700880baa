// SPDX-License-Identifier: MIT
// How many clocks after a write its effect begins. docs/emulator.md, "Distances and delays of the TIA", names a witness
// of each.
#pragma once

#include <array>
#include <cstdint>

#include "rndfast/console/machine_state.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {

inline constexpr std::int32_t kVblankDelay = 1;
inline constexpr std::int32_t kRefpDelay = 1;
inline constexpr std::int32_t kGrpDelay = 1;
inline constexpr std::int32_t kNusizDelay = 8;
inline constexpr std::int32_t kResmDelay = 8;
inline constexpr std::int32_t kRespDelayWithinPlayer = 11;  // if the player is just being shown; none otherwise

/// Before this clock of a line, CTRLPF reflects the playfield at once; from it on, from the next line on.
inline constexpr std::int32_t kReflectionLatchClock = 147;

/// The playfield is shifted out every four clocks, to which three clocks of a cycle stand in four ways.
inline std::int32_t pf_delay(std::int32_t cycle) {
  static constexpr std::array<std::int32_t, 4> kDelays = {4, 5, 2, 3};
  return kDelays[static_cast<unsigned>(cycle % kCyclesPerLine) & 3];
}

/// The delay of any register, but for RESP0 and RESP1 within a player.
inline std::int32_t delay_of(unsigned address, std::int32_t cycle) {
  switch (address) {
    case VBLANK:
      return kVblankDelay;
    case REFP0:
    case REFP1:
      return kRefpDelay;
    case GRP0:
    case GRP1:
      return kGrpDelay;
    case NUSIZ0:
    case NUSIZ1:
      return kNusizDelay;
    case RESM0:
    case RESM1:
      return kResmDelay;
    case PF0:
    case PF1:
    case PF2:
      return pf_delay(cycle);
    default:
      return 0;
  }
}

}  // namespace rndfast::tia
