// SPDX-License-Identifier: MIT
#include "rndfast/preprocess/frame_gather.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "rndfast/common/simd.hpp"

namespace rndfast {
namespace {

template <typename Out>
[[gnu::always_inline]] inline Out from_float(float value) {
  if constexpr (std::is_same_v<Out, Bfloat16>) {
    return to_bfloat16(value);
  } else {
    return value;
  }
}

// pixel / 255 without a division, which takes most of the time otherwise: 1 / 255 = high + low, where high has 17
// bits, so that pixel * high is exact and the sum is rounded once.
constexpr float kScaleHigh = 0x1.0101p-8F;
constexpr float kScaleLow = 0x1.010102p-32F;

constexpr float scaled(std::uint8_t pixel) {
  const auto value = static_cast<float>(pixel);
  return value * kScaleHigh + value * kScaleLow;
}

static_assert([] {
  for (int pixel = 0; pixel < 256; ++pixel) {
    if (scaled(static_cast<std::uint8_t>(pixel)) != static_cast<float>(pixel) / 255.0F) return false;
  }
  return true;
}());

/// out[i] = pixel / 255
template <typename Out>
[[gnu::always_inline]] inline void scale_body(const std::uint8_t* __restrict pixels, std::size_t size,
                                              Out* __restrict out) {
  for (std::size_t i = 0; i < size; ++i) out[i] = from_float<Out>(scaled(pixels[i]));
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

void copy_pixels(const std::uint8_t* pixels, std::size_t size, std::uint8_t* out) { std::memcpy(out, pixels, size); }

template <typename Out>
auto scale_kernel(SimdLevel level) {
  if constexpr (std::is_same_v<Out, float>) {
    return scale_float_for(level);
  } else if constexpr (std::is_same_v<Out, Bfloat16>) {
    return scale_bfloat16_for(level);
  } else {
    return &copy_pixels;
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

}  // namespace

template <typename Out>
void gather_stacks(const FrameStoreView& store, std::span<const std::uint8_t> valid_frames,
                   std::span<const std::int64_t> indices, std::size_t stack_size, Out* out, ThreadPool& pool,
                   ThreadPool::Poll poll) {
  const auto scale = scale_kernel<Out>(pool.simd_level());
  const std::size_t row_size = store.num_envs * store.frame_size;
  const auto gather_one = [&](std::size_t b) {
    const auto index = static_cast<std::size_t>(indices[b]);  // t * num_envs + n: also the position of row t's frame
    const std::size_t num_zero_frames = stack_size - valid_frames[index];
    const std::uint8_t* const oldest = store.frames + index * store.frame_size;
    Out* const stack = out + b * stack_size * store.frame_size;
    std::fill_n(stack, num_zero_frames * store.frame_size, Out{});
    for (std::size_t k = num_zero_frames; k < stack_size; ++k) {
      scale(oldest + k * row_size, store.frame_size, stack + k * store.frame_size);
    }
  };
  pool.run(indices.size(), gather_one, poll);
}

template <typename Out>
void normalize_frames(const FrameStoreView& store, std::span<const std::int64_t> indices,
                      const FrameStatistics& statistics, Out* out, ThreadPool& pool, ThreadPool::Poll poll) {
  const auto normalize = normalize_kernel<Out>(pool.simd_level());
  const auto normalize_one = [&](std::size_t b) {
    const std::uint8_t* const frame = store.frames + static_cast<std::size_t>(indices[b]) * store.frame_size;
    normalize(frame, store.frame_size, statistics.mean_high.data(), statistics.mean_low.data(),
              statistics.inverse_std.data(), statistics.clip, out + b * store.frame_size);
  };
  pool.run(indices.size(), normalize_one, poll);
}

template void gather_stacks(const FrameStoreView&, std::span<const std::uint8_t>, std::span<const std::int64_t>,
                            std::size_t, std::uint8_t*, ThreadPool&, ThreadPool::Poll);
template void gather_stacks(const FrameStoreView&, std::span<const std::uint8_t>, std::span<const std::int64_t>,
                            std::size_t, float*, ThreadPool&, ThreadPool::Poll);
template void gather_stacks(const FrameStoreView&, std::span<const std::uint8_t>, std::span<const std::int64_t>,
                            std::size_t, Bfloat16*, ThreadPool&, ThreadPool::Poll);
template void normalize_frames(const FrameStoreView&, std::span<const std::int64_t>, const FrameStatistics&, float*,
                               ThreadPool&, ThreadPool::Poll);
template void normalize_frames(const FrameStoreView&, std::span<const std::int64_t>, const FrameStatistics&, Bfloat16*,
                               ThreadPool&, ThreadPool::Poll);

}  // namespace rndfast
