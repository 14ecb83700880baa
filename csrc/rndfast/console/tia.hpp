// SPDX-License-Identifier: MIT
// The television interface adaptor: picture, collisions, paddles' capacitors.
//
// One idea: nothing is drawn pixel by pixel. Each graphics object keeps the set of columns that it covers as a bit
// mask, `shape`, rebuilt from the registers only when asked for. A line is drawn when it is over: collisions are
// intersections of six masks, and a row of pixels is a selection by three. Only what changes while the beam is within
// the visible columns needs more: what an object covers to the left of the beam is settled before it changes, so that
// `shape` is rebuilt only from there on, and a segment of the line is finished before a colour changes. A line during
// which nothing changes is a copy of the line above.
//
// A change takes effect some clocks after the write, by register; `line_end` is the clock beyond which the line is
// over. Nothing is drawn outside the window of visible lines, and lines end there only within it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "rndfast/console/machine.hpp"
#include "rndfast/console/tia/registers.hpp"

namespace rndfast::tia {

/// All registers and positions zero. `max_lines` of a frame before a write ends it.
void reset(Tia& tia, std::int32_t max_lines);

/// Frames are at least as long until a write ends them, in cycles.
constexpr std::int32_t last_line_cycle(std::int32_t max_lines) { return kCyclesPerLine * (max_lines + 1); }

/// See valid_state.hpp. `is_in_frame`: the state is one in which a frame goes on, not one that the next frame replaces.
void validate(const Tia& tia, const Window& window, std::int32_t max_lines, bool is_in_frame);

/// Prepares for drawing a frame from the first line of `window` on.
void begin_frame(Tia& tia, const Window& window);

/// After a reset before the frame's end: it goes on with line 0, of which nothing is drawn before the window begins.
void restart_frame(Tia& tia);

/// Shifts every time by -`cycles`.
void rebase(Tia& tia, std::int32_t cycles);

/// Sets or clears bit 0 of the colour registers, as a PAL television's loss of colour is modelled.
void set_color_loss(Tia& tia, bool bit);

/// Whether every line of the window has been drawn.
bool is_picture_finished(const Tia& tia, const Window& window);

/// Clocks from a write to its effect.
std::int32_t write_delay(unsigned address, std::int32_t cycle);

inline constexpr std::size_t kNumWriteAddresses = 64;
using WriteFunction = std::int32_t (*)(Machine& machine, unsigned value, std::int32_t cycle);
extern const std::array<WriteFunction, kNumWriteAddresses> kWriteFunctions;  // by address

/// Writes a register at `cycle`, the end of the writing instruction; returns the cycle at which the processor goes on
/// (WSYNC stops it). Sets Tia::frame_has_ended if this ends the frame.
inline std::int32_t write(Machine& machine, unsigned address, unsigned value, std::int32_t cycle) {
  return kWriteFunctions[address % kNumWriteAddresses](machine, value, cycle);
}

/// Reads a register at `cycle`. Bits that the chip does not drive are those of `bus`, the last byte on the data bus.
unsigned read(Machine& machine, unsigned address, std::int32_t cycle, unsigned bus);

}  // namespace rndfast::tia
