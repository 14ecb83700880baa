// SPDX-License-Identifier: MIT
// Everything that an Atari 2600 remembers, as plain data: no pointers, no invariants hidden in constructors. Copying
// the bytes copies the console.
//
// Time is counted in CPU cycles of 1/1193191.67 s since the line in which the present frame began; a TIA colour clock
// is a third of a cycle, a scanline 76 cycles or 228 clocks, of which the first 68 are blank.
#pragma once

#include <cstdint>
#include <type_traits>

namespace rndfast {

inline constexpr int kCyclesPerLine = 76;
inline constexpr int kClocksPerLine = 228;
inline constexpr int kBlankClocks = 68;
inline constexpr int kScreenWidth = 160;
inline constexpr int kMaxScreenHeight = 250;
inline constexpr int kRamBytes = 128;

/// One bit per pixel of a line; bit i of words[0] is column i. The bits from column 160 on are 0: there are that many
/// so that a mask can be worked on as one vector.
struct PixelMask {
  std::uint64_t words[4];
};

/// 6507 registers. N is set if bit 7 or 15 of `nz` is, Z if its low byte is 0; the other flags are 0 or 1.
struct Cpu {
  std::uint16_t pc;
  std::uint16_t nz;
  std::uint8_t a, x, y, sp;
  std::uint8_t c, v, d, i;
  std::uint8_t bus;  // the last byte on the data bus, where it matters: before code that is not in the cartridge
  bool is_jammed;    // an illegal opcode stops the processor until a reset
};

/// 6532: timer and ports; its RAM is MachineState::ram.
struct Riot {
  std::int32_t timer;            // as last written
  std::int32_t set_cycle;        // when
  std::int32_t interrupt_cycle;  // when the expired timer was first read
  std::uint8_t shift;            // log2 of the cycles per count
  bool is_read_after_interrupt;
  std::uint8_t swacnt;  // data direction of port A
};

/// What is plugged in and pressed, as the chips see it.
struct Inputs {
  std::uint8_t swcha;             // joysticks, 0 where pressed
  std::uint8_t swchb;             // console switches
  std::uint8_t inpt4, inpt5;      // fire buttons: 0x80, or 0 where pressed
  std::int32_t charge_cycles[4];  // of the paddles' capacitors at INPT0 .. INPT3; 0: charged at once; kNoPaddle: never
};
inline constexpr std::int32_t kNoPaddle = 0x7FFFFFFF;

/// The television interface adaptor's graphics objects, in the order of MachineState arrays.
enum TiaObject { kP0, kP1, kM0, kM1, kBL, kPF, kNumTiaObjects };

struct Tia {
  // registers, by their datasheet names
  std::uint8_t vsync, vblank, ctrlpf;
  std::uint8_t nusiz[2], refp[2], vdelp[2], resmp[2], enam[2];
  std::uint8_t grp[2], delayed_grp[2];
  std::uint8_t enabl, delayed_enabl, vdelbl;
  std::uint8_t pf[3];
  std::uint8_t colu[4];    // COLUP0, COLUP1, COLUPF, COLUBK
  std::uint8_t motion[5];  // high nibbles of HMP0, HMP1, HMM0, HMM1, HMBL
  std::uint8_t position[5];
  std::uint8_t moving;  // bit per object: `motion` is not 0

  // what the registers leave open
  bool pf_is_reflected;          // as in use; follows CTRLPF, at times only at the end of the line
  bool first_copy_is_hidden[2];  // of a player, after RESP0 or RESP1, until the end of the line
  std::uint8_t m0_variant;       // M0Variant
  bool star_motion;              // the "Cosmic Ark" effect is armed
  std::uint8_t star_counter;
  bool hmove_blanks_next_pixels;  // the next columns 0 .. 7 to be drawn will be black
  bool is_dumping;                // the paddles' capacitors are grounded
  bool frame_has_ended;
  bool color_loss_bit;              // PAL: colour registers have bit 0 set in this frame
  std::uint16_t collisions;         // bit 2r is bit 7 of read register r, bit 2r + 1 its bit 6
  std::int32_t dump_end_cycle;      // when the capacitors began to charge
  std::int32_t vsync_finish_clock;  // VSYNC must be held until here to end the frame
  std::int32_t hmove_clock;         // of the last HMOVE
  std::int32_t last_line_cycle;     // a write after this cycle ends a frame that is too long

  std::int16_t no_effect[64];  // by register: a value that changes nothing if it is written now, or kNone
  static constexpr std::int16_t kNone = -1;

  // drawing, see tia.hpp
  std::int32_t line_clock;    // clock at which the line being drawn began
  std::int32_t line_end;      // a change after this clock belongs to a later line
  std::int32_t drawn_clock;   // no change takes effect before this clock
  std::int32_t row;           // of the picture
  bool was_reset_in_frame;    // the picture then begins with line 0
  std::int32_t segment_from;  // the first column that is neither in the picture nor checked for collisions
  bool same_as_above;         // nothing has changed since the row above was drawn
  bool changes_at_line_end;   // an object, as far as is known now
  bool above_has_blanks;      // columns 0 .. 7 of the row above are black because of an HMOVE
  std::uint8_t enabled;       // bit per object: its registers let it show somewhere
  std::uint8_t stale;         // bit per object: `shape` must be rebuilt from the registers, from `shape_from` on
  std::uint8_t cut;           // bit per object: `shape_from` is not 0
  std::uint8_t was_enabled;   // bit per object: it was when the beam was to the left of `shape_from`
  std::int32_t shape_from[kNumTiaObjects];  // the column from which on the registers hold as they are now
  PixelMask shape[kNumTiaObjects];          // what the object covers of the line being drawn
};

/// Bank switching, and what else is on the cartridge board.
struct CartridgeState {
  std::uint16_t bank_offset[16];  // ROM offset of each KiB of addresses 0x0000 .. 0x3FFF; see Cartridge
  std::uint8_t ram[128];          // Superchip
  struct {
    std::uint8_t top[8], bottom[8], flag[8];
    std::uint16_t counter[8];
    bool is_music[8];
    std::uint8_t random;
    std::int32_t music_cycle;
    double music_fraction;
  } dpc;
};

struct MachineState {
  Cpu cpu;
  std::int32_t cycle;              // since the line in which the frame began
  std::int32_t frame_start_cycle;  // when in that line the frame began
  std::int32_t num_lines;          // of the frame that ended last
  std::uint8_t ram[kRamBytes];
  Riot riot;
  Inputs inputs;
  Tia tia;
  CartridgeState cartridge;
  bool is_partial;  // the frame goes on in the next call
  bool is_greyed;   // and the rest of its picture has been greyed
};

static_assert(std::is_trivially_copyable_v<MachineState>);

}  // namespace rndfast
