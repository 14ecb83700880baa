// SPDX-License-Identifier: MIT
#include "rndfast/console/atari2600.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "rndfast/common/valid_state.hpp"
#include "rndfast/console/fast_interpreter.hpp"
#include "rndfast/console/riot.hpp"
#include "rndfast/console/tia.hpp"
#include "rndfast/console/tia/paddles.hpp"

namespace rndfast {
namespace {

constexpr std::int32_t kMaxInstructionsPerFrame = 25'000;
// A frame may never end. Beyond the first number of cycles the time is counted from later on, so that it cannot
// overflow, nor can the TIA's clocks, which are three times as many.
constexpr std::int32_t kMaxCycle = 1 << 28;
constexpr std::int32_t kMaxCyclesPerRun = 1 << 20;  // no instruction takes more than 8 or, at first, a line
constexpr std::int32_t kMaxLinesNtsc = 290;
constexpr std::int32_t kMaxLinesPal = 342;
constexpr std::int32_t kPalHeight = 250;
constexpr std::int32_t kDefaultHeight = 210;

// the television format is PAL if enough of the later frames are longer than NTSC frames can be
constexpr int kDetectionFrames = 60;
constexpr int kSettlingFrames = 30;
constexpr int kMinPalFrames = 15;
constexpr std::int32_t kLongestNtscLines = 285;

std::int32_t max_lines(TvFormat format) { return format == TvFormat::kPal ? kMaxLinesPal : kMaxLinesNtsc; }

void validate(const Cpu& cpu) {
  static_assert(sizeof(Cpu) == 14, "validate() must know every member");
  for (const unsigned flag : {cpu.c, cpu.v, cpu.d, cpu.i}) require_state_between("a flag of the processor", flag, 0, 1);
  require_state_flag("cpu.is_jammed", cpu.is_jammed);
}

void validate(const Inputs& inputs) {
  static_assert(sizeof(Inputs) == 20, "validate() must know every member");
  for (const std::int32_t cycles : inputs.charge_cycles) {
    require_state_between("inputs.charge_cycles", cycles, 0, kNoPaddle);
  }
}

/// `is_in_frame`: see tia::validate().
void validate(const MachineState& state, const Board& board, const Window& window, TvFormat format, bool is_in_frame) {
  static_assert(sizeof(MachineState) == sizeof(Tia) + sizeof(CartridgeState) + 200,
                "validate() must know every member");
  validate(state.cpu);
  require_state_between("cycle", state.cycle, 0, kMaxCycle + kMaxCyclesPerRun);
  require_state_between("frame_start_cycle", state.frame_start_cycle, -2 * kMaxCycle, kCyclesPerLine);
  require_state_between("num_lines", state.num_lines, 0, kMaxCycle);
  riot::validate(state.riot);
  validate(state.inputs);
  tia::validate(state.tia, window, max_lines(format), is_in_frame);
  board.cartridge.validate(state.cartridge);
  require_state_flag("is_partial", state.is_partial);
  require_state_flag("is_greyed", state.is_greyed);
}

std::uint8_t pins(bool pin1, bool pin2, bool pin3, bool pin4) {
  return static_cast<std::uint8_t>((pin1 ? 0 : 1) | (pin2 ? 0 : 2) | (pin3 ? 0 : 4) | (pin4 ? 0 : 8));
}

/// Where the calling thread draws pictures before it is known which rows are new.
std::uint8_t* easel() {
  thread_local std::array<std::uint8_t, std::size_t{kMaxScreenHeight} * kScreenWidth> pixels;
  return pixels.data();
}

/// Copies rows of `from` where they differ from those of `to`, two at a time, and marks them.
[[gnu::always_inline]] inline void copy_changed_body(const std::uint8_t* from, std::size_t num_rows, std::uint8_t* to,
                                                     std::uint8_t* is_changed) {
  constexpr std::size_t kVectorSize = 32;
  constexpr std::size_t kRows = 2;
  constexpr std::size_t kBytes = kRows * kScreenWidth;
  static_assert(kBytes % kVectorSize == 0);
  using Vector [[gnu::vector_size(kVectorSize)]] = std::uint64_t;
  assert(num_rows >= kRows);
  for (std::size_t begin = 0; begin < num_rows; begin += kRows) {
    const std::size_t row = std::min(begin, num_rows - kRows);  // the last two pairs may overlap
    const std::uint8_t* const drawn = from + row * kScreenWidth;
    std::uint8_t* const kept = to + row * kScreenWidth;
    Vector differences{};
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kBytes; i += kVectorSize) {
      Vector a;
      Vector b;
      std::memcpy(&a, drawn + i, kVectorSize);
      std::memcpy(&b, kept + i, kVectorSize);
      differences |= a ^ b;
    }
    if ((differences[0] | differences[1] | differences[2] | differences[3]) == 0) continue;
    std::memcpy(kept, drawn, kBytes);
    std::memset(is_changed + row, 1, kRows);
  }
}
RNDFAST_SIMD_KERNEL(copy_changed, copy_changed_body,
                    (const std::uint8_t* from, std::size_t num_rows, std::uint8_t* to, std::uint8_t* is_changed),
                    (from, num_rows, to, is_changed))

}  // namespace

