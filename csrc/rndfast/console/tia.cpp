// SPDX-License-Identifier: MIT
#include "rndfast/console/tia.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace rndfast::tia {
namespace {

__extension__ using Uint128 = unsigned __int128;

constexpr std::int32_t kNever = 0x40000000;
constexpr unsigned kMovable = (1U << kPF) - 1;
constexpr unsigned kAllObjects = (1U << kNumTiaObjects) - 1;

enum CtrlpfBits : unsigned { kReflect = 1, kScore = 2, kPriority = 4 };

/// How the end-of-line motion of the "Cosmic Ark" stars changes missile 0.
enum M0Variant : std::uint8_t { kM0Normal, kM0Wide, kM0Absent };

// --- masks ---

constexpr std::array<std::uint8_t, 256> kReversed = [] {
  std::array<std::uint8_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) table[byte] |= static_cast<std::uint8_t>(((byte >> bit) & 1) << (7 - bit));
  }
  return table;
}();

/// Each bit of a byte, repeated.
template <typename Word, unsigned kTimes>
constexpr std::array<Word, 256> kStretched = [] {
  std::array<Word, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned bit = 0; bit < 8 * kTimes; ++bit) {
      table[byte] |= static_cast<Word>(std::uint64_t{(byte >> (bit / kTimes)) & 1} << bit);
    }
  }
  return table;
}();

/// Columns [column, 160).
constexpr std::array<PixelMask, kScreenWidth + 1> kFrom = [] {
  std::array<PixelMask, kScreenWidth + 1> table{};
  for (unsigned column = 0; column <= kScreenWidth; ++column) {
    for (unsigned i = column; i < kScreenWidth; ++i) table[column].words[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  return table;
}();

constexpr PixelMask kLeftHalf = {{~kFrom[80].words[0], kFrom[0].words[1] & ~kFrom[80].words[1], 0}};

template <typename Operation, typename... Masks>
inline PixelMask map(Operation operation, const Masks&... masks) {
  return {{operation(masks.words[0]...), operation(masks.words[1]...), operation(masks.words[2]...)}};
}

inline PixelMask operator|(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x | y; }, a, b);
}
inline PixelMask operator&(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x & y; }, a, b);
}
inline PixelMask without(const PixelMask& a, const PixelMask& b) {
  return map([](auto x, auto y) { return x & ~y; }, a, b);
}
inline bool intersect(const PixelMask& a, const PixelMask& b) {
  return ((a.words[0] & b.words[0]) | (a.words[1] & b.words[1]) | (a.words[2] & b.words[2])) != 0;
}

/// Adds `bits`, up to 64 - 7 columns wide, at `column` < 160, going round at the right edge.
inline void add(PixelMask& mask, std::uint64_t bits, unsigned column) {
  std::uint64_t words[4] = {};
  const Uint128 shifted = static_cast<Uint128>(bits) << (column % 64);
  words[column / 64] = static_cast<std::uint64_t>(shifted);
  words[column / 64 + 1] = static_cast<std::uint64_t>(shifted >> 64);
  mask.words[0] |= words[0] | (words[2] >> 32) | (words[3] << 32);
  mask.words[1] |= words[1] | (words[3] >> 32);
  mask.words[2] |= words[2] & 0xFFFFFFFF;
}

// --- shapes ---

/// Adds the copies of `bits` that NUSIZ mode 0 .. 7 asks for.
void add_copies(PixelMask& mask, std::uint64_t bits, unsigned position, unsigned mode, bool first_is_hidden) {
  std::uint64_t near = first_is_hidden ? 0 : bits;
  if (mode == 1 || mode == 3) near |= bits << 16;
  if (mode == 2 || mode == 3 || mode == 6) near |= bits << 32;
  if (near != 0) add(mask, near, position);
  if (mode == 4 || mode == 6) add(mask, bits, (position + 64) % kScreenWidth);
}

unsigned current_graphics(const Tia& tia, unsigned player) {
  return (tia.vdelp[player] & 1) != 0 ? tia.delayed_grp[player] : tia.grp[player];
}

PixelMask player_shape(const Tia& tia, unsigned player, unsigned graphics) {
  const bool is_reflected = (tia.refp[player] & 8) != 0;
  const unsigned pixels = is_reflected ? graphics : kReversed[graphics];
  const unsigned mode = tia.nusiz[player] & 7;
  PixelMask mask{};
  std::uint64_t bits = pixels;
  if (mode == 5) bits = std::uint64_t{kStretched<std::uint16_t, 2>[pixels]} << 1;
  if (mode == 7) bits = std::uint64_t{kStretched<std::uint32_t, 4>[pixels]} << 1;
  add_copies(mask, bits, tia.position[player], mode, tia.first_copy_is_hidden[player]);
  return mask;
}

