// SPDX-License-Identifier: MIT
#include "rndfast/env/area_resize.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rndfast {
namespace {

// --- the rules, as OpenCV has them, for one byte of the result

enum class Rule { kCopy, kMean, kArea, kBlend };

struct Scale {
  Scale(std::size_t source, std::size_t destination)
      : inverse(static_cast<double>(destination) / static_cast<double>(source)), factor(1.0 / inverse) {}
  bool is_whole() const { return std::abs(factor - std::round(factor)) < std::numeric_limits<double>::epsilon(); }

  double inverse;
  double factor;  // source pixels per pixel of the result, rounded twice
};

Rule find_rule(PictureSize source, PictureSize destination) {
  if (source == destination) return Rule::kCopy;
  const Scale vertical(source.height, destination.height);
  const Scale horizontal(source.width, destination.width);
  if (vertical.factor < 1.0 || horizontal.factor < 1.0) return Rule::kBlend;
  return vertical.is_whole() && horizontal.is_whole() ? Rule::kMean : Rule::kArea;
}

/// To nearest, ties to even, for 0 <= value < 2^22.
[[gnu::always_inline]] inline float round_half_even(float value) { return (value + 0x1p23F) - 0x1p23F; }

/// A place in the source, along one axis, that a place in the result depends on.
struct Tap {
  std::size_t offset;  // in pixels at first, see Axis::in_bytes
  float weight;
};
using Taps = std::vector<Tap>;

Taps mean_taps(std::size_t index, const Scale& scale) {
  const auto factor = static_cast<std::size_t>(std::round(scale.factor));
  Taps taps;
  for (std::size_t i = 0; i < factor; ++i) taps.push_back({index * factor + i, 1.0F});
  return taps;
}

Taps area_taps(std::size_t index, std::size_t source, const Scale& scale) {
  constexpr double kNegligible = 1e-3;
  const auto length = static_cast<double>(source);
  const double begin = static_cast<double>(index) * scale.factor;
  const double end = begin + scale.factor;
  const double size = std::min(scale.factor, length - begin);
  const double whole_end = std::min(std::floor(end), length - 1.0);
  const double whole_begin = std::min(std::ceil(begin), whole_end);
  Taps taps;
  const auto add = [&](double position, double share) {
    taps.push_back({static_cast<std::size_t>(position), static_cast<float>(share / size)});
  };
  if (whole_begin - begin > kNegligible) add(whole_begin - 1.0, whole_begin - begin);
  const auto num_whole = static_cast<int>(whole_end - whole_begin);
  for (int i = 0; i < num_whole; ++i) add(whole_begin + i, 1.0);
  if (end - whole_end > kNegligible) add(whole_end, std::min({end - whole_end, 1.0, size}));
  return taps;
}

Taps blend_taps(std::size_t index, std::size_t source, const Scale& scale) {
  constexpr float kOne = 2048.0F;  // weights are in fixed point
  const auto d = static_cast<double>(index);
  const double position = std::floor(d * scale.factor);
  auto first = static_cast<std::size_t>(position);
  auto share = static_cast<float>((d + 1.0) - (position + 1.0) * scale.inverse);  // of the second pixel
  share = share <= 0.0F ? 0.0F : share - std::floor(share);
  if (first + 1 >= source) {
    first = source - 1;
    share = 0.0F;
  }
  return {{first, round_half_even((1.0F - share) * kOne)},
          {std::min(first + 1, source - 1), round_half_even(share * kOne)}};
}

/// Taps of every place along one axis of the result, the same number of each.
class Axis {
 public:
  Axis() = default;
  Axis(Rule rule, std::size_t source, std::size_t destination) {
    const Scale scale(source, destination);
    std::vector<Taps> all;
    for (std::size_t i = 0; i < destination; ++i) {
      all.push_back(rule == Rule::kMean   ? mean_taps(i, scale)
                    : rule == Rule::kArea ? area_taps(i, source, scale)
                                          : blend_taps(i, source, scale));
      num_taps_ = std::max(num_taps_, all.back().size());
    }
    for (Taps& taps : all) {
      taps.resize(num_taps_, {taps.back().offset, 0.0F});  // adds nothing to the sum
      taps_.insert(taps_.end(), taps.begin(), taps.end());
    }
  }

