// SPDX-License-Identifier: MIT
#include "rndfast/console/tia/paddles.hpp"

namespace rndfast::tia {
namespace {

constexpr unsigned kGround = 0x80;  // bit of VBLANK
constexpr double kFarad = 0.01e-6;
constexpr double kTimeConstants = 1.6;  // until the input reads 1; 1 ohm farad is 1 s
constexpr double kCyclesPerSecond = 1.19e6;

}  // namespace

void ground_capacitors(Tia& tia, unsigned vblank, std::int32_t cycle) {
  const bool was_dumping = (tia.vblank & kGround) != 0;
  const bool is_dumping = (vblank & kGround) != 0;
  if (is_dumping == was_dumping) return;
  tia.is_dumping = is_dumping;
  if (was_dumping) tia.dump_end_cycle = cycle;
}

bool is_charged(const MachineState& state, unsigned input, std::int32_t cycle) {
  const std::int32_t resistance = state.inputs.resistance[input];
  if (resistance == 0) return true;
  if (resistance == kNoPaddle || state.tia.is_dumping) return false;
  const auto needed_cycles = static_cast<std::uint32_t>(kTimeConstants * resistance * kFarad * kCyclesPerSecond);
  // compared as the original does, in unsigned cycles since the frame began
  const std::int32_t origin = state.frame_start_cycle;
  const auto now = static_cast<std::uint32_t>(cycle - origin);
  const auto charged = static_cast<std::uint32_t>(state.tia.dump_end_cycle - origin) + needed_cycles;
  return now > charged;
}

}  // namespace rndfast::tia