PixelMask missile_shape(const Tia& tia, unsigned missile) {
  PixelMask mask{};
  unsigned size = (tia.nusiz[missile] >> 4) & 3U;
  if (missile == 0 && tia.m0_variant == kM0Absent) return mask;
  if (missile == 0 && tia.m0_variant == kM0Wide) size |= 1;
  const std::uint64_t bits = (std::uint64_t{1} << (1U << size)) - 1;
  add_copies(mask, bits, tia.position[kM0 + missile], tia.nusiz[missile] & 7, false);
  return mask;
}

PixelMask ball_shape(const Tia& tia) {
  PixelMask mask{};
  add(mask, (std::uint64_t{1} << (1U << ((tia.ctrlpf >> 4) & 3U))) - 1, tia.position[kBL]);
  return mask;
}

PixelMask playfield_shape(const Tia& tia) {
  const auto& stretched = kStretched<std::uint32_t, 4>;
  // the left half's 20 bits from left to right: PF0 from bit 4 up, PF1 from bit 7 down, PF2 from bit 0 up
  const unsigned left = (tia.pf[0] >> 4) | unsigned{kReversed[tia.pf[1]]} << 4 | unsigned{tia.pf[2]} << 12;
  unsigned right = left;
  if (tia.pf_is_reflected) {
    right = unsigned{kReversed[left & 0xFF]} << 12 | unsigned{kReversed[(left >> 8) & 0xFF]} << 4 |
            unsigned{kReversed[left >> 16]} >> 4;
  }
  const std::uint64_t left_low = stretched[left & 0xFF] | std::uint64_t{stretched[(left >> 8) & 0xFF]} << 32;
  const std::uint64_t left_high = stretched[left >> 16];
  const std::uint64_t right_low = stretched[right & 0xFF] | std::uint64_t{stretched[(right >> 8) & 0xFF]} << 32;
  const std::uint64_t right_high = stretched[right >> 16];
  return {{left_low, left_high | right_low << 16, right_low >> 48 | right_high << 16}};
}

PixelMask shape_of(const Tia& tia, unsigned object) {
  switch (object) {
    case kP0:
    case kP1:
      return player_shape(tia, object, current_graphics(tia, object));
    case kM0:
    case kM1:
      return missile_shape(tia, object - kM0);
    case kBL:
      return ball_shape(tia);
    default:
      return playfield_shape(tia);
  }
}

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

// --- collisions ---

struct ObjectPair {
  std::uint8_t first, second;
};