  /// The same taps for each byte of a pixel, their offsets in bytes.
  Axis in_bytes(std::size_t pixel_size, std::size_t num_bytes) const {
    Axis axis;
    axis.num_taps_ = num_taps_;
    for (std::size_t i = 0; i < taps_.size(); i += num_taps_) {
      for (std::size_t byte = 0; byte < num_bytes; ++byte) {
        for (const Tap& tap : std::span(taps_).subspan(i, num_taps_)) {
          axis.taps_.push_back({tap.offset * pixel_size + byte, tap.weight});
        }
      }
    }
    return axis;
  }

  std::size_t num_taps() const { return num_taps_; }
  [[gnu::always_inline]] std::span<const Tap> operator[](std::size_t index) const {
    return {taps_.data() + index * num_taps_, num_taps_};
  }

 private:
  std::size_t num_taps_ = 0;
  std::vector<Tap> taps_;
};

/// The larger of two pictures at each byte, never stored.
struct PicturePair {
  [[gnu::always_inline]] int operator[](std::size_t offset) const { return std::max(first[offset], second[offset]); }

  const std::uint8_t* first;
  const std::uint8_t* second;
};

[[gnu::always_inline]] inline std::uint8_t mean_of(PicturePair pictures, std::span<const Tap> rows,
                                                   std::span<const Tap> columns) {
  std::int64_t sum = 0;
  for (const Tap& row : rows) {
    for (const Tap& column : columns) sum += pictures[row.offset + column.offset];
  }
  if (rows.size() == 2 && columns.size() == 2) return static_cast<std::uint8_t>((sum + 2) >> 2);
  const float share = 1.0F / static_cast<float>(rows.size() * columns.size());
  return static_cast<std::uint8_t>(round_half_even(static_cast<float>(sum) * share));
}

[[gnu::always_inline]] inline std::uint8_t area_sum_of(PicturePair pictures, std::span<const Tap> rows,
                                                       std::span<const Tap> columns) {
  float sum = 0.0F;
  for (const Tap& row : rows) {
    float row_sum = 0.0F;
    for (const Tap& column : columns) {
      row_sum += static_cast<float>(pictures[row.offset + column.offset]) * column.weight;
    }
    sum += row_sum * row.weight;
  }
  return static_cast<std::uint8_t>(std::min(round_half_even(sum), 255.0F));
}

[[gnu::always_inline]] inline std::uint8_t blend_of(PicturePair pictures, std::span<const Tap> rows,
                                                    std::span<const Tap> columns) {
  int sum = 0;
  for (const Tap& row : rows) {
    int row_sum = 0;
    for (const Tap& column : columns) {
      row_sum += pictures[row.offset + column.offset] * static_cast<int>(column.weight);
    }
    sum += (static_cast<int>(row.weight) * (row_sum >> 4)) >> 16;
  }
  return static_cast<std::uint8_t>((sum + 2) >> 2);
}

// --- sums of integers, many at a time

constexpr std::size_t kVectorSize = 32;  // bytes
constexpr std::size_t kStripSize = 160;  // bytes of a row of the source that are added up in registers: a grey row
constexpr std::size_t kGroupSize = 6;    // rows of the result that are computed together

template <typename T>
struct VectorOf {
  using Type [[gnu::vector_size(kVectorSize)]] = T;
};
template <typename T>
using Vector = typename VectorOf<T>::Type;

template <typename Lane>
constexpr std::size_t kLanes = kVectorSize / sizeof(Lane);

/// How a sum becomes a byte.
template <typename Lane>
struct Rounding;

template <>
struct Rounding<std::uint16_t> {
  using Bits = std::uint16_t;
  std::uint16_t start;  // of a sum: total / 2 - 1
  std::uint16_t total;
  std::uint16_t bias;  // (sum + 1) / total = ((sum + bias) * multiplier >> 16) >> shift
  std::uint16_t multiplier;
  std::uint16_t shift;
};

template <>
struct Rounding<float> {
  using Bits = std::uint32_t;
  float start;   // of a sum: total / 2
  float share;   // 1 / total
  float margin;  // this near to a tie, the rule decides
};

/// The exact sums of mean and area: their weights are the rule's times `total`, and integers.
///
/// First the rows of the source that a row of the result depends on are added up, into as many sums as a row of the
/// source has bytes: those at even positions, then those at odd ones, which takes masks and shifts, but no shuffles.
/// Then kLanes bytes of the result at a time, a chunk, are sums of vectors of weights times vectors of these sums. A
/// tap of a chunk is the position of its first lane among the sums; lanes that do not depend on the sum there have
/// weight 0.
///
/// Lane: std::uint16_t if all sums fit, else float, in which integers are exact up to 2^24.
template <typename Lane>
struct Sums {
  struct RowTap {
    std::size_t offset;
    std::uint16_t weight;
  };
  struct Chunk {
    std::size_t position;  // in a row of the result
    std::size_t num_taps;
  };
  std::vector<std::vector<RowTap>> rows;
  std::vector<Chunk> chunks;
  std::vector<std::ptrdiff_t> positions;  // of each tap of each chunk
  std::vector<Lane> weights;              // kLanes of each
  Rounding<Lane> rounding;
};
using NarrowSums = Sums<std::uint16_t>;
using WideSums = Sums<float>;

}  // namespace