Machine Atari2600::machine(const Board& board, MachineState& state, const std::uint8_t* shades, std::uint8_t* picture,
                           bool is_literal) const {
  if (state.tia.row >= kMaxScreenHeight) picture = nullptr;  // as finish_line() has left it
  return {state,   board.cartridge, board.program, window(board, state), board.allows_hmove_blanks,
          picture, shades,          is_literal,    board.simd_level};
}

/// The lines that are drawn. A frame that was reset begins with line 0.
Window Atari2600::window(const Board& board, const MachineState& state) const {
  return {board.first_line, height_ + (state.tia.was_reset_in_frame ? board.first_line : 0)};
}

void Atari2600::power_on(const Board& board, const std::uint8_t* shades, Mt19937& random) {
  std::memset(static_cast<void*>(this), 0, sizeof(*this));
  tv_format_ = TvFormat::kNtsc;
  height_ = board.height;
  for (auto& byte : state_.ram) byte = static_cast<std::uint8_t>(random());
  random();  // the timer, which the reset sets again
  board.cartridge.power_on(state_.cartridge);

  reset(board, random);
  Controls controls;
  controls.difficulty = board.power_on_difficulty;
  set_controls(board, controls);
  int num_long_frames = 0;
  for (int frame = 0; frame < kDetectionFrames; ++frame) {
    run_frame(board, shades, false);
    num_long_frames += frame >= kSettlingFrames && line() > kLongestNtscLines;
  }
  if (num_long_frames >= kMinPalFrames) {
    tv_format_ = TvFormat::kPal;
    if (height_ == kDefaultHeight) height_ = kPalHeight;
  }
  reset(board, random);
}

void Atari2600::reset(const Board& board, Mt19937& random) {
  state_.cycle = 0;
  state_.frame_start_cycle = 0;
  state_.num_lines = 0;
  riot::reset(state_.riot, 25 + static_cast<std::int32_t>(random() % 75));
  tia::reset(state_.tia, max_lines(tv_format_));
  if (state_.is_partial) tia::restart_frame(state_.tia);
  board.cartridge.reset(state_.cartridge);
  if (board.cartridge.has_ram()) {
    for (auto& byte : state_.cartridge.ram) byte = static_cast<std::uint8_t>(random());
  }
  state_.cpu = {};
  state_.cpu.sp = 0xFF;
  state_.cpu.nz = 1;
  const auto vector_byte = [&](unsigned address) {
    return unsigned{board.cartridge.read(state_.cartridge, address, 0)};
  };
  const unsigned low = vector_byte(0xFFFC);
  const unsigned high = vector_byte(0xFFFD);
  state_.cpu.pc = static_cast<std::uint16_t>(low | high << 8);
  state_.cpu.bus = static_cast<std::uint8_t>(high);
  std::memset(pictures_, 0, sizeof(pictures_));
  set_changed(true);
  has_picture_[0] = has_picture_[1] = true;
}