/// By collision latch: bits 7 and 6 of CXM0P, CXM1P, CXP0FB, CXP1FB, CXM0FB, CXM1FB, CXBLPF, CXPPMM.
constexpr std::array<ObjectPair, 16> kPairs = {{{kM0, kP1},
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
constexpr unsigned kUnusedLatch = 13;

/// The latches of all pairs within a set of objects.
constexpr std::array<std::uint16_t, 1U << kNumTiaObjects> kLatchesOf = [] {
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
constexpr std::array<std::uint16_t, kNumTiaObjects> kLatchesWith = [] {
  std::array<std::uint16_t, kNumTiaObjects> table{};
  for (unsigned object = 0; object < kNumTiaObjects; ++object) {
    table[object] = static_cast<std::uint16_t>(kLatchesOf[kAllObjects] & ~kLatchesOf[kAllObjects & ~(1U << object)]);
  }
  return table;
}();

unsigned open_latches(const Tia& tia) { return kLatchesOf[tia.enabled | tia.was_drawn] & ~unsigned{tia.collisions}; }

// --- drawing ---

std::uint8_t* row_of(const Machine& machine) {
  return machine.picture + machine.state.tia.row * std::int64_t{kScreenWidth};
}

bool is_blanked(const Tia& tia) { return (tia.vblank & 2) != 0; }

void rebuild(Tia& tia, unsigned object) {
  tia.shape[object] = (tia.enabled >> object & 1) != 0 ? shape_of(tia, object) : PixelMask{};
  tia.stale &= static_cast<std::uint8_t>(~(1U << object));
}

/// The columns that `object` covers in the present line, as far as they have not been drawn.
PixelMask columns_of(Tia& tia, unsigned object) {
  if ((tia.stale >> object & 1) != 0) rebuild(tia, object);
  if ((tia.cut >> object & 1) == 0) return tia.shape[object];
  const PixelMask rest = tia.shape[object] & kFrom[static_cast<unsigned>(tia.shape_from[object])];
  return (tia.was_drawn >> object & 1) != 0 ? tia.drawn[object] | rest : rest;
}

/// Three disjoint sets of columns, with the colour of each; the background fills the rest.
struct Layers {
  PixelMask columns[3];
  std::uint8_t shades[3];
  std::uint8_t background;
};

/// Writes columns [from, to) of a row.
void paint_by_table(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
  constexpr std::uint64_t kEveryByte = 0x0101010101010101;
  const auto& bytes = kStretched<std::uint64_t, 8>;
  const std::uint64_t background = layers.background * kEveryByte;
  const std::uint64_t change[3] = {(layers.shades[0] * kEveryByte) ^ background,
                                   (layers.shades[1] * kEveryByte) ^ background,
                                   (layers.shades[2] * kEveryByte) ^ background};
  std::uint64_t pixels[kScreenWidth / 8];
  const unsigned first = from / 8;
  const unsigned last = (to + 7) / 8;
  for (unsigned i = first; i < last; ++i) {
    const unsigned word = i / 8;
    const unsigned shift = i % 8 * 8;
    std::uint64_t eight = background;
    for (unsigned layer = 0; layer < 3; ++layer) {
      eight ^= bytes[(layers.columns[layer].words[word] >> shift) & 0xFF] & change[layer];
    }
    pixels[i] = eight;
  }
  if (from == 0 && to == kScreenWidth) {
    std::memcpy(row, pixels, kScreenWidth);
  } else {
    std::memcpy(row + from, reinterpret_cast<const std::uint8_t*>(pixels) + from, to - from);
  }
}

#ifdef RNDFAST_X86_LEVELS

using Bytes32 = std::uint8_t __attribute__((vector_size(32)));
using Words8 = std::uint32_t __attribute__((vector_size(32)));

/// The same for 32 columns at a time, without tables.
RNDFAST_TARGET_AVX2 void paint_by_vector(const Layers& layers, std::uint8_t* row, unsigned from, unsigned to) {
  constexpr Bytes32 kBitOfColumn = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128,
                                    1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  constexpr Bytes32 kColumn = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                               16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
  const Bytes32 background = layers.background - Bytes32{};
  const Bytes32 change[3] = {(layers.shades[0] - Bytes32{}) ^ background, (layers.shades[1] - Bytes32{}) ^ background,
                             (layers.shades[2] - Bytes32{}) ^ background};
  const bool is_whole = from == 0 && to == kScreenWidth;
  const Bytes32 first = static_cast<std::uint8_t>(from) - Bytes32{};
  const Bytes32 end = static_cast<std::uint8_t>(to) - Bytes32{};
  for (unsigned begin = from & ~31U; begin < to; begin += 32) {
    Bytes32 pixels = background;
#pragma GCC unroll 3
    for (unsigned layer = 0; layer < 3; ++layer) {
      const auto bits = static_cast<std::uint32_t>(layers.columns[layer].words[begin / 64] >> (begin % 64));
      const auto copies = reinterpret_cast<Bytes32>(bits - Words8{});
      // to each column its byte of the 32 bits, from the same half of the vector
      const Bytes32 spread = __builtin_shufflevector(copies, copies, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,  //
                                                     18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19, 19, 19, 19);
      pixels ^= reinterpret_cast<Bytes32>((spread & kBitOfColumn) == kBitOfColumn) & change[layer];
    }
    if (!is_whole) {
      Bytes32 present;
      std::memcpy(&present, row + begin, sizeof(present));
      const Bytes32 column = kColumn + static_cast<std::uint8_t>(begin);
      const auto is_within = reinterpret_cast<Bytes32>((column >= first) & (column < end));
      pixels = (pixels & is_within) | (present & ~is_within);
    }
    std::memcpy(row + begin, &pixels, sizeof(pixels));
  }
}

#endif

/// Writes columns [from, to) of a row.
void paint(const Machine& machine, const Layers& layers, std::uint8_t* row, std::int32_t from, std::int32_t to) {
  const auto first = static_cast<unsigned>(from);
  const auto end = static_cast<unsigned>(to);
#ifdef RNDFAST_X86_LEVELS
  if (machine.simd_level != SimdLevel::kBaseline) return paint_by_vector(layers, row, first, end);
#else
  static_cast<void>(machine);
#endif
  paint_by_table(layers, row, first, end);
}

Layers arrange(const Machine& machine, const PixelMask (&objects)[kNumTiaObjects]) {
  const Tia& tia = machine.state.tia;
  const auto shade = [&](unsigned color) { return machine.shades[tia.colu[color]]; };
  Layers layers;
  layers.background = shade(3);
  for (unsigned i = 0; i < 3; ++i) layers.shades[i] = shade(i);
  auto& [first, second, playfield] = layers.columns;
  first = objects[kP0] | objects[kM0];
  second = objects[kP1] | objects[kM1];
  playfield = objects[kPF] | objects[kBL];
  const unsigned only_playfield = 1U << kPF;
  const bool has_priority = (tia.ctrlpf & kPriority) != 0;
  if ((tia.ctrlpf & kScore) != 0 && (!has_priority || tia.enabled == only_playfield)) {
    first = first | (objects[kPF] & kLeftHalf);
    second = second | without(objects[kPF], kLeftHalf);
    playfield = objects[kBL];
  } else if (has_priority) {
    first = without(first, playfield);
    second = without(second, first | playfield);
    return layers;
  }
  second = without(second, first);
  playfield = without(playfield, first | second);
  return layers;
}

/// Draws the line's columns up to `to` with the state as it is, and finds their collisions.
void draw_segment(Machine& machine, std::int32_t to) {
  Tia& tia = machine.state.tia;
  const std::int32_t from = tia.segment_from;
  if (to <= from) return;
  tia.segment_from = to;

  if (!is_blanked(tia)) {
    unsigned latches = open_latches(tia);
    if (latches != 0 || machine.picture != nullptr) {
      PixelMask objects[kNumTiaObjects] = {};
      for (unsigned rest = tia.enabled | tia.was_drawn; rest != 0; rest &= rest - 1) {
        const auto object = static_cast<unsigned>(std::countr_zero(rest));
        objects[object] = columns_of(tia, object);
      }
      if (latches != 0) {
        const bool is_whole = from == 0 && to == kScreenWidth;
        const PixelMask window = without(kFrom[static_cast<unsigned>(from)], kFrom[static_cast<unsigned>(to)]);
        for (; latches != 0; latches &= latches - 1) {
          const auto latch = static_cast<unsigned>(std::countr_zero(latches));
          const auto [first, second] = kPairs[latch];
          const bool collide = is_whole ? intersect(objects[first], objects[second])
                                        : intersect(objects[first] & window, objects[second]);
          tia.collisions |= static_cast<std::uint16_t>(collide << latch);
        }
      }
      if (machine.picture != nullptr) {
        paint(machine, arrange(machine, objects), row_of(machine), from, to);
      }
    }
  } else if (machine.picture != nullptr) {
    std::memset(row_of(machine) + from, machine.shades[0], static_cast<std::size_t>(to - from));
  }

  if (tia.hmove_blanks_next_pixels && from < 8) {
    if (machine.picture != nullptr) {
      std::memset(row_of(machine) + from, machine.shades[0], static_cast<std::size_t>(8 - from));
    }
    if (to >= 8) tia.hmove_blanks_next_pixels = false;
  }
}

void mark_stale(Tia& tia, unsigned objects) { tia.stale |= static_cast<std::uint8_t>(objects); }

/// The effect that the end of a visible line has on the objects. Returns whether anything changed.
bool end_line(Tia& tia) {
  unsigned changed = 0;
  if (tia.pf_is_reflected != ((tia.ctrlpf & kReflect) != 0)) {
    tia.pf_is_reflected = !tia.pf_is_reflected;
    changed |= 1U << kPF;
  }
  for (unsigned player = 0; player < 2; ++player) {
    if (!tia.first_copy_is_hidden[player]) continue;
    tia.first_copy_is_hidden[player] = false;
    changed |= 1U << player;
  }
  if (tia.star_motion) {
    static constexpr std::array<int, 4> kShift = {18, 33, 0, 17};
    tia.star_counter = (tia.star_counter + 1) & 3;
    const int position = tia.position[kM0] - kShift[tia.star_counter];
    tia.position[kM0] = static_cast<std::uint8_t>(position < 0 ? position + kScreenWidth : position);
    tia.m0_variant = tia.star_counter == 1 ? kM0Wide : tia.star_counter == 2 ? kM0Absent : kM0Normal;
    changed |= 1U << kM0;
  }
  mark_stale(tia, changed);
  return changed != 0;
}

/// Where line_end must be for the present row: the last one is drawn as soon as its last pixel is due.
void set_line_end(Tia& tia, const Window& window) {
  tia.line_end = tia.line_clock + kClocksPerLine - (tia.row + 1 == window.height ? 1 : 0);
}

void finish_line(Machine& machine) {
  Tia& tia = machine.state.tia;
  const bool was_whole = tia.cut == 0 && tia.segment_from == 0;
  const bool has_blanks = tia.hmove_blanks_next_pixels;
  if (tia.same_as_above && was_whole && has_blanks == tia.above_has_blanks) {
    tia.hmove_blanks_next_pixels = false;
    if (machine.picture != nullptr) {
      std::uint8_t* row = row_of(machine);
      std::memcpy(row, row - kScreenWidth, kScreenWidth);
    }
  } else {
    draw_segment(machine, kScreenWidth);
  }
  for (unsigned cut = tia.cut; cut != 0; cut &= cut - 1) tia.shape_from[std::countr_zero(cut)] = 0;
  tia.cut = 0;
  tia.was_drawn = 0;
  tia.segment_from = 0;
  ++tia.row;
  // a frame that was reset may have more lines than a picture; the last ones are there only for their collisions
  if (tia.row >= kMaxScreenHeight) machine.picture = nullptr;
  if (tia.row == machine.window.height) {
    tia.line_clock = kNever;
    tia.line_end = std::numeric_limits<std::int32_t>::max();
    return;
  }
  const bool has_changed = end_line(tia);
  tia.same_as_above = was_whole && !has_changed;
  tia.above_has_blanks = has_blanks;
  tia.line_clock += kClocksPerLine;
  set_line_end(tia, machine.window);
}

// --- pictures that stay unfinished ---

/// Where a segment ends between multiples of four columns, the original may write whole groups of four. The rest of the
/// group stays visible if the frame ends here.
void overrun_segment(Machine& machine, std::int32_t from, std::int32_t to) {
  Tia& tia = machine.state.tia;
  const std::int32_t group = to & ~3;
  if (to == group || group < from || is_blanked(tia)) return;
  const unsigned enabled = tia.enabled;
  const unsigned playfield = 1U << kPF;
  const bool is_score = (tia.ctrlpf & kScore) != 0;
  const auto is_one_of = [&](std::initializer_list<unsigned> sets) {
    return std::find(sets.begin(), sets.end(), enabled) != sets.end();
  };
  constexpr unsigned p0 = 1U << kP0, p1 = 1U << kP1, m0 = 1U << kM0, m1 = 1U << kM1, bl = 1U << kBL;
  if (!is_one_of({playfield, p0, p1, p0 | p1, m0, m1, bl, m0 | m1, bl | m0, bl | m1, bl | p1}) &&
      (is_score || !is_one_of({playfield | p0, playfield | p1, playfield | bl}))) {
    return;
  }
  PixelMask window = without(kFrom[static_cast<unsigned>(group)], kFrom[static_cast<unsigned>(group) + 4]);
  for (unsigned object = 0; object < kPF; ++object) {
    if ((enabled >> object & 1) == 0) continue;
    const PixelMask reach = object <= kP1 ? player_shape(tia, object, 0xFF) : shape_of(tia, object);
    if (intersect(reach, window)) return;
  }
  PixelMask objects[kNumTiaObjects] = {};
  if ((enabled & playfield) != 0) objects[kPF] = playfield_shape(tia);
  paint(machine, arrange(machine, objects), row_of(machine), to, group + 4);
}

void advance(Machine& machine, std::int32_t clock) {
  while (clock > machine.state.tia.line_end) finish_line(machine);
}

std::int32_t column_at(const Tia& tia, std::int32_t clock) {
  return std::clamp(clock - tia.line_clock - kBlankClocks, 0, kScreenWidth);
}

/// Draws everything up to `clock`, as the original does at every access.
void draw_literally(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  if (clock <= tia.drawn_clock || tia.row == machine.window.height) return;
  if (tia.row == 0 && tia.line_clock == kNever) {  // after restart_frame()
    if (clock < kClocksPerLine * machine.window.first_line) return;
    tia.line_clock = 0;
    set_line_end(tia, machine.window);
  }
  advance(machine, clock);
  if (tia.row == machine.window.height || clock < tia.line_clock) return;
  tia.drawn_clock = clock;
  const std::int32_t beam = clock - tia.line_clock;
  if (tia.hmove_blanks_next_pixels && machine.picture != nullptr && beam <= kBlankClocks) {  // still before column 0
    std::memset(row_of(machine), machine.shades[0], static_cast<std::size_t>(kBlankClocks + 8 - beam));
  }
  const std::int32_t from = tia.segment_from;
  const std::int32_t to = column_at(tia, clock);
  if (to <= from) return;
  draw_segment(machine, to);
  if (machine.picture != nullptr) overrun_segment(machine, from, to);
}

// --- registers ---
// What is always inlined here gets a constant register's objects, and shrinks accordingly.

/// Brings the line up to `clock`, at which something is about to change; returns the column.
inline std::int32_t arrive(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  clock = std::max(clock, tia.drawn_clock);
  if (clock > tia.line_end) advance(machine, clock);
  return column_at(tia, clock);
}

/// Of what `objects` cover as they are now, keeps the part to the left of `column` > 0.
void keep_passed(Machine& machine, unsigned objects, std::int32_t column) {
  Tia& tia = machine.state.tia;
  // with score and priority set, colours depend on which objects are enabled
  if ((tia.ctrlpf & (kScore | kPriority)) == (kScore | kPriority) && machine.picture != nullptr) {
    draw_segment(machine, column);
  }
  for (unsigned rest = objects; rest != 0; rest &= rest - 1) {
    const auto object = static_cast<unsigned>(std::countr_zero(rest));
    const std::int32_t from = tia.shape_from[object];
    if (column <= from) continue;
    const auto bit = static_cast<std::uint8_t>(1U << object);
    tia.shape_from[object] = column;
    tia.cut |= bit;
    if ((tia.enabled & bit) == 0) continue;
    // without a picture, only collisions that are not known yet matter
    if (machine.picture == nullptr && (open_latches(tia) & kLatchesWith[object]) == 0) continue;
    if ((tia.stale & bit) != 0) rebuild(tia, object);
    const PixelMask passed = without(kFrom[static_cast<unsigned>(from)], kFrom[static_cast<unsigned>(column)]);
    const PixelMask columns = tia.shape[object] & passed;
    tia.drawn[object] = (tia.was_drawn & bit) != 0 ? tia.drawn[object] | columns : columns;
    tia.was_drawn |= bit;
  }
}

/// `objects` are about to change at `column`: what they cover to its left is settled.
inline void settle(Machine& machine, unsigned objects, std::int32_t column) {
  Tia& tia = machine.state.tia;
  tia.same_as_above = false;
  if (column > 0) keep_passed(machine, objects, column);
  mark_stale(tia, objects);
}

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
  const bool acts_now = clock % kClocksPerLine < 147;
  if (tia.ctrlpf == value && (!acts_now || tia.pf_is_reflected == is_reflected)) return;
  const std::int32_t column = arrive(machine, clock);
  if (machine.picture != nullptr) draw_segment(machine, column);
  unsigned objects = 0;
  if (((tia.ctrlpf ^ value) & 0x30) != 0) objects |= 1U << kBL;
  if (acts_now && tia.pf_is_reflected != is_reflected) objects |= 1U << kPF;
  settle(machine, objects, column);
  tia.ctrlpf = static_cast<std::uint8_t>(value);
  if (acts_now) tia.pf_is_reflected = is_reflected;
}

/// Whether a line that has ended, drawn or not yet, may have left missile 0 elsewhere, or other than NUSIZ0 says.
bool has_star_effects(const Tia& tia) { return tia.star_motion || tia.m0_variant != kM0Normal; }

void write_nusiz(Machine& machine, unsigned player, unsigned value, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const bool restores_m0 = player == 0 && has_star_effects(tia);
  if (tia.nusiz[player] == value && !tia.first_copy_is_hidden[player] && !restores_m0) return;
  settle(machine, 1U << player | 1U << (kM0 + player), arrive(machine, clock + 8));
  tia.drawn_clock = clock + 8;
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
  if (objects != 0) settle(machine, objects, arrive(machine, clock + 1));
  tia.grp[player] = static_cast<std::uint8_t>(value);
  tia.delayed_grp[other] = tia.grp[other];
  if (player == 1) tia.delayed_enabl = tia.enabl;
  if (objects != 0) update_enabled(tia, objects);
}

std::uint8_t wrapped(int position) {
  if (position < 0) position += kScreenWidth;
  if (position >= kScreenWidth) position -= kScreenWidth;
  return static_cast<std::uint8_t>(position);
}

void write_resp(Machine& machine, unsigned player, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  std::int32_t column = arrive(machine, clock);
  const std::int32_t beam = clock % kClocksPerLine;
  const std::int32_t position = beam < kBlankClocks ? 3 : (beam - kBlankClocks + 5) % kScreenWidth;

  // Where is the new position in relation to the copies that the old one draws?
  const unsigned mode = tia.nusiz[player] & 7;
  const std::int32_t width = mode == 5 ? 16 : mode == 7 ? 32 : 8;
  static constexpr std::array<std::uint8_t, 8> kCopies = {1, 3, 5, 7, 17, 1, 21, 1};  // bit i: a copy at 16 i
  bool is_in_delay = false;
  bool is_in_display = false;
  for (int copy = 0; copy < 5; ++copy) {
    if ((kCopies[mode] >> copy & 1) == 0) continue;
    const std::int32_t distance = (position - tia.position[player] - 16 * copy + 2 * kScreenWidth) % kScreenWidth;
    is_in_delay |= distance < 4;
    is_in_display |= distance >= 4 && distance < 4 + width;
  }
  if (is_in_display) {
    column = arrive(machine, clock + 11);
    if (machine.is_literal) draw_literally(machine, clock + 11);
    tia.drawn_clock = std::max(tia.drawn_clock, clock + 11);
  }
  const bool hides_first_copy = !is_in_delay;
  if (tia.position[player] == position && tia.first_copy_is_hidden[player] == hides_first_copy) return;
  settle(machine, 1U << player, column);
  tia.position[player] = static_cast<std::uint8_t>(position);
  tia.first_copy_is_hidden[player] = hides_first_copy;
  tia.no_effect[NUSIZ0 + player] = Tia::kNone;  // it shows the first copy again
}

/// RESM0, RESM1 and RESBL, with the effects that a preceding HMOVE has at certain distances.
void write_resm(Machine& machine, unsigned object, std::int32_t clock, std::int32_t delay) {
  Tia& tia = machine.state.tia;
  const std::int32_t beam = clock % kClocksPerLine;
  const std::int32_t since_hmove = clock - tia.hmove_clock;
  std::int32_t position = beam < kBlankClocks ? 2 : (beam - kBlankClocks + 4) % kScreenWidth;
  if (object == kM0) {
    if (since_hmove == 60 && beam == 69) position = 8;
  } else if (object == kM1) {
    if (since_hmove == 9 && beam == 18) position = 3;
  } else if (since_hmove == 54 && (beam == 60 || beam == 69)) {
    position = 10;
  } else if (since_hmove == 9 && beam == 18) {
    position = 3;
  } else if (since_hmove == 21 && beam == 30) {
    position = 6;
  } else if (since_hmove == 18 && beam == 27) {
    position = 5;
  }
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
    const unsigned mode = tia.nusiz[missile] & 7;
    const int center = mode == 5 ? 8 : mode == 7 ? 16 : 4;
    tia.position[kM0 + missile] = static_cast<std::uint8_t>((tia.position[missile] + center) % kScreenWidth);
    if (missile == 0) tia.m0_variant = kM0Normal;
  }
  tia.resmp[missile] = static_cast<std::uint8_t>(value);
  update_enabled(tia, 1U << (kM0 + missile));
}

/// How far to the right HMOVE at cycle `cycle` of a line moves an object whose motion register holds `nibble`.
int motion(unsigned cycle, unsigned nibble) {
  static constexpr std::array<std::int8_t, 17> kFloor = {-6, -5, -5, -4, -3, -2, -2, -1, 0, 1, 1, 2, 3, 4, 4, 5, 6};
  static constexpr std::array<std::int8_t, 20> kLateness = {-6, -5, -4, -4, -3, -2, -1, -1, 0, 1,
                                                            2,  2,  3,  4,  5,  5,  6,  7,  8, 8};
  const int regular = nibble < 8 ? -static_cast<int>(nibble) : 16 - static_cast<int>(nibble);
  if (cycle <= 3 || cycle == 75) return regular;
  if (cycle <= 20) return std::max(regular, static_cast<int>(kFloor[cycle - 4]));
  if (cycle <= 54) return 0;
  return std::min(0, regular - kLateness[cycle - 55]);
}

void set_motion(Tia& tia, unsigned object, unsigned nibble) {
  const unsigned bit = 1U << object;
  tia.motion[object] = static_cast<std::uint8_t>(nibble);
  tia.moving = static_cast<std::uint8_t>(nibble != 0 ? tia.moving | bit : tia.moving & ~bit);
}

/// HMOVE at cycle `cycle` of a line, for objects that it may move.
void move(Machine& machine, unsigned objects, unsigned cycle, std::int32_t column) {
  Tia& tia = machine.state.tia;
  unsigned changed = 0;
  std::uint8_t positions[5];
  std::copy(std::begin(tia.position), std::end(tia.position), positions);
  for (unsigned rest = objects; rest != 0; rest &= rest - 1) {
    const auto object = static_cast<unsigned>(std::countr_zero(rest));
    positions[object] = wrapped(tia.position[object] + motion(cycle, tia.motion[object]));
    if (positions[object] != tia.position[object]) changed |= 1U << object;
  }
  for (unsigned player = 0; player < 2; ++player) {
    if (tia.first_copy_is_hidden[player]) changed |= 1U << player;
  }
  if (tia.m0_variant != kM0Normal) changed |= 1U << kM0;
  if (changed != 0) settle(machine, changed, column);
  std::copy(std::begin(positions), std::end(positions), tia.position);
  tia.first_copy_is_hidden[0] = tia.first_copy_is_hidden[1] = false;
  tia.m0_variant = kM0Normal;
}

void write_hmove(Machine& machine, std::int32_t clock) {
  Tia& tia = machine.state.tia;
  const std::int32_t column = arrive(machine, clock);
  const auto cycle = static_cast<unsigned>(clock % kClocksPerLine / 3);
  const bool is_regular = cycle <= 3 || cycle == 75;
  const unsigned objects = is_regular ? tia.moving : kMovable;
  if (objects != 0 || tia.first_copy_is_hidden[0] || tia.first_copy_is_hidden[1] || tia.m0_variant != kM0Normal) {
    move(machine, objects, cycle, column);
  }
  tia.hmove_clock = clock;
  tia.star_motion = false;
  if (machine.allows_hmove_blanks && (cycle <= 20 || cycle == 75)) {
    // the blank is for the next columns 0 .. 7, not for those passed
    if (column > tia.segment_from) draw_segment(machine, column);
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
    draw_segment(machine, arrive(machine, 3 * cycle + 1));
    tia.same_as_above = false;
  }
  const bool was_dumping = (tia.vblank & 0x80) != 0;
  const bool is_dumping = (value & 0x80) != 0;
  if (is_dumping != was_dumping) {
    tia.is_dumping = is_dumping;
    if (was_dumping) tia.dump_end_cycle = cycle;
  }
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
    case GRP0:
    case GRP1:
    case ENABL: {
      tia.no_effect[address] = byte;
      const bool moves_grp1 = tia.delayed_grp[1] != tia.grp[1];
      const bool moves_others = tia.delayed_grp[0] != tia.grp[0] || tia.delayed_enabl != tia.enabl;
      tia.no_effect[GRP0] = moves_grp1 ? Tia::kNone : std::int16_t{tia.grp[0]};
      tia.no_effect[GRP1] = moves_others ? Tia::kNone : std::int16_t{tia.grp[1]};
      break;
    }
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

/// Clocks from a write to its effect.
inline std::int32_t delay_of(unsigned address, std::int32_t cycle) {
  switch (address) {
    case VBLANK:
    case REFP0:
    case REFP1:
    case GRP0:
    case GRP1:
      return 1;
    case NUSIZ0:
    case NUSIZ1:
    case RESM0:
    case RESM1:
      return 8;
    case PF0:
    case PF1:
    case PF2: {
      static constexpr std::array<std::int32_t, 4> kDelays = {4, 5, 2, 3};
      return kDelays[static_cast<unsigned>(cycle % kCyclesPerLine) & 3];
    }
    default:
      return 0;
  }
}

[[gnu::always_inline]] inline std::int32_t write_at(Machine& machine, unsigned address, unsigned value,
                                                    std::int32_t cycle) {
  Tia& tia = machine.state.tia;
  const std::int32_t clock = 3 * cycle;
  if (machine.is_literal) draw_literally(machine, clock + delay_of(address, cycle));
  if (cycle >= tia.last_line_cycle) {
    advance(machine, clock);
    tia.frame_has_ended = true;
  }
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
      set_register(machine, tia.refp[address - REFP0], value & 8, 1U << (address - REFP0), clock + 1);
      break;
    case PF0:
    case PF1:
    case PF2:
      set_register(machine, tia.pf[address - PF0], value, 1U << kPF, clock + delay_of(address, cycle));
      break;
    case RESP0:
    case RESP1:
      write_resp(machine, address - RESP0, clock);
      break;
    case RESM0:
    case RESM1:
      write_resm(machine, kM0 + address - RESM0, clock, 8);
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
      if (value >> 4 == 6 && tia.motion[kM0] == 7 && clock == tia.hmove_clock + 63) {
        arrive(machine, clock);  // lines that have ended are not affected
        tia.star_motion = true;
        tia.star_counter = 0;
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
      write_hmove(machine, clock);
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
    []<unsigned... kAddresses>(std::integer_sequence<unsigned, kAddresses...>) {
      return std::array<WriteFunction, kNumWriteAddresses>{&write_register<kAddresses>...};
    }(std::make_integer_sequence<unsigned, kNumWriteAddresses>());

std::int32_t write_delay(unsigned address, std::int32_t cycle) { return delay_of(address & 0x3F, cycle); }

unsigned read(Machine& machine, unsigned address, std::int32_t cycle, unsigned bus) {
  Tia& tia = machine.state.tia;
  const Inputs& inputs = machine.state.inputs;
  address &= 0x0F;
  const std::int32_t clock = 3 * cycle;
  if (machine.is_literal) draw_literally(machine, clock);
  const unsigned noise = bus & 0x3F;
  if (address <= CXPPMM) {
    const unsigned shift = 2 * address;
    if ((open_latches(tia) >> shift & 3) != 0) draw_segment(machine, arrive(machine, clock));
    const unsigned latches = tia.collisions >> shift;
    return (latches & 1) << 7 | (latches & 2) << 5 | noise;
  }
  if (address <= INPT3) {
    const std::int32_t resistance = inputs.resistance[address - INPT0];
    if (resistance == 0) return 0x80 | noise;
    if (resistance == kNoPaddle || tia.is_dumping) return noise;
    // time until the capacitor has charged; compared as the original does, in unsigned cycles since the frame began
    const auto needed_cycles = static_cast<std::uint32_t>(1.6 * resistance * 0.01e-6 * 1.19e6);
    const std::int32_t origin = machine.state.frame_start_cycle;
    const auto now = static_cast<std::uint32_t>(cycle - origin);
    const auto charged = static_cast<std::uint32_t>(tia.dump_end_cycle - origin) + needed_cycles;
    return now > charged ? 0x80 | noise : noise;
  }
  if (address == INPT4) return inputs.inpt4 | noise;
  if (address == INPT5) return inputs.inpt5 | noise;
  return noise;
}

void reset(Tia& tia, std::int32_t max_lines) {
  tia = {};
  tia.stale = kAllObjects;
  std::fill(std::begin(tia.no_effect), std::end(tia.no_effect), Tia::kNone);
  tia.vsync_finish_clock = std::numeric_limits<std::int32_t>::max();
  tia.last_line_cycle = kCyclesPerLine * (max_lines + 1);
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
  tia.cut = 0;
  tia.was_drawn = 0;
  std::fill(std::begin(tia.shape_from), std::end(tia.shape_from), 0);
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