struct AreaResizeTables {
  PictureSize source;
  PictureSize destination;
  std::size_t channels;
  Rule rule;
  Axis rows;     // offsets of rows of the source
  Axis columns;  // for each byte of a row
  std::vector<AreaResize::RowRange> source_rows;
  std::vector<std::uint32_t> all_rows;
  std::variant<std::monostate, NarrowSums, WideSums> sums;

  std::size_t source_row_size() const { return source.width * channels; }
  std::size_t row_size() const { return destination.width * channels; }
};

namespace {

/// Byte `i` of row `y` of the result.
[[gnu::always_inline]] inline std::uint8_t apply_rule(const AreaResizeTables& tables, PicturePair pictures,
                                                      std::size_t y, std::size_t i) {
  const auto rows = tables.rows[y];
  const auto columns = tables.columns[i];
  if (tables.rule == Rule::kArea) return area_sum_of(pictures, rows, columns);
  return tables.rule == Rule::kMean ? mean_of(pictures, rows, columns) : blend_of(pictures, rows, columns);
}

/// One axis without fractions: pixels of the source are `pixel` long, those of the result `cell`.
struct IntegerAxis {
  IntegerAxis(std::size_t source, std::size_t destination)
      : pixel(destination / std::gcd(source, destination)), cell(source / std::gcd(source, destination)) {}

  /// Calls f(source index, shared length) for each source pixel that shares something with pixel `index`.
  template <typename F>
  void for_each_tap(std::size_t index, F f) const {
    const std::size_t begin = index * cell;
    const std::size_t end = begin + cell;
    for (std::size_t s = begin / pixel; s * pixel < end; ++s) {
      f(s, std::min((s + 1) * pixel, end) - std::max(s * pixel, begin));
    }
  }

