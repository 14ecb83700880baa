// SPDX-License-Identifier: MIT
#include "rndfast/console/tia.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "rndfast/console/tia/beam.hpp"
#include "rndfast/console/tia/collisions.hpp"
#include "rndfast/console/tia/delays.hpp"
#include "rndfast/console/tia/motion.hpp"
#include "rndfast/console/tia/objects.hpp"
#include "rndfast/console/tia/paddles.hpp"
#include "rndfast/console/tia/segment.hpp"

namespace rndfast::tia {
namespace {

// What is always inlined here gets a constant register's objects, and shrinks accordingly.

[[gnu::always_inline]] inline void update_enabled(Tia& tia, unsigned objects) {
  unsigned enabled = tia.enabled & ~objects;
#pragma GCC unroll 6
  for (unsigned object = 0; object < kNumTiaObjects; ++object) {
    if ((objects >> object & 1) != 0) enabled |= (is_enabled(tia, object) ? 1U : 0U) << object;
  }
  tia.enabled = static_cast<std::uint8_t>(enabled);
}

/// Sets a register that shapes `objects`, from `clock` on.
[[gnu::always_inline]] inline void set_register(Machine& machine, std::uint8_t& target, unsigned value,
                                                unsigned objects, std::int32_t clock) {
  if (target == value) return;
  settle(machine, objects, arrive(machine, clock));
  target = static_cast<std::uint8_t>(value);
  update_enabled(machine.state.tia, objects);
}

/// Sets a byte of the playfield, from `clock` on.
[[gnu::always_inline]] inline void write_pf(Machine& machine, unsigned index, unsigned value, std::int32_t clock) {
  constexpr unsigned kBit = 1U << kPF;
  Tia& tia = machine.state.tia;
  if (tia.pf[index] == value) return;
  settle(machine, kBit, arrive(machine, clock));
  tia.pf[index] = static_cast<std::uint8_t>(value);
  if ((index == 0 ? value & 0xF0 : value) != 0) {
    tia.enabled |= kBit;
  } else {
    update_enabled(tia, kBit);
  }
}

/// Sets a register that colours the picture, from `clock` on.
void set_color(Machine& machine, unsigned index, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  value = (value & 0xFE) | (tia.color_loss_bit ? 1U : 0U);
  if (tia.colu[index] == value) return;
  const std::int32_t column = arrive(machine, clock);
  if (machine.picture != nullptr) draw_segment(machine, column);
  tia.same_as_above = false;
  tia.colu[index] = static_cast<std::uint8_t>(value);
}

void write_ctrlpf(Machine& machine, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const bool is_reflected = (value & kReflect) != 0;
  const bool acts_now = clock % kClocksPerLine < kReflectionLatchClock;
  if (tia.ctrlpf == value && (!acts_now || tia.pf_is_reflected == is_reflected)) return;
  const std::int32_t column = arrive(machine, clock);
  if (machine.picture != nullptr) draw_segment(machine, column);
  unsigned objects = 0;
  if (((tia.ctrlpf ^ value) & 0x30) != 0) objects |= 1U << kBL;
  if (acts_now && tia.pf_is_reflected != is_reflected) objects |= 1U << kPF;
  settle(machine, objects, column);
  tia.ctrlpf = static_cast<std::uint8_t>(value);
  if (acts_now) tia.pf_is_reflected = is_reflected;
  tia.changes_at_line_end = true;
}

void write_nusiz(Machine& machine, unsigned player, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const bool restores_m0 = player == 0 && has_star_effects(tia);
  if (tia.nusiz[player] == value && !tia.first_copy_is_hidden[player] && !restores_m0) return;
  settle(machine, 1U << player | 1U << (kM0 + player), arrive(machine, clock + kNusizDelay));
  tia.drawn_clock = clock + kNusizDelay;
  tia.nusiz[player] = static_cast<std::uint8_t>(value);
  tia.first_copy_is_hidden[player] = false;
  if (player == 0) tia.m0_variant = kM0Normal;
}

[[gnu::always_inline]] inline void write_grp(Machine& machine, unsigned player, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const unsigned other = 1 - player;
  const bool moves_ball = player == 1 && tia.delayed_enabl != tia.enabl;
  if (tia.grp[player] == value && tia.delayed_grp[other] == tia.grp[other] && !moves_ball) return;
  const bool is_delayed = (tia.vdelp[player] & 1) != 0;
  const bool other_is_delayed = (tia.vdelp[other] & 1) != 0;
  unsigned objects = 0;
  if (!is_delayed && tia.grp[player] != value) objects |= 1U << player;
  if (other_is_delayed && tia.delayed_grp[other] != tia.grp[other]) objects |= 1U << other;
  if (moves_ball && (tia.vdelbl & 1) != 0) objects |= 1U << kBL;
  if (objects != 0) settle(machine, objects, arrive(machine, clock + kGrpDelay));
  tia.grp[player] = static_cast<std::uint8_t>(value);
  tia.delayed_grp[other] = tia.grp[other];
  if (player == 1) tia.delayed_enabl = tia.enabl;
  if (objects == 0) return;
  update_enabled(tia, 1U << kP0 | 1U << kP1);
  if (moves_ball) update_enabled(tia, 1U << kBL);
}

void write_resp(Machine& machine, unsigned player, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  std::int32_t column = arrive(machine, clock);
  const PlayerStrobe strobe = strobe_player(tia.position[player], tia.nusiz[player], clock % kClocksPerLine);
  if (strobe.is_within_old_one) {
    const std::int32_t effect = clock + kRespDelayWithinPlayer;
    column = arrive(machine, effect);
    if (machine.is_literal) draw_literally(machine, effect);
    tia.drawn_clock = std::max(tia.drawn_clock, effect);
  }
  if (tia.position[player] == strobe.position && tia.first_copy_is_hidden[player] == strobe.hides_first_copy) return;
  settle(machine, 1U << player, column);
  tia.position[player] = static_cast<std::uint8_t>(strobe.position);
  tia.first_copy_is_hidden[player] = strobe.hides_first_copy;
  tia.changes_at_line_end = true;
  tia.no_effect[NUSIZ0 + player] = Tia::kNone;  // it shows the first copy again
}

/// RESM0, RESM1 and RESBL.
void write_resm(Machine& machine, unsigned object, std::int32_t clock, std::int32_t delay) {
  Tia& tia = machine.state.tia;
  const std::int32_t position = strobed_position(object, clock % kClocksPerLine, clock - tia.hmove_clock);
  const bool restores_m0 = object == kM0 && has_star_effects(tia);
  if (tia.position[object] == position && !restores_m0) return;
  settle(machine, 1U << object, arrive(machine, clock + delay));
  if (delay != 0) tia.drawn_clock = std::max(tia.drawn_clock, clock + delay);
  tia.position[object] = static_cast<std::uint8_t>(position);
  if (object == kM0) tia.m0_variant = kM0Normal;
}

void write_resmp(Machine& machine, unsigned missile, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const bool was_locked = (tia.resmp[missile] & 2) != 0;
  const bool is_locked = (value & 2) != 0;
  if (was_locked == is_locked) {
    tia.resmp[missile] = static_cast<std::uint8_t>(value);
    return;
  }
  settle(machine, 1U << (kM0 + missile), arrive(machine, clock));
  if (was_locked) {
    const int position = (tia.position[missile] + missile_offset(tia.nusiz[missile])) % kScreenWidth;
    tia.position[kM0 + missile] = static_cast<std::uint8_t>(position);
    if (missile == 0) tia.m0_variant = kM0Normal;
  }
  tia.resmp[missile] = static_cast<std::uint8_t>(value);
  update_enabled(tia, 1U << (kM0 + missile));
}

/// HMOVE at cycle `cycle` of a line, for objects that it may move.
[[gnu::noinline]] void move(Machine& machine, unsigned objects, unsigned cycle, std::int32_t column) {
  Tia& tia = machine.state.tia;
  unsigned changed = tia.m0_variant != kM0Normal ? 1U << kM0 : 0;
  changed |= (tia.first_copy_is_hidden[0] ? 1U << kP0 : 0) | (tia.first_copy_is_hidden[1] ? 1U << kP1 : 0);
  if (changed != 0) settle(machine, changed, column);
  for (unsigned rest = objects; rest != 0; rest &= rest - 1) {
    const auto object = static_cast<unsigned>(std::countr_zero(rest));
    const std::uint8_t position = moved_position(tia.position[object], cycle, tia.motion[object]);
    if (position == tia.position[object]) continue;
    settle(machine, 1U << object, column);
    tia.position[object] = position;
  }
  tia.first_copy_is_hidden[0] = tia.first_copy_is_hidden[1] = false;
  tia.m0_variant = kM0Normal;
  tia.star_motion = false;
}

/// HMOVE at `cycle`.
void write_hmove(Machine& machine, std::int32_t cycle) {
  Tia& tia = machine.state.tia;
  const std::int32_t column = arrive(machine, 3 * cycle);
  const unsigned cycle_of_line = static_cast<unsigned>(cycle) % kCyclesPerLine;
  const unsigned objects = is_regular_hmove(cycle_of_line) ? tia.moving : kMovable;
  // hidden copies and stars, which HMOVE ends, would change at the line's end, too
  if (objects != 0 || tia.changes_at_line_end) move(machine, objects, cycle_of_line, column);
  tia.hmove_clock = 3 * cycle;
  if (machine.allows_hmove_blanks && hmove_blanks(cycle_of_line)) {
    // the blank is for the next columns 0 .. 7, not for those passed
    if (column > 0) draw_segment(machine, column);
    tia.hmove_blanks_next_pixels = true;
  }
}

void write_vsync(Machine& machine, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  tia.vsync = static_cast<std::uint8_t>(value);
  if ((value & 2) != 0) {
    tia.vsync_finish_clock = clock + kClocksPerLine;
  } else if (clock >= tia.vsync_finish_clock) {
    draw_segment(machine, arrive(machine, clock));
    tia.frame_has_ended = true;
    tia.vsync_finish_clock = std::numeric_limits<std::int32_t>::max();
  }
}

void write_vblank(Machine& machine, unsigned value, std::int32_t cycle) {
  Tia& tia = machine.state.tia;
  if (((tia.vblank ^ value) & 2) != 0) {
    draw_segment(machine, arrive(machine, 3 * cycle + kVblankDelay));
    tia.same_as_above = false;
  }
  ground_capacitors(tia, value, cycle);
  tia.vblank = static_cast<std::uint8_t>(value);
}

void clear_collisions(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  if (tia.collisions == 0 && open_latches(tia) == 0) return;
  draw_segment(machine, arrive(machine, clock));
  tia.same_as_above = false;
  tia.collisions = 0;
}

/// After a write, says which values may be written next without an effect.
inline void note_no_effect(Tia& tia, unsigned address, unsigned value) {
  const auto byte = static_cast<std::int16_t>(value);
  switch (address) {
    case NUSIZ0:
      tia.no_effect[address] = tia.star_motion ? Tia::kNone : byte;
      break;
    case CTRLPF:
      tia.no_effect[address] = tia.pf_is_reflected == ((value & kReflect) != 0) ? byte : Tia::kNone;
      break;
    case HMCLR:
      std::fill(&tia.no_effect[HMP0], &tia.no_effect[HMBL] + 1, std::int16_t{0});
      break;
    case GRP0:  // has moved GRP1; what GRP1 moves may have changed
    case ENABL: {
      tia.no_effect[address] = byte;
      const bool grp1_moves = tia.delayed_grp[0] != tia.grp[0] || tia.delayed_enabl != tia.enabl;
      tia.no_effect[GRP1] = grp1_moves ? Tia::kNone : std::int16_t{tia.grp[1]};
      break;
    }
    case GRP1:  // has moved GRP0 and ENABL; what GRP0 moves may have changed
      tia.no_effect[address] = byte;
      tia.no_effect[GRP0] = tia.delayed_grp[1] != tia.grp[1] ? Tia::kNone : std::int16_t{tia.grp[0]};
      break;
    case VSYNC:
    case WSYNC:
    case RESP0:
    case RESP1:
    case RESM0:
    case RESM1:
    case RESBL:
    case HMOVE:
    case CXCLR:
      break;
    default:
      tia.no_effect[address] = byte;
      break;
  }
}

/// Before a write in a frame that is drawn literally, or is too long.
[[gnu::noinline, gnu::cold]] void prepare(Machine& machine, unsigned address, std::int32_t cycle) {
  Tia& tia = machine.state.tia;
  if (machine.is_literal) draw_literally(machine, 3 * cycle + delay_of(address, cycle));
  if (cycle < tia.last_line_cycle) return;
  advance(machine, 3 * cycle);
  tia.frame_has_ended = true;
}

[[gnu::always_inline]] inline std::int32_t write_at(Machine& machine, unsigned address, unsigned value,
                                                    std::int32_t cycle) {
  Tia& tia = machine.state.tia;
  const std::int32_t clock = 3 * cycle;
  if (machine.is_literal || cycle >= tia.last_line_cycle) [[unlikely]]
    prepare(machine, address, cycle);
  switch (address) {
    case VSYNC:
      write_vsync(machine, value, clock);
      break;
    case VBLANK:
      write_vblank(machine, value, cycle);
      break;
    case WSYNC: {
      const std::int32_t phase = cycle % kCyclesPerLine;
      if (phase != 0) cycle += kCyclesPerLine - phase;
      break;
    }
    case NUSIZ0:
    case NUSIZ1:
      write_nusiz(machine, address - NUSIZ0, value, clock);
      break;
    case COLUP0:
    case COLUP1:
    case COLUPF:
    case COLUBK:
      set_color(machine, address - COLUP0, value, clock);
      break;
    case CTRLPF:
      write_ctrlpf(machine, value, clock);
      break;
    case REFP0:
    case REFP1:
      set_register(machine, tia.refp[address - REFP0], value & 8, 1U << (address - REFP0), clock + kRefpDelay);
      break;
    case PF0:
    case PF1:
    case PF2:
      write_pf(machine, address - PF0, value, clock + pf_delay(cycle));
      break;
    case RESP0:
    case RESP1:
      write_resp(machine, address - RESP0, clock);
      break;
    case RESM0:
    case RESM1:
      write_resm(machine, kM0 + address - RESM0, clock, kResmDelay);
      break;
    case RESBL:
      write_resm(machine, kBL, clock, 0);
      break;
    case GRP0:
    case GRP1:
      write_grp(machine, address - GRP0, value, clock);
      break;
    case ENAM0:
    case ENAM1:
      set_register(machine, tia.enam[address - ENAM0], value & 2, 1U << (kM0 + address - ENAM0), clock);
      break;
    case ENABL:
      set_register(machine, tia.enabl, value & 2, (tia.vdelbl & 1) != 0 ? 0 : 1U << kBL, clock);
      break;
    case HMM0:
      if (arms_stars(tia, value >> 4, clock)) {
        arrive(machine, clock);  // lines that have ended are not affected
        tia.star_motion = true;
        tia.star_counter = 0;
        tia.changes_at_line_end = true;
        tia.no_effect[NUSIZ0] = Tia::kNone;
      }
      [[fallthrough]];
    case HMP0:
    case HMP1:
    case HMM1:
    case HMBL:
      set_motion(tia, address - HMP0, value >> 4);
      break;
    case VDELP0:
    case VDELP1:
      set_register(machine, tia.vdelp[address - VDELP0], value & 1, 1U << (address - VDELP0), clock);
      break;
    case VDELBL:
      set_register(machine, tia.vdelbl, value & 1, 1U << kBL, clock);
      break;
    case RESMP0:
    case RESMP1:
      write_resmp(machine, address - RESMP0, value, clock);
      break;
    case HMOVE:
      write_hmove(machine, cycle);
      break;
    case HMCLR:
      std::fill(std::begin(tia.motion), std::end(tia.motion), std::uint8_t{0});
      tia.moving = 0;
      break;
    case CXCLR:
      clear_collisions(machine, clock);
      break;
    default:  // audio, RSYNC and addresses without a register
      break;
  }
  note_no_effect(tia, address, value);
  return cycle;
}

/// One function per register: each has little to do.
template <unsigned kAddress>
std::int32_t write_register(Machine& machine, unsigned value, std::int32_t cycle) {
  return write_at(machine, kAddress, value, cycle);
}

}  // namespace

const std::array<WriteFunction, kNumWriteAddresses> kWriteFunctions =
    []<unsigned... kAddresses>(std::integer_sequence<unsigned, kAddresses...>) noexcept {
      return std::array<WriteFunction, kNumWriteAddresses>{&write_register<kAddresses>...};
    }(std::make_integer_sequence<unsigned, kNumWriteAddresses>());

std::int32_t write_delay(unsigned address, std::int32_t cycle) { return delay_of(address & 0x3F, cycle); }

namespace {

/// Reads a pair of collision latches, once those are found that the beam has passed.
[[gnu::noinline]] unsigned read_latches(Machine& machine, unsigned address, std::int32_t cycle) {
  const Tia& tia = machine.state.tia;
  const unsigned shift = 2 * address;
  if ((open_latches(tia) >> shift & 3) != 0) draw_segment(machine, arrive(machine, 3 * cycle));
  const unsigned latches = tia.collisions >> shift;
  return (latches & 1) << 7 | (latches & 2) << 5;
}

/// The bits that the chip drives. Programs read paddles hundreds of times in a frame: that calls nothing here, so that
/// no registers need be saved.
inline unsigned driven_bits(Machine& machine, unsigned address, std::int32_t cycle) {
  const Inputs& inputs = machine.state.inputs;
  if (address <= CXPPMM) return read_latches(machine, address, cycle);
  if (address <= INPT3) return is_charged(machine.state, address - INPT0, cycle) ? 0x80 : 0;
  if (address == INPT4) return inputs.inpt4;
  return address == INPT5 ? inputs.inpt5 : 0;
}

[[gnu::noinline, gnu::cold]] unsigned read_literally(Machine& machine, unsigned address, std::int32_t cycle) {
  draw_literally(machine, 3 * cycle);
  return driven_bits(machine, address, cycle);
}

}  // namespace

unsigned read(Machine& machine, unsigned address, std::int32_t cycle, unsigned bus) {
  address &= 0x0F;
  const unsigned driven =
      machine.is_literal ? read_literally(machine, address, cycle) : driven_bits(machine, address, cycle);
  return driven | (bus & 0x3F);
}

void reset(Tia& tia, std::int32_t max_lines) {
  tia = {};
  tia.stale = kAllObjects;
  std::fill(std::begin(tia.no_effect), std::end(tia.no_effect), Tia::kNone);
  tia.vsync_finish_clock = std::numeric_limits<std::int32_t>::max();
  tia.last_line_cycle = last_line_cycle(max_lines);
}

void begin_frame(Tia& tia, const Window& window) {
  tia.frame_has_ended = false;
  tia.was_reset_in_frame = false;
  tia.row = 0;
  tia.line_clock = kClocksPerLine * window.first_line;
  set_line_end(tia, window);
  tia.drawn_clock = tia.line_clock;
  tia.segment_from = 0;
  tia.same_as_above = false;
  uncut(tia);
}

void restart_frame(Tia& tia) {
  tia.was_reset_in_frame = true;
  tia.line_clock = kNever;
  tia.line_end = std::numeric_limits<std::int32_t>::max();
}

void rebase(Tia& tia, std::int32_t cycles) {
  const auto shift = [](std::int32_t& time, std::int32_t by) {
    time = static_cast<std::int32_t>(static_cast<std::uint32_t>(time) - static_cast<std::uint32_t>(by));
  };
  shift(tia.dump_end_cycle, cycles);
  shift(tia.vsync_finish_clock, 3 * cycles);
  shift(tia.hmove_clock, 3 * cycles);
}

void set_color_loss(Tia& tia, bool bit) {
  tia.color_loss_bit = bit;
  for (auto& color : tia.colu) color = static_cast<std::uint8_t>((color & 0xFE) | (bit ? 1 : 0));
}

bool is_picture_finished(const Tia& tia, const Window& window) { return tia.row == window.height; }

}  // namespace rndfast::tia
