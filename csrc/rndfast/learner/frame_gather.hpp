// SPDX-License-Identifier: MIT
// Reads network inputs out of a frame store, which holds every frame once.
//
// A store has one row of frames per time step, (R, N, C, H, W): row r of environment n is one uint8 frame. Observation
// t of a stack of S frames is rows t .. t + S - 1, oldest first, so that a store of R rows holds R - S + 1
// observations. `valid_frames(t, n)`, 1 .. S, counts the frames since the episode began: older ones read as zeros,
// as the reference implementation's frame stack does after a reset.
//
// Inputs are written as blocks of 4 x 4 pixels, channels last: the networks' first convolution, 8 x 8 with stride 4, is
// a 2 x 2 convolution with stride 1 over them, which is faster. Block (y, x) of a plane is 16 numbers, pixel (4 y + i,
// 4 x + j) at 4 i + j; an input is (H / 4, W / 4, planes, 16). Pixels beyond the last whole block are left out, as the
// convolution leaves them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rndfast/common/thread_pool.hpp"
#include "rndfast/learner/bfloat16.hpp"

namespace rndfast {

constexpr std::size_t kBlockSide = 4;
constexpr std::size_t kBlockPixels = kBlockSide * kBlockSide;

struct FrameStoreView {
  const std::uint8_t* frames;  // (num_rows, num_envs, channels, height, width)
  std::size_t num_rows;
  std::size_t num_envs;
  std::size_t channels;
  std::size_t height;
  std::size_t width;

  std::size_t frame_size() const { return channels * height * width; }
  std::size_t num_blocks() const { return (height / kBlockSide) * (width / kBlockSide); }  // of one plane
};

/// Mean and standard deviation per pixel (C, H, W), prepared for normalize_frames. The mean is split into two floats so
/// that the difference from a pixel keeps float64's accuracy even where a pixel hardly ever changes.
struct FrameStatistics {
  std::span<const float> mean_high;
  std::span<const float> mean_low;
  std::span<const float> inverse_std;
  float clip;
};

/// out[b] = pixel / 255 of the stack of observation indices[b] = t * num_envs + n, as blocks; its planes are the S * C
/// of the stack. `out` has indices.size() * num_blocks * S * C * 16 elements and must not overlap the store. Indices
/// are in range. Out: float or Bfloat16.
template <typename Out>
void gather_stacks(const FrameStoreView& store, std::span<const std::uint8_t> valid_frames,
                   std::span<const std::int64_t> indices, std::size_t stack_size, Out* out, ThreadPool& pool,
                   ThreadPool::Poll poll);

/// out[b] = clip((frame - mean) / std, -clip, clip) of the frame indices[b] = row * num_envs + n, as blocks: RND's
/// input (paper section 2.4). `out` has indices.size() * num_blocks * C * 16 elements. Out: float or Bfloat16.
template <typename Out>
void normalize_frames(const FrameStoreView& store, std::span<const std::int64_t> indices,
                      const FrameStatistics& statistics, Out* out, ThreadPool& pool, ThreadPool::Poll poll);

}  // namespace rndfast