  std::size_t pixel;
  std::size_t cell;
};

/// How far the rule's result, in float32, may be from that of Rounding<float>: each rounding of a weight, a product or
/// a partial sum moves either by at most 2^-24 of 256.
float find_margin(const AreaResizeTables& tables) {
  return 0x1p-16F * static_cast<float>(tables.rows.num_taps() + 2 * tables.columns.num_taps() + 8);
}

/// A multiplication that divides every sum of `total` bytes by it, rounding down; false if there is none.
bool find_division(std::uint32_t total, Rounding<std::uint16_t>& rounding) {
  rounding.total = static_cast<std::uint16_t>(total);
  rounding.start = static_cast<std::uint16_t>(total / 2 - 1);
  rounding.shift = static_cast<std::uint16_t>(std::bit_width(total - 1) - 1);
  const std::uint32_t power = 1U << (16U + rounding.shift);
  const auto divide = [&](std::uint32_t n) { return (n - 1 + rounding.bias) * rounding.multiplier / power; };
  for (const auto bias : {std::uint16_t{1}, std::uint16_t{2}}) {  // with a multiplier rounded up, and down
    rounding.bias = bias;
    rounding.multiplier = static_cast<std::uint16_t>((bias == 1 ? power + total - 1 : power) / total);
    bool is_exact = true;
    for (std::uint32_t quotient = 0; quotient < 256; ++quotient) {  // between the ends of a step nothing can go wrong
      is_exact = is_exact && divide(quotient * total) == quotient && divide(quotient * total + total - 1) == quotient;
    }
    if (is_exact) return true;
  }
  return false;
}

template <typename Lane>
Sums<Lane> make_sums(const AreaResizeTables& tables, const Rounding<Lane>& rounding) {
  constexpr std::size_t kNumLanes = kLanes<Lane>;
  const IntegerAxis vertical(tables.source.height, tables.destination.height);
  const IntegerAxis horizontal(tables.source.width, tables.destination.width);
  Sums<Lane> sums{};
  sums.rounding = rounding;
  for (std::size_t y = 0; y < tables.destination.height; ++y) {
    auto& taps = sums.rows.emplace_back();
    vertical.for_each_tap(y, [&](std::size_t row, std::size_t weight) {
      taps.push_back({row * tables.source_row_size(), static_cast<std::uint16_t>(weight)});
    });
  }
  for (std::size_t begin = 0; begin < tables.row_size(); begin += kNumLanes) {
    const std::size_t position = std::min(begin, tables.row_size() - kNumLanes);  // the last two may overlap
    std::map<std::ptrdiff_t, std::array<Lane, kNumLanes>> taps;
    for (std::size_t lane = 0; lane < kNumLanes; ++lane) {
      const std::size_t i = position + lane;
      horizontal.for_each_tap(i / tables.channels, [&](std::size_t column, std::size_t weight) {
        const std::size_t source = column * tables.channels + i % tables.channels;
        const std::size_t sum = source / 2 + source % 2 * (tables.source_row_size() / 2);
        taps[static_cast<std::ptrdiff_t>(sum) - static_cast<std::ptrdiff_t>(lane)][lane] = static_cast<Lane>(weight);
      });
    }
    sums.chunks.push_back({position, taps.size()});
    for (const auto& [first, weights] : taps) {
      sums.positions.push_back(first);
      sums.weights.insert(sums.weights.end(), weights.begin(), weights.end());
    }
  }
  return sums;
}

/// Tables of sums, if they are exact and decide the rule's result unless they are near a tie.
std::variant<std::monostate, NarrowSums, WideSums> choose_sums(const AreaResizeTables& tables) {
  constexpr std::size_t kMaxNarrow = 0xFFFF / 255;
  constexpr std::size_t kMaxWide = (1U << 24U) / 255;
  constexpr std::size_t kMaxPixel = 999;  // the area rule neglects shares of a thousandth of a pixel
  if (tables.rule != Rule::kMean && tables.rule != Rule::kArea) return {};
  const IntegerAxis vertical(tables.source.height, tables.destination.height);
  const IntegerAxis horizontal(tables.source.width, tables.destination.width);
  if (tables.source_row_size() % kStripSize != 0 || tables.destination.height < kGroupSize ||
      vertical.cell > kMaxNarrow || std::max(vertical.pixel, horizontal.pixel) > kMaxPixel) {
    return {};
  }
  const std::size_t total = vertical.cell * horizontal.cell;
  const float margin = find_margin(tables);
  // 255 * total + total / 2 + 1 must fit, and nothing but the tie itself may be nearer to it than the margin
  if (total < kMaxNarrow && margin * 2.0F * static_cast<float>(total) < 1.0F &&
      tables.row_size() >= kLanes<std::uint16_t>) {
    Rounding<std::uint16_t> rounding{};
    if (find_division(static_cast<std::uint32_t>(total), rounding)) return make_sums<std::uint16_t>(tables, rounding);
  }
  if (total <= kMaxWide && tables.row_size() >= kLanes<float>) {
    const auto divisor = static_cast<float>(total);
    return make_sums<float>(tables, {.start = divisor / 2.0F, .share = 1.0F / divisor, .margin = margin});
  }
  return {};
}

/// Bytes of scratch memory: a vector of zeros, and for each row of a group the sums and a vector of zeros.
template <typename Lane>
constexpr std::size_t row_scratch_size(std::size_t source_row_size) {
  return source_row_size * sizeof(Lane) + kVectorSize;
}
template <typename Lane>
constexpr std::size_t group_scratch_size(std::size_t source_row_size) {
  return kVectorSize + kGroupSize * row_scratch_size<Lane>(source_row_size);
}

template <typename V>
[[gnu::always_inline]] inline void load(V& vector, const void* from) {
  std::memcpy(&vector, from, sizeof(V));
}

template <typename V>
[[gnu::always_inline]] inline void store(const V& vector, void* to) {
  std::memcpy(to, &vector, sizeof(V));
}

/// out[lane] = f(vector[lane]) where vectors of the compiler know no operation for f. Not unrolled, the loop becomes
/// one.
template <typename From, typename To, typename F>
[[gnu::always_inline]] inline void for_each_lane(const Vector<From>& vector, To* out, F f) {
  std::array<From, kLanes<From>> lanes;
  store(vector, lanes.data());
#pragma GCC unroll 1
  for (std::size_t lane = 0; lane < kLanes<From>; ++lane) out[lane] = f(lanes[lane]);
}

/// Stores numbers as Lane.
template <typename Lane>
[[gnu::always_inline]] inline void store_as(const Vector<std::uint16_t>& vector, std::byte* to) {
  if constexpr (std::is_same_v<Lane, std::uint16_t>) {
    store(vector, to);
  } else {
    std::array<Lane, kLanes<std::uint16_t>> lanes;
    for_each_lane<std::uint16_t>(vector, lanes.data(), [](std::uint16_t lane) { return static_cast<Lane>(lane); });
    std::memcpy(to, lanes.data(), sizeof(lanes));
  }
}

/// Adds up rows of the source: even[i] and odd[i] are the sums at positions 2 i and 2 i + 1.
template <typename Lane>
[[gnu::always_inline]] inline void add_rows(const std::vector<typename Sums<Lane>::RowTap>& taps, PicturePair pictures,
                                            std::size_t row_size, std::byte* even_sums, std::byte* odd_sums) {
  static_assert(std::endian::native == std::endian::little);
  using Words = Vector<std::uint16_t>;
  constexpr std::size_t kVectors = kStripSize / kVectorSize;
  const auto* const begin = taps.data();
  const auto* const end = begin + taps.size();
  for (std::size_t strip = 0; strip < row_size; strip += kStripSize) {
    Words even[kVectors] = {};
    Words odd[kVectors] = {};
    for (const auto* tap = begin; tap != end; ++tap) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < kVectors; ++i) {
        const std::size_t offset = tap->offset + strip + i * kVectorSize;
        Vector<std::uint8_t> first;
        Vector<std::uint8_t> second;
        load(first, pictures.first + offset);
        load(second, pictures.second + offset);
        first = first > second ? first : second;
        Words pairs;
        load(pairs, &first);
        even[i] += (pairs & std::uint16_t{0xFF}) * tap->weight;
        odd[i] += (pairs >> std::uint16_t{8}) * tap->weight;
      }
    }
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kVectors; ++i) {
      const std::size_t position = (strip + i * kVectorSize) / 2 * sizeof(Lane);
      store_as<Lane>(even[i], even_sums + position);
      store_as<Lane>(odd[i], odd_sums + position);
    }
  }
}

