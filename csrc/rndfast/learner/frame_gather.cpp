// SPDX-License-Identifier: MIT
#include "rndfast/learner/frame_gather.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "rndfast/common/simd.hpp"

namespace rndfast {
namespace {

// pixel / 255 is computed without a division, which would take most of the time: 1 / 255 = high + low, where high has
// 17 bits, so that pixel * high is exact and the sum is rounded once. The static_assert below tries all pixels.
constexpr float kScaleHigh = 0x1.0101p-8F;
constexpr float kScaleLow = 0x1.010102p-32F;

static_assert([] {
  for (int pixel = 0; pixel < 256; ++pixel) {
    const auto value = static_cast<float>(pixel);
    if (value * kScaleHigh + value * kScaleLow != value / 255.0F) return false;
  }
  return true;
}());

template <typename Out>
[[gnu::always_inline]] inline Out from_float(float value) {
  if constexpr (std::is_same_v<Out, Bfloat16>) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

/// out[i] = pixel / 255
template <typename Out>
[[gnu::always_inline]] inline void scale_body(const std::uint8_t* __restrict pixels, std::size_t size,
                                              Out* __restrict out) {
  for (std::size_t i = 0; i < size; ++i) {
    const auto value = static_cast<float>(pixels[i]);
    out[i] = from_float<Out>(value * kScaleHigh + value * kScaleLow);
  }
}

template <typename Out>
[[gnu::always_inline]] inline void normalize_body(const std::uint8_t* __restrict pixels, std::size_t size,
                                                  const float* __restrict mean_high, const float* __restrict mean_low,
                                                  const float* __restrict inverse_std, float clip,
                                                  Out* __restrict out) {
  for (std::size_t i = 0; i < size; ++i) {
    const float deviation = (static_cast<float>(pixels[i]) - mean_high[i]) - mean_low[i];
    out[i] = from_float<Out>(std::clamp(deviation * inverse_std[i], -clip, clip));
  }
}

#define RNDFAST_FRAME_KERNELS(suffix, Out)                                                                          \
  RNDFAST_SIMD_KERNEL(scale_##suffix, scale_body<Out>, (const std::uint8_t* pixels, std::size_t size, Out* out),    \
                      (pixels, size, out))                                                                          \
  RNDFAST_SIMD_KERNEL(normalize_##suffix, normalize_body<Out>,                                                      \
                      (const std::uint8_t* pixels, std::size_t size, const float* mean_high, const float* mean_low, \
                       const float* inverse_std, float clip, Out* out),                                             \
                      (pixels, size, mean_high, mean_low, inverse_std, clip, out))
RNDFAST_FRAME_KERNELS(float, float)
RNDFAST_FRAME_KERNELS(bfloat16, Bfloat16)
#undef RNDFAST_FRAME_KERNELS

template <typename Out>
auto scale_kernel(SimdLevel level) {
  if constexpr (std::is_same_v<Out, float>) {
    return scale_float_for(level);
  } else {
    return scale_bfloat16_for(level);
  }
}

template <typename Out>
auto normalize_kernel(SimdLevel level) {
  if constexpr (std::is_same_v<Out, float>) {
    return normalize_float_for(level);
  } else {
    return normalize_bfloat16_for(level);
  }
}

/// out[x * stride ..] = block x of four rows of a plane.
template <typename Element>
void order_blocks(const Element* rows, std::size_t width, std::size_t stride, Element* out) {
  std::size_t x = 0;
  if constexpr (sizeof(Element) == 1) {  // four blocks at a time: a transposition of words of four pixels
    using Words [[gnu::vector_size(16)]] = std::uint32_t;
    for (; x + 4 * kBlockSide <= width; x += 4 * kBlockSide, out += 4 * stride) {
      Words row[kBlockSide];
      for (std::size_t i = 0; i < kBlockSide; ++i) std::memcpy(&row[i], rows + i * width + x, sizeof(Words));
      const Words low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
      const Words high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
      const Words low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
      const Words high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
      const Words blocks[4] = {
          __builtin_shufflevector(low01, low23, 0, 1, 4, 5), __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
          __builtin_shufflevector(high01, high23, 0, 1, 4, 5), __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
      for (std::size_t k = 0; k < 4; ++k) std::memcpy(out + k * stride, &blocks[k], sizeof(Words));
    }
  }
  for (; x + kBlockSide <= width; x += kBlockSide, out += stride) {
    for (std::size_t i = 0; i < kBlockSide; ++i) {
      std::memcpy(out + i * kBlockSide, rows + i * width + x, kBlockSide * sizeof(Element));
    }
  }
}

/// Calls use(first, elements) for an input's elements in the order of its blocks, `first` being the position of the
/// first of them. It does so a row of blocks at a time, which stays in the fastest cache. `plane(p)` is plane p,
/// (height, width), or null for zeros.
template <typename Element, typename Plane, typename Use>
void for_block_rows(const FrameStoreView& store, std::size_t num_planes, const Plane& plane, const Use& use) {
  const std::size_t stride = num_planes * kBlockPixels;
  std::vector<Element> blocks(store.width / kBlockSide * stride);  // zeros
  for (std::size_t y = 0; y < store.height / kBlockSide; ++y) {
    for (std::size_t p = 0; p < num_planes; ++p) {
      const Element* const pixels = plane(p);
      if (pixels == nullptr) continue;
      order_blocks(pixels + y * kBlockSide * store.width, store.width, stride, blocks.data() + p * kBlockPixels);
    }
    use(y * blocks.size(), blocks);
  }
}

/// Values per pixel, (C, H, W), in the order of an input's blocks.
std::vector<float> in_blocks(const FrameStoreView& store, std::span<const float> values) {
  std::vector<float> ordered;
  for_block_rows<float>(
      store, store.channels, [&](std::size_t c) { return values.data() + c * store.height * store.width; },
      [&](std::size_t, const std::vector<float>& blocks) {
        ordered.insert(ordered.end(), blocks.begin(), blocks.end());
      });
  return ordered;
}

}  // namespace

template <typename Out>
void gather_stacks(const FrameStoreView& store, std::span<const std::uint8_t> valid_frames,
                   std::span<const std::int64_t> indices, std::size_t stack_size, Out* out, ThreadPool& pool,
                   ThreadPool::Poll poll) {
  const auto scale = scale_kernel<Out>(pool.simd_level());
  const std::size_t row_size = store.num_envs * store.frame_size();
  const std::size_t num_planes = stack_size * store.channels;
  const std::size_t input_size = store.num_blocks() * num_planes * kBlockPixels;
  const auto gather_one = [&](std::size_t b) {
    const auto index = static_cast<std::size_t>(indices[b]);  // t * num_envs + n: also the position of row t's frame
    const std::size_t num_zero_planes = (stack_size - valid_frames[index]) * store.channels;
    const std::uint8_t* const oldest = store.frames + index * store.frame_size();
    const auto plane = [&](std::size_t p) -> const std::uint8_t* {
      if (p < num_zero_planes) return nullptr;
      return oldest + p / store.channels * row_size + p % store.channels * (store.height * store.width);
    };
    for_block_rows<std::uint8_t>(store, num_planes, plane,
                                 [&](std::size_t first, const std::vector<std::uint8_t>& pixels) {
                                   scale(pixels.data(), pixels.size(), out + b * input_size + first);
                                 });
  };
  pool.run(indices.size(), gather_one, poll);
}

template <typename Out>
void normalize_frames(const FrameStoreView& store, std::span<const std::int64_t> indices,
                      const FrameStatistics& statistics, Out* out, ThreadPool& pool, ThreadPool::Poll poll) {
  const auto normalize = normalize_kernel<Out>(pool.simd_level());
  const auto mean_high = in_blocks(store, statistics.mean_high);
  const auto mean_low = in_blocks(store, statistics.mean_low);
  const auto inverse_std = in_blocks(store, statistics.inverse_std);
  const std::size_t input_size = mean_high.size();
  const auto normalize_one = [&](std::size_t b) {
    const std::uint8_t* const frame = store.frames + static_cast<std::size_t>(indices[b]) * store.frame_size();
    for_block_rows<std::uint8_t>(
        store, store.channels, [&](std::size_t c) { return frame + c * store.height * store.width; },
        [&](std::size_t first, const std::vector<std::uint8_t>& pixels) {
          normalize(pixels.data(), pixels.size(), mean_high.data() + first, mean_low.data() + first,
                    inverse_std.data() + first, statistics.clip, out + b * input_size + first);
        });
  };
  pool.run(indices.size(), normalize_one, poll);
}

template void gather_stacks(const FrameStoreView&, std::span<const std::uint8_t>, std::span<const std::int64_t>,
                            std::size_t, float*, ThreadPool&, ThreadPool::Poll);
template void gather_stacks(const FrameStoreView&, std::span<const std::uint8_t>, std::span<const std::int64_t>,
                            std::size_t, Bfloat16*, ThreadPool&, ThreadPool::Poll);
template void normalize_frames(const FrameStoreView&, std::span<const std::int64_t>, const FrameStatistics&, float*,
                               ThreadPool&, ThreadPool::Poll);
template void normalize_frames(const FrameStoreView&, std::span<const std::int64_t>, const FrameStatistics&, Bfloat16*,
                               ThreadPool&, ThreadPool::Poll);

}  // namespace rndfast
