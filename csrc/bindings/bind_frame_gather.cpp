// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "array.hpp"
#include "bindings.hpp"
#include "gil.hpp"
#include "rndfast/learner/frame_gather.hpp"

namespace rndfast::bindings {
using namespace py::literals;

namespace {

constexpr const char* kGatherStacksDoc = R"(Gather stacks of frames, the policy's input, out of a frame store.

Observation ``t`` of environment ``n`` is the frames ``frames[t : t + S, n]``, oldest first. Of these only the newest
``valid_frames[t, n]`` belong to its episode; the others read as zeros, as the reference implementation has them.

Pixels are written as blocks of 4 x 4, channels last: ``out[b, y, x, 16 * (s * C + c) + 4 * i + j]`` is pixel
``(4 * y + i, 4 * x + j)`` of plane ``c`` of frame ``s``. An 8 x 8 convolution with stride 4 is a 2 x 2 convolution over
them (``rndfast.learner.networks``). Rows and columns after the last whole block are left out.

Args:
    frames: ``(R, N, C, H, W)`` uint8, H and W at least 4: every frame once.
    valid_frames: ``(R - S + 1, N)`` uint8, each in 1 .. S: frames of the episode in each observation.
    indices: ``(B,)`` int64: observations, as ``t * N + n``.
    out: ``(B, H // 4, W // 4, S * C * 16)``, filled in place. float32: pixel / 255. uint16: the bits of
        bfloat16(pixel / 255), rounded to nearest even (a ``torch.bfloat16`` tensor's ``.view(torch.uint16).numpy()``).
    pool: Threads to share the work; None: the calling thread alone.

Raises:
    TypeError: An argument is no array of its dtype.
    ValueError: A shape, layout or value is wrong, or ``out`` is read-only or overlaps an input.
    KeyboardInterrupt: Ctrl-C; ``out`` is then filled in part.
)";

constexpr const char* kNormalizeFramesDoc = R"(Gather single frames as RND's input: ``clip((frame - mean) / std)``.

Paper section 2.4. Accurate to float32 rounding of the exact quotient.

Args:
    frames: ``(R, N, C, H, W)`` uint8, H and W at least 4: every frame once.
    indices: ``(B,)`` int64: frames, as ``row * N + n``.
    mean: ``(C, H, W)`` float64: mean of each pixel (``RunningMoments.mean``).
    var: ``(C, H, W)`` float64, above zero: its variance (``RunningMoments.var``).
    out: ``(B, H // 4, W // 4, C * 16)``, filled in place with blocks of 4 x 4 pixels (see :func:`gather_stacks`).
        float32, or uint16 for the bits of bfloat16.
    clip: Largest magnitude, above zero; 5 in the paper.
    pool: Threads to share the work; None: the calling thread alone.

Raises:
    TypeError: An argument is no array of its dtype.
    ValueError: A shape, layout or value is wrong, or ``out`` is read-only or overlaps an input.
    KeyboardInterrupt: Ctrl-C; ``out`` is then filled in part.
)";

constexpr double kMaxInverseStd = 1e30;
constexpr double kMinFloat{std::numeric_limits<float>::min()};
constexpr double kMaxFloat{std::numeric_limits<float>::max()};

FrameStoreView require_frames(const py::array& frames) {
  require_shape("frames", frames, {kAny, kAny, kAny, kAny, kAny}, "(R, N, C, H, W)");
  if (frames.size() == 0) throw py::value_error("frames must not be empty, got " + shape_text(shape_of(frames)));
  const auto length = [&](int axis) { return static_cast<std::size_t>(frames.shape(axis)); };
  if (length(3) < kBlockSide || length(4) < kBlockSide) {
    throw py::value_error("frames must be at least 4 pixels high and wide, got " + shape_text(shape_of(frames)));
  }
  return {.frames = static_cast<const std::uint8_t*>(frames.data()),
          .num_rows = length(0),
          .num_envs = length(1),
          .channels = length(2),
          .height = length(3),
          .width = length(4)};
}

/// The view of an index array, each index in [0, limit).
std::span<const std::int64_t> require_indices(const py::array& indices, std::size_t limit) {
  require_shape("indices", indices, {kAny}, "(B,)");
  const auto view = view_flat<std::int64_t>(indices);
  const auto is_outside = [&](std::int64_t index) { return index < 0 || index >= static_cast<std::int64_t>(limit); };
  if (const auto found = std::ranges::find_if(view, is_outside); found != view.end()) {
    throw py::value_error("indices must be in [0, " + std::to_string(limit) + "), got " + std::to_string(*found) +
                          " at position " + std::to_string(found - view.begin()));
  }
  return view;
}

/// Shape of `batch_size` inputs of `num_planes` planes each.
Shape blocks_shape(py::ssize_t batch_size, const FrameStoreView& store, std::size_t num_planes) {
  return {batch_size, static_cast<py::ssize_t>(store.height / kBlockSide),
          static_cast<py::ssize_t>(store.width / kBlockSide), static_cast<py::ssize_t>(num_planes * kBlockPixels)};
}

void gather_stacks_into(const ArrayArg<std::uint8_t>& frames, const ArrayArg<std::uint8_t>& valid_frames,
                        const ArrayArg<std::int64_t>& indices, const ArrayArg<void>& out,
                        const OptionalPool& optional_pool) {
  const py::array frames_array = require_array("frames", frames);
  const py::array valid_array = require_array("valid_frames", valid_frames);
  const py::array indices_array = require_array("indices", indices);
  py::array out_array = require_array("out", out.object, {py::dtype::of<float>(), py::dtype::of<std::uint16_t>()});
  const FrameStoreView store = require_frames(frames_array);

  // the stack size follows from the number of observations
  require_shape("valid_frames", valid_array, {kAny, frames_array.shape(1)}, "(R - S + 1, N)");
  if (valid_array.shape(0) < 1 || valid_array.shape(0) > frames_array.shape(0)) {
    throw py::value_error("valid_frames must have 1 to R = " + std::to_string(frames_array.shape(0)) + " rows, got " +
                          std::to_string(valid_array.shape(0)));
  }
  const py::ssize_t stack_size = frames_array.shape(0) - valid_array.shape(0) + 1;
  const auto valid_view = view_flat<std::uint8_t>(valid_array);
  const auto is_invalid = [&](std::uint8_t valid) { return valid < 1 || valid > stack_size; };
  if (const auto found = std::ranges::find_if(valid_view, is_invalid); found != valid_view.end()) {
    throw py::value_error("valid_frames must be in [1, S = " + std::to_string(stack_size) + "], got " +
                          std::to_string(*found));
  }
  const auto indices_view = require_indices(indices_array, valid_view.size());
  require_shape("out", out_array,
                blocks_shape(indices_array.shape(0), store, static_cast<std::size_t>(stack_size) * store.channels),
                "(B, H // 4, W // 4, S * C * 16)");
  require_writable("out", out_array);
  require_no_overlap("out", out_array, "frames", frames_array);
  // both are checked above and read again while `out` is written
  require_no_overlap("out", out_array, "valid_frames", valid_array);
  require_no_overlap("out", out_array, "indices", indices_array);
  const auto pool = resolve_pool(optional_pool);

  void* const out_data = out_array.mutable_data();
  const bool is_float = out_array.dtype().equal(py::dtype::of<float>());
  const auto gather = [&](auto* out_pixels) {
    const GilRelease no_gil;  // only the views are touched
    gather_stacks(store, valid_view, indices_view, static_cast<std::size_t>(stack_size), out_pixels, *pool,
                  check_signals);
  };
  if (is_float) {
    gather(static_cast<float*>(out_data));
  } else {
    gather(static_cast<Bfloat16*>(out_data));
  }
}

void normalize_frames_into(const ArrayArg<std::uint8_t>& frames, const ArrayArg<std::int64_t>& indices,
                           const ArrayArg<double>& mean, const ArrayArg<double>& var, const ArrayArg<void>& out,
                           double clip, const OptionalPool& optional_pool) {
  const py::array frames_array = require_array("frames", frames);
  const py::array indices_array = require_array("indices", indices);
  const py::array mean_array = require_array("mean", mean);
  const py::array var_array = require_array("var", var);
  py::array out_array = require_array("out", out.object, {py::dtype::of<float>(), py::dtype::of<std::uint16_t>()});
  const FrameStoreView store = require_frames(frames_array);
  const auto indices_view = require_indices(indices_array, store.num_rows * store.num_envs);
  const Shape frame_shape(frames_array.shape() + 2, frames_array.shape() + 5);
  require_shape("mean", mean_array, frame_shape, "(C, H, W)");
  require_shape("var", var_array, frame_shape, "(C, H, W)");
  require_shape("out", out_array, blocks_shape(indices_array.shape(0), store, store.channels),
                "(B, H // 4, W // 4, C * 16)");
  require_writable("out", out_array);
  require_no_overlap("out", out_array, "frames", frames_array);
  require_no_overlap("out", out_array, "indices", indices_array);
  require_no_overlap("out", out_array, "mean", mean_array);
  require_no_overlap("out", out_array, "var", var_array);
  if (!(clip >= kMinFloat && clip <= kMaxFloat)) {  // false for NaN
    throw py::value_error("clip must be above 0 and within the range of float32, got " + number_text(clip));
  }
  const auto mean_view = view_flat<double>(mean_array);
  const auto var_view = view_flat<double>(var_array);
  if (!std::ranges::all_of(mean_view, [](double value) { return std::abs(value) <= kMaxFloat; })) {
    throw py::value_error("mean must be finite and within the range of float32, got a larger value, NaN or infinity");
  }
  if (!std::ranges::all_of(var_view, [](double value) { return std::isfinite(value) && value > 0.0; })) {
    throw py::value_error(
        "var must be finite and above 0 everywhere, got zero, a negative value, NaN or infinity "
        "(RunningMoments(prior_count=1e-4) keeps constant pixels above 0)");
  }
  const auto pool = resolve_pool(optional_pool);

  std::vector<float> mean_high(store.frame_size());
  std::vector<float> mean_low(store.frame_size());
  std::vector<float> inverse_std(store.frame_size());
  for (std::size_t i = 0; i < store.frame_size(); ++i) {
    mean_high[i] = static_cast<float>(mean_view[i]);
    mean_low[i] = static_cast<float>(mean_view[i] - double{mean_high[i]});
    // a larger factor would overflow, and every deviation but zero is clipped long before
    inverse_std[i] = static_cast<float>(std::min(1.0 / std::sqrt(var_view[i]), kMaxInverseStd));
  }
  const FrameStatistics statistics{
      .mean_high = mean_high, .mean_low = mean_low, .inverse_std = inverse_std, .clip = static_cast<float>(clip)};
  void* const out_data = out_array.mutable_data();
  const bool is_float = out_array.dtype().equal(py::dtype::of<float>());
  const GilRelease no_gil;  // only the views are touched
  if (is_float) {
    normalize_frames(store, indices_view, statistics, static_cast<float*>(out_data), *pool, check_signals);
  } else {
    normalize_frames(store, indices_view, statistics, static_cast<Bfloat16*>(out_data), *pool, check_signals);
  }
}

}  // namespace

void bind_frame_gather(py::module_& m) {
  m.def("gather_stacks", &gather_stacks_into, "frames"_a, "valid_frames"_a, "indices"_a, py::kw_only(), "out"_a,
        "pool"_a = py::none(), kGatherStacksDoc);
  m.def("normalize_frames", &normalize_frames_into, "frames"_a, "indices"_a, "mean"_a, "var"_a, py::kw_only(), "out"_a,
        "clip"_a = 5.0, "pool"_a = py::none(), kNormalizeFramesDoc);
}

}  // namespace rndfast::bindings