/// Rounds sums to bytes, and sets the sign of the lanes that the rule may round otherwise.
[[gnu::always_inline]] inline void round_sums(const Rounding<std::uint16_t>& rounding,
                                              const Vector<std::uint16_t>& sums, std::uint8_t* out,
                                              Vector<std::uint16_t>& ties) {
  std::array<std::uint16_t, kLanes<std::uint16_t>> high_halves;
  for_each_lane<std::uint16_t>(sums + rounding.bias, high_halves.data(), [&](std::uint16_t lane) {
    return static_cast<std::uint16_t>((std::uint32_t{lane} * std::uint32_t{rounding.multiplier}) >> 16U);
  });
  Vector<std::uint16_t> quotients;
  load(quotients, high_halves.data());
  quotients >>= rounding.shift;
  for_each_lane<std::uint16_t>(quotients, out, [](std::uint16_t lane) { return static_cast<std::uint8_t>(lane); });
  ties = sums - quotients * rounding.total;  // the remainder less 1
}

[[gnu::always_inline]] inline void round_sums(const Rounding<float>& rounding, const Vector<float>& sums,
                                              std::uint8_t* out, Vector<std::uint32_t>& ties) {
  const Vector<float> means = sums * rounding.share;
  std::array<std::int32_t, kLanes<float>> whole;
  for_each_lane<float>(means, whole.data(), [](float lane) { return static_cast<std::int32_t>(lane); });
  Vector<std::int32_t> quotients;
  load(quotients, whole.data());
  std::array<float, kLanes<float>> rounded;
  for_each_lane<std::int32_t>(quotients, rounded.data(), [](std::int32_t lane) { return static_cast<float>(lane); });
  for_each_lane<std::int32_t>(quotients, out, [](std::int32_t lane) { return static_cast<std::uint8_t>(lane); });
  Vector<float> fractions;
  load(fractions, rounded.data());
  fractions = means - fractions;
  const Vector<float> above = fractions - rounding.margin;  // negative near a tie: the means are raised by a half
  const Vector<float> below = (1.0F - rounding.margin) - fractions;
  load(ties, &above);
  Vector<std::uint32_t> signs;
  load(signs, &below);
  ties |= signs;
}