void Atari2600::take_over(const Atari2600& other) {
  assert(!other.has_picture_[0] && !other.has_picture_[1]);
  state_ = other.state_;
  std::copy(std::begin(other.frame_start_), std::end(other.frame_start_), frame_start_);
  has_picture_[0] = has_picture_[1] = false;
  set_changed(true);
  buffer_ = other.buffer_;
}

void Atari2600::validate(const Board& board, const Atari2600& like) const {
  static_assert(sizeof(Atari2600) == 3 * sizeof(MachineState) + sizeof(changed_rows_) + sizeof(pictures_) + 14,
                "validate() must know every member");
  for (const bool& has_picture : has_picture_) require_state_flag("has_picture", has_picture);
  require_state_between("buffer", unsigned{buffer_}, 0, 1);
  for (const unsigned is_changed : changed_rows_) require_state_between("changed_rows", is_changed, 0, 1);
  require_state(tv_format_ == like.tv_format_, "the television format must be that of the ROM");
  require_state(height_ == like.height_, "the height of pictures must be that of the ROM");
  const auto validate_state = [&](const MachineState& state, bool is_in_frame) {
    require_state_flag("tia.was_reset_in_frame", state.tia.was_reset_in_frame);  // the window depends on it
    rndfast::validate(state, board, window(board, state), tv_format_, is_in_frame);
  };
  require_state_flag("is_partial", state_.is_partial);
  validate_state(state_, state_.is_partial);
  for (unsigned buffer = 0; buffer < 2; ++buffer) {  // that of a picture which is there is not used any more
    if (!has_picture_[buffer]) validate_state(frame_start_[buffer], true);
  }
}

void Atari2600::set_controls(const Board& board, const Controls& controls) {
  Inputs& inputs = state_.inputs;
  const Wiring& wiring = board.wiring;
  std::uint8_t port_pins[2] = {0x0F, 0x0F};  // bit i is pin i + 1, 0 when pressed; left and right port
  bool port_fire[2] = {};
  std::fill(std::begin(inputs.charge_cycles), std::end(inputs.charge_cycles), kNoPaddle);
  for (unsigned device = 0; device < 2; ++device) {  // 0: the left one, which the player holds
    const unsigned port = device ^ (wiring.swaps_ports ? 1U : 0U);
    const bool is_player = device == 0;
    if ((device == 0 ? wiring.left : wiring.right) == Controller::kJoystick) {
      if (!is_player) continue;
      port_pins[port] = pins(controls.up, controls.down, controls.left, controls.right);
      port_fire[port] = controls.fire;
    } else {
      // paddle 0 of the pair is at pins 9 and 4, paddle 1 at pins 5 and 3, unless exchanged
      const unsigned first = wiring.swaps_paddles ? 1 : 0;
      for (unsigned paddle = 0; paddle < 2; ++paddle) {
        inputs.charge_cycles[2 * port + (paddle ^ first)] =
            is_player ? tia::charge_cycles(controls.resistance[paddle]) : 0;
      }
      const bool fire = is_player && controls.fire;
      port_pins[port] = pins(false, false, fire && first == 1, fire && first == 0);
    }
  }
  inputs.swcha = static_cast<std::uint8_t>(port_pins[0] << 4 | port_pins[1]);
  inputs.inpt4 = port_fire[0] ? 0 : 0x80;
  inputs.inpt5 = port_fire[1] ? 0 : 0x80;
  inputs.swchb = static_cast<std::uint8_t>(0x3C | (controls.reset ? 0 : 1) | (controls.select ? 0 : 2) |
                                           (controls.difficulty & 3) << 6);
}

void Atari2600::begin_frame(const Board& board) {
  buffer_ ^= 1;
  rebase(state_.cycle - state_.cycle % kCyclesPerLine);
  state_.frame_start_cycle = state_.cycle;
  tia::begin_frame(state_.tia, {board.first_line, height_});
  if (tv_format_ == TvFormat::kPal) tia::set_color_loss(state_.tia, state_.num_lines % 2 != 0);
}

