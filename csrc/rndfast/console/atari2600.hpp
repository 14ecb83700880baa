// SPDX-License-Identifier: MIT
// An Atari 2600: one cartridge's console, frame by frame.
//
// A frame's picture costs time and is often not wanted, so each frame may be run without one. Lines that a frame does
// not reach keep the picture of two frames before (there are two picture buffers); therefore the console can still
// produce the picture of its last two frames: it keeps the state in which each began and runs it again.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "rndfast/common/random.hpp"
#include "rndfast/common/simd.hpp"
#include "rndfast/console/cartridge.hpp"
#include "rndfast/console/decoded_program.hpp"
#include "rndfast/console/machine.hpp"
#include "rndfast/console/machine_state.hpp"
#include "rndfast/console/palette.hpp"

namespace rndfast {

enum class Controller : std::uint8_t { kJoystick, kPaddles };

/// What is plugged in where.
struct Wiring {
  Controller left = Controller::kJoystick;
  Controller right = Controller::kJoystick;
  bool swaps_ports = false;    // the left device is in the right port, and the other way round
  bool swaps_paddles = false;  // the two paddles of a port are exchanged
};

/// What the player holds: the left device's. Nobody plays with the right one.
struct Controls {
  bool up = false, down = false, left = false, right = false, fire = false;
  bool select = false, reset = false;
  unsigned difficulty = 0;          // bit 0: left switch at A, bit 1: right switch at A
  std::int32_t resistance[2] = {};  // ohm, of paddles 0 and 1
};

/// What distinguishes one game's console from another's; constant and shared.
struct Board {
  Cartridge cartridge;
  Wiring wiring;
  std::int32_t first_line;
  std::int32_t height;  // for NTSC; 250 lines are shown for PAL if this is 210
  bool allows_hmove_blanks;
  std::uint8_t power_on_difficulty;  // switches while the television format is detected
  SimdLevel simd_level;
  DecodedProgram program = decode_program(cartridge);
};

/// Plain data, 160 x 250 x 2 bytes of which are pictures. Functions take the board that it was switched on with, and
/// `shades`, (256,): the byte that stands for each colour in pictures, the same in every call.
class Atari2600 {
 public:
  /// Switches the console on and finds out the television format, which takes 60 frames. Draws from `random`, the
  /// stream of unpredictable things: 129 numbers and then those of one or two resets.
  void power_on(const Board& board, const std::uint8_t* shades, Mt19937& random);

  /// Presses no button, but restarts everything except RAM, as switching off for a moment does.
  void reset(const Board& board, Mt19937& random);

  void set_controls(const Board& board, const Controls& controls);

  /// Runs to the end of the frame, at most 25,000 instructions. `wants_picture` says whether picture() will be asked
  /// for: it is then drawn at once.
  void run_frame(const Board& board, const std::uint8_t* shades, bool wants_picture);

  /// The picture (height, 160) of the last frame, or of the one before. Drawn now if it was not.
  const std::uint8_t* picture(const Board& board, const std::uint8_t* shades, unsigned frames_ago);

  /// By row of the picture: not 0 where it may have changed in one of the two buffers that pictures are drawn into in
  /// turn, since set_changed(false).
  std::span<const std::uint8_t> changed_rows() const {
    return std::span(changed_rows_).first(static_cast<std::size_t>(height_));
  }
  void set_changed(bool are_changed) { std::memset(changed_rows_, are_changed ? 1 : 0, sizeof(changed_rows_)); }

  /// Becomes what another console of the same board is, but for what its pictures hold, which then means nothing until
  /// they are drawn again. Both pictures of the other one must be undrawn.
  void take_over(const Atari2600& other);

  /// See valid_state.hpp. `like` is a console of the same board that has been switched on.
  void validate(const Board& board, const Atari2600& like) const;

  const MachineState& state() const { return state_; }
  /// Calls visit(state) for all states that are kept: the present one and those in which the pictures' frames began.
  template <typename Visit>
  void for_each_state(Visit visit) {
    visit(state_);
    visit(frame_start_[0]);
    visit(frame_start_[1]);
  }
  std::span<const std::uint8_t, kRamBytes> ram() const { return state_.ram; }
  std::uint8_t& ram(unsigned address) { return state_.ram[address & 0x7F]; }
  /// Whether the picture of the last frame has been drawn.
  bool has_last_picture() const { return has_picture_[buffer_]; }
  unsigned buffer() const { return buffer_; }
  TvFormat tv_format() const { return tv_format_; }
  std::int32_t height() const { return height_; }

 private:
  Machine machine(const Board& board, MachineState& state, const std::uint8_t* shades, std::uint8_t* picture,
                  bool is_literal) const;
  void begin_frame(const Board& board);
  void keep_picture(const Board& board, std::int32_t height);
  void rebase(std::int32_t cycles);
  Window window(const Board& board, const MachineState& state) const;
  void run_again(const Board& board, const std::uint8_t* shades, unsigned buffer);
  void grey_rest(const Board& board, const std::uint8_t* shades, std::int32_t from_line);
  std::int32_t line() const { return state_.cycle / kCyclesPerLine; }

  MachineState state_;
  MachineState frame_start_[2];  // of the last frame drawn into each buffer
  bool has_picture_[2];          // whether the buffer shows that frame; if not, the one before it
  std::uint8_t buffer_;          // of the present frame
  TvFormat tv_format_;
  std::int32_t height_;
  std::uint8_t changed_rows_[kMaxScreenHeight];
  std::uint8_t pictures_[2][kMaxScreenHeight * kScreenWidth];
};

static_assert(std::is_trivially_copyable_v<Atari2600>);

}  // namespace rndfast