/// The sign bits of a word of lanes.
template <typename Bits>
constexpr std::uint64_t kSigns =
    std::numeric_limits<std::uint64_t>::max() / std::numeric_limits<Bits>::max() << (8 * sizeof(Bits) - 1);

/// Applies the rule to the lanes with a sign of a chunk at byte `i` of row `y`.
template <typename Bits>
[[gnu::always_inline]] inline void break_ties(const AreaResizeTables& tables, PicturePair pictures, std::size_t y,
                                              std::size_t i, const Vector<Bits>& ties, std::uint8_t* out) {
  constexpr std::size_t kLanesPerWord = sizeof(std::uint64_t) / sizeof(Bits);
  std::array<std::uint64_t, kVectorSize / sizeof(std::uint64_t)> words;
  store(ties, words.data());
  for (std::size_t w = 0; w < words.size(); ++w) {
    for (std::uint64_t signs = words[w] & kSigns<Bits>; signs != 0; signs &= signs - 1) {
      const std::size_t lane =
          w * kLanesPerWord + static_cast<std::size_t>(std::countr_zero(signs)) / (8 * sizeof(Bits));
      out[lane] = apply_rule(tables, pictures, y, i + lane);
    }
  }
}

template <typename Lane>
[[gnu::always_inline]] inline void resize_body(const AreaResizeTables& tables, const Sums<Lane>& sums,
                                               PicturePair pictures, std::span<const std::uint32_t> rows,
                                               std::uint8_t* out, std::byte* scratch) {
  using Bits = typename Rounding<Lane>::Bits;
  const Rounding<Lane> rounding = sums.rounding;  // a copy: bytes written to `out` could be its own
  const Vector<Lane> start = Vector<Lane>{} + rounding.start;
  const std::size_t source_row_size = tables.source_row_size();
  const std::size_t row_size = tables.row_size();
  const std::size_t stride = row_scratch_size<Lane>(source_row_size);
  std::byte* const row_sums = scratch + kVectorSize;
  for (std::size_t r = 0; r <= kGroupSize; ++r) store(Vector<Lane>{}, scratch + r * stride);

  for (std::size_t begin = 0; begin < rows.size(); begin += kGroupSize) {
    std::size_t group[kGroupSize];  // the last one may hold its last row several times
    for (std::size_t r = 0; r < kGroupSize; ++r) {
      group[r] = rows[std::min(begin + r, rows.size() - 1)];
      std::byte* const even = row_sums + r * stride;
      add_rows<Lane>(sums.rows[group[r]], pictures, source_row_size, even, even + source_row_size / 2 * sizeof(Lane));
    }
    const std::ptrdiff_t* position = sums.positions.data();
    const Lane* weight = sums.weights.data();
    for (const auto [i, num_taps] : sums.chunks) {
      Vector<Lane> totals[kGroupSize] = {start, start, start, start, start, start};
      for (const auto* const end = position + num_taps; position != end; ++position, weight += kLanes<Lane>) {
        Vector<Lane> weights;
        load(weights, weight);
        const std::byte* const first = row_sums + *position * static_cast<std::ptrdiff_t>(sizeof(Lane));
#pragma GCC unroll 8
        for (std::size_t r = 0; r < kGroupSize; ++r) {
          Vector<Lane> terms;
          load(terms, first + r * stride);
          totals[r] += terms * weights;
        }
      }
      Vector<Bits> ties[kGroupSize];
      Vector<Bits> all_ties{};
#pragma GCC unroll 8
      for (std::size_t r = 0; r < kGroupSize; ++r) {
        round_sums(rounding, totals[r], out + group[r] * row_size + i, ties[r]);
        all_ties |= ties[r];
      }
      Vector<std::uint64_t> words;
      load(words, &all_ties);
      if (((words[0] | words[1] | words[2] | words[3]) & kSigns<Bits>) != 0) [[unlikely]] {
        for (std::size_t r = 0; r < kGroupSize; ++r) {
          break_ties<Bits>(tables, pictures, group[r], i, ties[r], out + group[r] * row_size + i);
        }
      }
    }
  }
}