/// Counts the time from `cycles` later on.
void Atari2600::rebase(std::int32_t cycles) {
  riot::rebase(state_.riot, cycles);
  tia::rebase(state_.tia, cycles);
  state_.cartridge.dpc.music_cycle -= cycles;
  state_.cycle -= cycles;
  state_.frame_start_cycle -= cycles;
}

void Atari2600::run_frame(const Board& board, const std::uint8_t* shades, bool wants_picture) {
  bool must_be_literal = state_.is_partial;
  if (!state_.is_partial) {
    begin_frame(board);
    const bool lacks_older_picture = !has_picture_[buffer_];
    const MachineState older_frame_start = frame_start_[buffer_];
    state_.is_partial = true;
    frame_start_[buffer_] = state_;
    has_picture_[buffer_] = wants_picture;
    auto running = machine(board, state_, shades, wants_picture ? easel() : nullptr, false);
    run_cpu(running, kMaxInstructionsPerFrame);
    if (!state_.tia.frame_has_ended || !tia::is_picture_finished(state_.tia, running.window)) {
      // what this frame has not drawn shows an older picture: make that, and then run this frame again
      state_ = frame_start_[buffer_];
      if (lacks_older_picture) {
        frame_start_[buffer_] = older_frame_start;
        run_again(board, shades, buffer_);
        frame_start_[buffer_] = state_;
      }
      must_be_literal = true;
    } else if (wants_picture) {
      keep_picture(board, running.window.height);
    }
  }
  if (must_be_literal) {
    // an even number of lines, as the next frame may ask whether there were; the picture was finished long ago
    if (state_.cycle > kMaxCycle) rebase(kMaxCycle / 2 / (2 * kCyclesPerLine) * (2 * kCyclesPerLine));
    auto running = machine(board, state_, shades, pictures_[buffer_], true);
    run_cpu(running, kMaxInstructionsPerFrame);
    has_picture_[buffer_] = true;
    set_changed(true);
  }
  if (state_.tia.frame_has_ended) {
    state_.num_lines = line();
    state_.is_greyed = false;
    state_.is_partial = false;
  } else if (!state_.is_greyed) {
    grey_rest(board, shades, line());
    state_.is_greyed = true;
  }
}

/// Takes the picture of a whole frame from where it was drawn.
void Atari2600::keep_picture(const Board& board, std::int32_t height) {
  const auto num_rows = static_cast<std::size_t>(std::min(height, std::int32_t{kMaxScreenHeight}));
  copy_changed_for(board.simd_level)(easel(), num_rows, pictures_[buffer_], changed_rows_);
}

void Atari2600::run_again(const Board& board, const std::uint8_t* shades, unsigned buffer) {
  MachineState state = frame_start_[buffer];
  auto running = machine(board, state, shades, pictures_[buffer], false);
  run_cpu(running, kMaxInstructionsPerFrame);
  has_picture_[buffer] = true;
  set_changed(true);
}

const std::uint8_t* Atari2600::picture(const Board& board, const std::uint8_t* shades, unsigned frames_ago) {
  const unsigned buffer = buffer_ ^ frames_ago;
  if (!has_picture_[buffer]) run_again(board, shades, buffer);
  return pictures_[buffer];
}

void Atari2600::grey_rest(const Board& board, const std::uint8_t* shades, std::int32_t from_line) {
  std::array<std::uint8_t, 256> color_of{};  // where several colours share a shade, the first one
  for (unsigned color = 256; color-- > 0;) color_of[shades[color]] = static_cast<std::uint8_t>(color);
  const std::int32_t first = std::max(from_line, board.first_line) - board.first_line;
  for (std::int32_t i = first * kScreenWidth; i < height_ * kScreenWidth; ++i) {
    std::uint8_t& pixel = pictures_[buffer_][i];
    pixel = shades[(color_of[pixel] & 0x0F) >> 1];
  }
}

}  // namespace rndfast
