// SPDX-License-Identifier: MIT
// Reads network inputs out of a frame store, which holds every frame once.
//
// A store has one row of frames per time step, (R, N, frame): row r of environment n is one uint8 frame. Observation
// t of a stack of S frames is rows t .. t + S - 1, oldest first, so that a store of R rows holds R - S + 1
// observations. `valid_frames(t, n)`, 1 .. S, counts the frames since the episode began: older ones read as zeros,
// as the reference implementation's frame stack does after a reset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rndfast/common/thread_pool.hpp"
#include "rndfast/preprocess/bfloat16.hpp"

namespace rndfast {

struct FrameStoreView {
  const std::uint8_t* frames;  // (num_rows, num_envs, frame_size)
  std::size_t num_rows;
  std::size_t num_envs;
  std::size_t frame_size;  // elements of one frame
};

/// Mean and standard deviation per pixel, prepared for normalize_frames. The mean is split into two floats so that
/// the difference from a pixel keeps float64's accuracy even where a pixel hardly ever changes.
struct FrameStatistics {
  std::span<const float> mean_high;
  std::span<const float> mean_low;
  std::span<const float> inverse_std;
  float clip;
};

/// out[b] = the stack (stack_size, frame_size) of observation indices[b] = t * num_envs + n.
/// uint8 outputs are the pixels; float and bfloat16 outputs are pixel / 255. `out` has
/// indices.size() * stack_size * frame_size elements and must not overlap the store. Indices are in range.
template <typename Out>
void gather_stacks(const FrameStoreView& store, std::span<const std::uint8_t> valid_frames,
                   std::span<const std::int64_t> indices, std::size_t stack_size, Out* out, ThreadPool& pool,
                   ThreadPool::Poll poll);

/// out[b] = clip((frame - mean) / std, -clip, clip) of the frame indices[b] = row * num_envs + n: RND's input
/// (paper section 2.4). `out` has indices.size() * frame_size elements. Out: float or Bfloat16.
template <typename Out>
void normalize_frames(const FrameStoreView& store, std::span<const std::int64_t> indices,
                      const FrameStatistics& statistics, Out* out, ThreadPool& pool, ThreadPool::Poll poll);

}  // namespace rndfast