#define RNDFAST_RESIZE_KERNEL(name, Lane)                                                            \
  RNDFAST_SIMD_KERNEL(name, resize_body<Lane>,                                                       \
                      (const AreaResizeTables& tables, const Sums<Lane>& sums, PicturePair pictures, \
                       std::span<const std::uint32_t> rows, std::uint8_t* out, std::byte* scratch),  \
                      (tables, sums, pictures, rows, out, scratch))
RNDFAST_RESIZE_KERNEL(resize_narrow, std::uint16_t)
RNDFAST_RESIZE_KERNEL(resize_wide, float)
#undef RNDFAST_RESIZE_KERNEL

}  // namespace

AreaResize::AreaResize(PictureSize source, PictureSize destination, std::size_t channels, SimdLevel level)
    : level_(level) {
  if (std::min({source.height, source.width, destination.height, destination.width}) == 0) {
    throw std::invalid_argument("pictures must have at least 1 row and 1 column");
  }
  if (channels != 1 && channels != 3) {
    throw std::invalid_argument("channels must be 1 or 3, got " + std::to_string(channels));
  }
  const Rule rule = find_rule(source, destination);
  AreaResizeTables tables{.source = source,
                          .destination = destination,
                          .channels = channels,
                          .rule = rule,
                          .rows = {},
                          .columns = {},
                          .source_rows = {},
                          .all_rows = std::vector<std::uint32_t>(destination.height),
                          .sums = {}};
  std::iota(tables.all_rows.begin(), tables.all_rows.end(), 0U);
  if (rule != Rule::kCopy) {
    tables.rows = Axis(rule, source.height, destination.height).in_bytes(tables.source_row_size(), 1);
    tables.columns = Axis(rule, source.width, destination.width).in_bytes(channels, channels);
  }
  for (const std::uint32_t y : tables.all_rows) {
    AreaResize::RowRange range = {y, y + 1};
    if (rule != Rule::kCopy) {
      const auto taps = tables.rows[y];
      const auto by_offset = [](const Tap& a, const Tap& b) { return a.offset < b.offset; };
      const auto [first, last] = std::minmax_element(taps.begin(), taps.end(), by_offset);
      range = {static_cast<std::uint32_t>(first->offset / tables.source_row_size()),
               static_cast<std::uint32_t>(last->offset / tables.source_row_size() + 1)};
    }
    tables.source_rows.push_back(range);
  }
  tables.sums = choose_sums(tables);
  tables_ = std::make_shared<const AreaResizeTables>(std::move(tables));
}

std::size_t AreaResize::scratch_size() const {
  const std::size_t row_size = tables_->source_row_size();
  if (std::holds_alternative<NarrowSums>(tables_->sums)) return group_scratch_size<std::uint16_t>(row_size);
  if (std::holds_alternative<WideSums>(tables_->sums)) return group_scratch_size<float>(row_size);
  return 0;
}

std::span<const AreaResize::RowRange> AreaResize::source_rows() const { return tables_->source_rows; }
std::span<const std::uint32_t> AreaResize::all_rows() const { return tables_->all_rows; }

void AreaResize::resize_rows(const std::uint8_t* first, const std::uint8_t* second, std::span<const std::uint32_t> rows,
                             std::uint8_t* out, std::span<std::byte> scratch) const {
  assert(scratch.size() >= scratch_size());
  const AreaResizeTables& tables = *tables_;
  const PicturePair pictures{first, second};
  if (const auto* const narrow = std::get_if<NarrowSums>(&tables.sums)) {
    resize_narrow_for(level_)(tables, *narrow, pictures, rows, out, scratch.data());
  } else if (const auto* const wide = std::get_if<WideSums>(&tables.sums)) {
    resize_wide_for(level_)(tables, *wide, pictures, rows, out, scratch.data());
  } else {
    const bool copies = tables.rule == Rule::kCopy;
    const std::size_t row_size = tables.row_size();
    for (const std::size_t y : rows) {
      for (std::size_t i = 0; i < row_size; ++i) {
        out[y * row_size + i] =
            copies ? static_cast<std::uint8_t>(pictures[y * row_size + i]) : apply_rule(tables, pictures, y, i);
      }
    }
  }
}

}  // namespace rndfast
