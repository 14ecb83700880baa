"""rndfast._core.gather_stacks, normalize_frames: against whole episodes and torch; wrong inputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.pools import SIMD_LEVELS, make_pools
from tests.core.wrong_arrays import Case, wrong_arrays
from tests.reference import frames as reference

from rndfast._core import RunningMoments, ThreadPool, gather_stacks, normalize_frames

Array = NDArray[Any]
DTYPES = [np.float32, np.uint16]
SMALL_SHAPES = [(1, 4, 4), (1, 9, 6), (3, 8, 5), (1, 5, 21), (2, 7, 12)]
SHAPES = st.sampled_from([*SMALL_SHAPES, *SMALL_SHAPES, (2, 84, 84)])


def to_bfloat16_bits(values: Array) -> Array:
    """Round float32 to bfloat16 as PyTorch does."""
    bits: Array = torch.from_numpy(values).to(torch.bfloat16).view(torch.uint16).numpy()
    return bits


def as_dtype(pixels: Array, dtype: type) -> Array:
    """What gather_stacks should write of ``pixels``."""
    scaled: Array = pixels.astype(np.float32) / np.float32(255)
    return to_bfloat16_bits(scaled) if dtype is np.uint16 else scaled


def cropped(images: Array) -> Array:
    """Leave out the pixels that are in no whole block."""
    height, width = images.shape[-2:]
    return images[..., : height // 4 * 4, : width // 4 * 4]


def make_out(batch: int, planes: int, frame_shape: tuple[int, ...], dtype: type) -> Array:
    """Memory that is full of rubbish."""
    height, width = frame_shape[-2:]
    return np.full((batch, height // 4, width // 4, planes * 16), 77, dtype)


def gathered_blocks(
    rollout: reference.Rollout, indices: Array, dtype: type, pool: ThreadPool | None = None
) -> Array:
    stack_size, *frame_shape = rollout.stacks.shape[2:]
    out = make_out(len(indices), stack_size * frame_shape[0], tuple(frame_shape), dtype)
    gather_stacks(rollout.frames, rollout.valid_frames, indices, out=out, pool=pool)
    return out


def gathered(
    rollout: reference.Rollout, indices: Array, dtype: type, pool: ThreadPool | None = None
) -> Array:
    """Gather ``(B, S, C, H, W)`` images."""
    images = reference.images_of(gathered_blocks(rollout, indices, dtype, pool))
    return images.reshape(len(indices), *rollout.stacks.shape[2:4], *images.shape[2:])


def make_rollout(
    lengths: list[list[int]],
    stack_size: int,
    frame_shape: tuple[int, ...] = (2, 5, 9),
    seed: int = 0,
) -> reference.Rollout:
    """Random frames of episodes of ``lengths[n]`` in environment n."""
    rng = np.random.default_rng(seed)
    episodes = [
        [rng.integers(1, 256, (length, *frame_shape), np.uint8) for length in of_env]
        for of_env in lengths
    ]
    return reference.rollout_of(episodes, stack_size)


@st.composite
def rollouts(draw: st.DrawFn) -> reference.Rollout:
    stack_size = draw(st.integers(1, 5))
    rows = draw(st.integers(stack_size, stack_size + 10))
    lengths = []
    for _ in range(draw(st.integers(1, 4))):
        starts = sorted(draw(st.sets(st.integers(1, rows - 1)))) if rows > 1 else []
        lengths.append(np.diff([0, *starts, rows]).tolist())
    return make_rollout(lengths, stack_size, draw(SHAPES), draw(st.integers(0, 2**32 - 1)))


@given(rollouts(), st.sampled_from(DTYPES), st.data())
@settings(deadline=None, max_examples=300)
def test_stacks_equal_those_of_whole_episodes(
    rollout: reference.Rollout, dtype: type, data: st.DataObject
) -> None:
    stacks = rollout.stacks.reshape(-1, *rollout.stacks.shape[2:])  # t * N + n
    # any order, repeated, and none at all
    indices = np.array(data.draw(st.lists(st.integers(0, len(stacks) - 1), max_size=30)), np.int64)
    np.testing.assert_array_equal(
        gathered(rollout, indices, dtype), as_dtype(cropped(stacks[indices]), dtype)
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_lie_as_documented(dtype: type) -> None:
    rollout = make_rollout([[2, 3]], 2, (3, 9, 14))
    mean, var = make_statistics((3, 9, 14))
    indices = np.array([3, 0])
    stacks = as_dtype(rollout.stacks[indices, 0], dtype)
    frames = whitened(rollout.frames, indices, mean, var)
    frames = to_bfloat16_bits(frames) if dtype is np.uint16 else frames
    stack_blocks = gathered_blocks(rollout, indices, dtype)
    frame_blocks = whitened_blocks(rollout.frames, indices, mean, var, dtype=dtype)
    assert stack_blocks.shape == (2, 2, 3, 2 * 3 * 16)
    assert frame_blocks.shape == (2, 2, 3, 3 * 16)
    for b, y, x, c, i, j in np.ndindex(2, 2, 3, 3, 4, 4):
        row, column = 4 * y + i, 4 * x + j
        place = 4 * i + j
        assert frame_blocks[b, y, x, 16 * c + place] == frames[b, c, row, column]
        for s in range(2):
            actual = stack_blocks[b, y, x, 16 * (s * 3 + c) + place]
            assert actual == stacks[b, s, c, row, column]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("height", [4, 5, 7, 8, 11])
@pytest.mark.parametrize("width", [4, 6, 7, 8, 17])
def test_pixels_after_the_last_whole_block_are_left_out(
    height: int, width: int, dtype: type
) -> None:
    rollout = make_rollout([[2, 4], [6]], 3, (2, height, width))
    mean, var = make_statistics((2, height, width))
    indices = np.arange(8)
    is_left_out = np.ones((height, width), bool)
    cropped(is_left_out)[...] = False
    changed = rollout._replace(frames=np.where(is_left_out, 255 - rollout.frames, rollout.frames))
    changed_mean, changed_var = np.where(is_left_out, 1e30, mean), np.where(is_left_out, 1e-30, var)

    stacks = gathered(rollout, indices, dtype)
    expected = as_dtype(cropped(rollout.stacks.reshape(8, *rollout.stacks.shape[2:])), dtype)
    assert stacks.shape == (8, 3, 2, height // 4 * 4, width // 4 * 4)
    np.testing.assert_array_equal(stacks, expected)
    np.testing.assert_array_equal(gathered(changed, indices, dtype), stacks)

    white = whitened(rollout.frames, indices, mean, var, dtype=dtype)
    chosen = rollout.frames.reshape(-1, 2, height, width)[indices]
    formula = cropped(reference.normalized(chosen, mean, var, 5.0))
    assert white.shape == formula.shape
    if dtype is np.float32:
        np.testing.assert_allclose(white, formula, rtol=1e-6, atol=0)
    actual = whitened(changed.frames, indices, changed_mean, changed_var, dtype=dtype)
    np.testing.assert_array_equal(actual, white)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("frame_shape", [(1, 4, 4), (3, 9, 6)])
@pytest.mark.parametrize("start", range(1, 9))
def test_frames_before_an_episode_starts_read_as_zeros(
    start: int, frame_shape: tuple[int, ...], dtype: type
) -> None:
    # an episode of environment 0 begins at row `start`; environment 1's goes on
    stack_size, rows = 4, 10
    rollout = make_rollout([[start, rows - start], [rows]], stack_size, frame_shape)
    stacks = gathered(rollout, np.arange(2 * (rows - stack_size + 1)), dtype)
    stacks = stacks.reshape(rows - stack_size + 1, 2, *stacks.shape[1:])
    frames = as_dtype(cropped(rollout.frames), dtype)
    assert (frames != 0).all()
    for t in range(rows - stack_size + 1):
        for k in range(stack_size):
            newest_row, row = t + stack_size - 1, t + k
            if newest_row >= start > row:
                assert stacks[t, 0, k].tobytes() == bytes(stacks[t, 0, k].nbytes)  # no -0.0
            else:
                np.testing.assert_array_equal(stacks[t, 0, k], frames[row, 0])
            np.testing.assert_array_equal(stacks[t, 1, k], frames[row, 1])


@pytest.mark.parametrize("level", SIMD_LEVELS)
def test_every_pixel_value_is_scaled_as_by_a_float32_division(level: str) -> None:
    frames = np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 16, 16)
    rollout = reference.Rollout(frames, np.ones((1, 1), np.uint8), frames[:, :, None])
    zero, pool = np.zeros(1, np.int64), ThreadPool(1, simd=level)
    for dtype in DTYPES:
        actual = gathered(rollout, zero, dtype, pool)
        np.testing.assert_array_equal(actual[0, 0], as_dtype(frames[0, 0], dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_stacks_have_the_same_bits_for_any_pool(dtype: type) -> None:
    rollout = make_rollout([[3, 8, 1, 9], [21], [1] * 21], 4, (2, 9, 14))
    indices = np.random.default_rng(0).permutation(18 * 3)
    results = [gathered_blocks(rollout, indices, dtype, pool).tobytes() for pool in make_pools()]
    assert len(set(results)) == 1


def whitened_blocks(
    frames: Array,
    indices: Array,
    mean: Array,
    var: Array,
    *,
    clip: float = 5.0,
    dtype: type = np.float32,
    pool: ThreadPool | None = None,
) -> Array:
    out = make_out(len(indices), frames.shape[2], frames.shape[2:], dtype)
    normalize_frames(frames, indices, mean, var, out=out, clip=clip, pool=pool)
    return out


def whitened(*arguments: Any, **options: Any) -> Array:
    """Normalise to ``(B, C, H, W)`` images."""
    return reference.images_of(whitened_blocks(*arguments, **options))


def make_statistics(shape: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, shape), rng.uniform(0.1, 90, shape) ** 2


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    SHAPES,
    st.floats(0.25, 100),
    st.integers(0, 2**32 - 1),
    st.data(),
)
@settings(deadline=None)
def test_normalized_frames_equal_the_formula_in_float64(
    rows_envs: tuple[int, int],
    shape: tuple[int, ...],
    clip: float,
    seed: int,
    data: st.DataObject,
) -> None:
    rows, envs = rows_envs
    frames = np.random.default_rng(seed).integers(0, 256, (rows, envs, *shape), np.uint8)
    mean, var = make_statistics(shape, seed)
    indices = np.array(data.draw(st.lists(st.integers(0, rows * envs - 1), max_size=20)), np.int64)
    chosen = frames.reshape(rows * envs, *shape)[indices]
    actual = whitened(frames, indices, mean, var, clip=clip)
    np.testing.assert_allclose(
        actual, cropped(reference.normalized(chosen, mean, var, clip)), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("value", [0, 1, 77, 200, 255])
@pytest.mark.parametrize("count", [1, 1_000, 10**8])
def test_pixels_that_hardly_ever_change_are_normalized_accurately(value: int, count: int) -> None:
    # the prior of 1e-4 samples is all that keeps the variance above zero: the mean is within
    # 1e-12 of the pixel, far less than float32 can tell
    prior = 1e-4
    mean = np.full((1, 4, 4), value * count / (count + prior))
    m2 = prior + value**2 * prior * count / (count + prior)
    var = np.full((1, 4, 4), m2 / (count + prior))
    frames = np.array([value, max(value - 1, 0), min(value + 1, 255)], np.uint8)
    frames = np.broadcast_to(frames[:, None, None, None, None], (3, 1, 1, 4, 4)).copy()
    actual = whitened(frames, np.arange(3), mean, var)
    expected = reference.normalized(frames[:, 0], mean, var, 5.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=0)


def test_frames_normalized_by_their_own_moments_are_white() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (40, 5, 2, 4, 8), np.uint8)
    frames[..., 0] = 9  # a constant column
    moments = RunningMoments((2, 4, 8), prior_count=1e-4)
    moments.update(frames)
    white = whitened(frames, np.arange(200), moments.mean, moments.var)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(white[..., 1:].std(axis=0), 1, rtol=1e-4)
    assert np.abs(white[..., 0]).max() < 1e-2


@pytest.mark.parametrize("clip", [5.0, 0.5, 1e-3])
def test_normalized_frames_are_clipped_on_both_sides(clip: float) -> None:
    frames = np.repeat(np.array([0, 128, 255], np.uint8), 16).reshape(3, 1, 1, 4, 4)
    mean, var = np.full((1, 4, 4), 128.0), np.ones((1, 4, 4))
    actual = whitened(frames, np.arange(3), mean, var, clip=clip)
    expected = np.repeat(np.array([-clip, 0, clip], np.float32), 16)
    np.testing.assert_array_equal(actual.reshape(-1), expected)


@pytest.mark.parametrize("var", [5e-324, 1e-300, 1e-40, 1e300])
def test_extreme_variances_give_finite_results(var: float) -> None:
    frames = np.repeat(np.array([9, 10, 11], np.uint8), 16).reshape(3, 1, 1, 4, 4)
    mean = np.full((1, 4, 4), 10.0)
    actual = whitened(frames, np.arange(3), mean, np.full((1, 4, 4), var))
    expected = np.repeat([0, 0, 0] if var > 1 else [-5, 0, 5], 16)
    np.testing.assert_array_equal(actual.reshape(-1), expected)


@pytest.mark.parametrize("level", SIMD_LEVELS)
def test_bfloat16_is_rounded_as_torch_does(level: str) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, 10, 2, 9, 12), np.uint8)
    mean, var = make_statistics((2, 9, 12))
    var[0, 0] = 4.0**-4  # quotients with few bits, so that ties occur
    mean[0, 0] = np.arange(12) + 0.25
    indices, pool = np.arange(200), ThreadPool(1, simd=level)
    single = whitened(frames, indices, mean, var, clip=1e4, pool=pool)
    half = whitened(frames, indices, mean, var, clip=1e4, dtype=np.uint16, pool=pool)
    np.testing.assert_array_equal(half, to_bfloat16_bits(single))
    assert (single.view(np.uint32) & 0xFFFF == 0x8000).any()  # there are ties


def test_a_torch_tensor_of_bfloat16_can_be_filled() -> None:
    frames = np.arange(128, dtype=np.uint8).reshape(2, 2, 2, 4, 4)
    tensor = torch.zeros(4, 1, 1, 32, dtype=torch.bfloat16)
    mean, var = np.full((2, 4, 4), 64.0), np.full((2, 4, 4), 256.0)
    normalize_frames(frames, np.arange(4), mean, var, out=tensor.view(torch.uint16).numpy())
    whole = frames.reshape(4, 2, 4, 4)  # a frame of one block lies as the frame does
    expected = torch.from_numpy(reference.normalized(whole, mean, var, 5.0)).view(4, 1, 1, 32)
    assert torch.equal(tensor, expected.to(torch.bfloat16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalized_frames_have_the_same_bits_for_any_pool(dtype: type) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (9, 3, 2, 9, 14), np.uint8)
    mean, var = make_statistics((2, 9, 14))
    indices = np.random.default_rng(1).permutation(27)
    results = [
        whitened_blocks(frames, indices, mean, var, dtype=dtype, pool=pool).tobytes()
        for pool in make_pools()
    ]
    assert len(set(results)) == 1


@pytest.mark.parametrize("level", SIMD_LEVELS)
@given(SHAPES, st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_float32_has_the_same_bits_at_every_simd_level(
    level: str, frame_shape: tuple[int, ...], clip: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rollout = make_rollout([[3, 5], [8], [1] * 8], 4, frame_shape, seed)
    mean = rng.uniform(0, 255, frame_shape)
    var = 10.0 ** rng.uniform(-20, 20, frame_shape)  # many quotients are clipped, many tiny
    frames, indices = rollout.frames, rng.integers(0, 15, 20)
    pool, baseline = ThreadPool(1, simd=level), ThreadPool(1, simd="baseline")

    stacks = gathered_blocks(rollout, indices, np.float32, pool)
    expected = gathered_blocks(rollout, indices, np.float32, baseline)
    assert stacks.tobytes() == expected.tobytes()
    white = whitened_blocks(frames, indices, mean, var, clip=clip, pool=pool)
    expected = whitened_blocks(frames, indices, mean, var, clip=clip, pool=baseline)
    assert white.tobytes() == expected.tobytes()
    # the kernel's operations, each rounded on its own: no level may fuse a product and a sum
    mean_high = mean.astype(np.float32)
    pixels = frames.reshape(-1, *frame_shape)[indices].astype(np.float32)
    deviation = (pixels - mean_high) - (mean - mean_high).astype(np.float32)
    quotient = deviation * (1 / np.sqrt(var)).astype(np.float32)
    rounded = cropped(quotient.clip(-np.float32(clip), np.float32(clip)))
    assert reference.images_of(white).tobytes() == rounded.tobytes()


def test_read_only_inputs_are_accepted() -> None:
    rollout = make_rollout([[6], [2, 4]], 3)
    indices = np.arange(8)
    mean, var = make_statistics((2, 5, 9))
    for array in (*rollout, indices, mean, var):
        array.flags.writeable = False
    expected = as_dtype(cropped(rollout.stacks.reshape(8, 3, 2, 5, 9)), np.float32)
    np.testing.assert_array_equal(gathered(rollout, indices, np.float32), expected)
    assert np.isfinite(whitened(rollout.frames, indices, mean, var)).all()


# --- wrong inputs: the store has R = 6 rows, N = 2 environments, C = 2 channels of 5 x 9 pixels,
# which are 1 x 2 blocks, and stacks of S = 3

FRAMES = np.ones((6, 2, 2, 5, 9), np.uint8)
VALID = np.full((4, 2), 3, np.uint8)
INDICES = np.array([7, 0, 3], np.int64)
FLOAT_STACKS = np.full((3, 1, 2, 96), 77, np.float32)
FLOAT_FRAMES = np.full((3, 1, 2, 32), 77, np.float32)
PLANE = np.ones((2, 5, 9))


def with_value(array: Array, value: float) -> Array:
    wrong: Array = array.copy()
    wrong.flat[-1] = value
    return wrong


def read_only(array: Array) -> Array:
    copy: Array = array.copy()
    copy.flags.writeable = False
    return copy


WRONG_STORES: list[Case] = [
    *wrong_arrays("frames", FRAMES, "(R, N, C, H, W) = (any, any, any, any, any)"),
    ("frames", FRAMES.astype(np.float32), TypeError, "^frames must .* uint8, got float32$"),
    *(
        ("frames", wrong.copy(), ValueError, rf"^frames must not be empty, got {shape}$")
        for wrong, shape in [
            (FRAMES[:0], r"\(0, 2, 2, 5, 9\)"),
            (FRAMES[:, :0], r"\(6, 0, 2, 5, 9\)"),
            (FRAMES[:, :, :0], r"\(6, 2, 0, 5, 9\)"),
            (FRAMES[..., :0, :], r"\(6, 2, 2, 0, 9\)"),
            (FRAMES[..., :0], r"\(6, 2, 2, 5, 0\)"),
        ]
    ),
    *(
        ("frames", wrong.copy(), ValueError, f"^frames must be at least 4 .* wide, got {shape}$")
        for wrong, shape in [
            (FRAMES[..., :3, :], r"\(6, 2, 2, 3, 9\)"),
            (FRAMES[..., :3], r"\(6, 2, 2, 5, 3\)"),
            (FRAMES[..., :3, :3], r"\(6, 2, 2, 3, 3\)"),
            (FRAMES[..., :1, :1], r"\(6, 2, 2, 1, 1\)"),
        ]
    ),
    ("indices", with_value(INDICES, -1), ValueError, r"^indices .*, got -1 at position 2$"),
    (
        "indices",
        with_value(INDICES, 2**62),
        ValueError,
        r"^indices .*, got 4611686\d+ at position 2$",
    ),
    ("indices", INDICES.astype(np.int32), TypeError, "^indices must .* int64, got int32$"),
    ("indices", INDICES.astype(np.float64), TypeError, "^indices must .* int64, got float64$"),
    ("indices", INDICES.astype(np.uint64), TypeError, "^indices must .* int64, got uint64$"),
    *wrong_arrays("indices", INDICES, None),
    ("indices", INDICES[:, None], ValueError, r"^indices must have shape \(B,\) = \(any,\), got"),
    ("indices", np.array(3), ValueError, r"^indices must have shape \(B,\) = \(any,\), got \(\)$"),
    ("pool", 2, TypeError, "(?s)incompatible function arguments.*pool: "),
]
OUT_DTYPES = "float32 or uint16"
STACKS_SHAPE = "(B, H // 4, W // 4, S * C * 16) = (3, 1, 2, 96)"
FRAMES_SHAPE = "(B, H // 4, W // 4, C * 16) = (3, 1, 2, 32)"


def wrong_outs(good: Array, shape: str) -> list[Case]:
    images = reference.images_of(good)  # as many numbers as the blocks have
    return [
        *wrong_arrays("out", good, shape, dtypes=OUT_DTYPES),
        *(
            ("out", wrong.copy(), ValueError, f"^out must .* {re.escape(f'{shape}, got {got}')}$")
            for wrong, got in [
                (good[:2], (2, *good.shape[1:])),
                (good[..., :-16], (*good.shape[:3], good.shape[3] - 16)),
                (images, images.shape),
            ]
        ),
        *(
            ("out", good.astype(dtype), TypeError, f"^out must .* {OUT_DTYPES}, got {dtype}$")
            for dtype in ("uint8", "int16", "float16", "float64")
        ),
        ("out", read_only(good), ValueError, "^out must be writable, got a read-only array$"),
    ]


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *WRONG_STORES,
        (
            "frames",
            FRAMES[:3].copy(),
            ValueError,
            r"^valid_frames must have 1 to R = 3 rows, got 4$",
        ),
        ("frames", FRAMES[:, :1].copy(), ValueError, r"^valid_frames .* \(any, 1\), got \(4, 2\)$"),
        *wrong_arrays("valid_frames", VALID, "(R - S + 1, N) = (any, 2)"),
        ("valid_frames", VALID[:0], ValueError, "^valid_frames must have 1 to R = 6 rows, got 0$"),
        ("valid_frames", with_value(VALID, 0), ValueError, r"^valid_frames .*S = 3\], got 0$"),
        ("valid_frames", with_value(VALID, 4), ValueError, r"^valid_frames .*S = 3\], got 4$"),
        ("indices", with_value(INDICES, 8), ValueError, r"^indices must be in \[0, 8\), got 8 at"),
        *wrong_outs(FLOAT_STACKS, STACKS_SHAPE),
    ],
)
def test_gather_stacks_refuses_wrong_arguments(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    out = FLOAT_STACKS.copy()
    arguments: dict[str, Any] = {
        "frames": FRAMES,
        "valid_frames": VALID,
        "indices": INDICES,
        "out": out,
        "pool": None,
    }
    arguments[name] = wrong
    with pytest.raises(error, match=message):
        gather_stacks(**arguments)
    assert_untouched(wrong if name == "out" else out)


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *WRONG_STORES,
        (
            "indices",
            with_value(INDICES, 12),
            ValueError,
            r"^indices .*\[0, 12\), got 12 at position 2",
        ),
        *wrong_arrays("mean", PLANE, "(C, H, W) = (2, 5, 9)"),
        *wrong_arrays("var", PLANE, "(C, H, W) = (2, 5, 9)"),
        ("mean", PLANE.astype(np.float32), TypeError, "^mean must .* float64, got float32$"),
        *(
            (
                "mean",
                with_value(PLANE, value),
                ValueError,
                "^mean must be finite and within the range",
            )
            for value in (np.nan, np.inf, -np.inf, 1e39)
        ),
        *(
            (
                "var",
                with_value(PLANE, value),
                ValueError,
                "^var must be finite and above 0 everywhere",
            )
            for value in (0.0, -1.0, np.nan, np.inf)
        ),
        *(
            ("clip", value, ValueError, f"^clip must be above 0 and within .* float32, got {text}$")
            for value, text in [
                (0.0, "0"),
                (-5, "-5"),
                (np.nan, "nan"),
                (np.inf, "inf"),
                (1e-50, "1e-50"),
            ]
        ),
        ("clip", "5", TypeError, "(?s)incompatible function arguments.*clip: "),
        ("clip", None, TypeError, "(?s)incompatible function arguments.*clip: "),
        *wrong_outs(FLOAT_FRAMES, FRAMES_SHAPE),
    ],
)
def test_normalize_frames_refuses_wrong_arguments(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    out = FLOAT_FRAMES.copy()
    arguments: dict[str, Any] = {
        "frames": FRAMES,
        "indices": INDICES,
        "mean": PLANE,
        "var": PLANE,
        "out": out,
        "clip": 5.0,
        "pool": None,
    }
    arguments[name] = wrong
    with pytest.raises(error, match=message):
        normalize_frames(**arguments)
    assert_untouched(wrong if name == "out" else out)


def assert_untouched(out: Any) -> None:
    """All of an array that was made full of 77 still is; what is no array cannot have changed."""
    if isinstance(out, np.ndarray) and out.dtype != object:
        assert (out == 77).all()
    assert (FRAMES == 1).all()
    assert (PLANE == 1).all()


@pytest.mark.parametrize("name", ["frames", "valid_frames", "indices"])
def test_gather_stacks_refuses_an_out_that_overlaps_an_input(name: str) -> None:
    # checked before work: an index that changes under way would read outside the store
    memory = np.zeros(4096, np.uint8)
    arguments: dict[str, Any] = {"frames": FRAMES, "valid_frames": VALID, "indices": INDICES}
    good = arguments[name]
    out_size = FLOAT_STACKS.size * 2  # of uint16, which lies at even addresses

    def share(begin: int) -> Array:
        shared: Array = memory[begin : begin + good.nbytes].view(good.dtype).reshape(good.shape)
        shared[...] = good
        return shared

    def out_at(begin: int) -> Array:
        return memory[begin : begin + out_size].view(np.uint16).reshape(FLOAT_STACKS.shape)

    # by one byte at the one end and at the other, where the input's bytes may lie so; inside
    first = 1600 if good.itemsize > 1 else 1599
    inside, last = first // 2 * 2 + 2, first + good.nbytes - 1
    for begin in (inside - out_size, inside, last // 2 * 2):
        memory[...] = 0
        shared = share(first)
        before = memory.copy()
        with pytest.raises(ValueError, match=f"^out must not share memory with {name}$"):
            gather_stacks(**{**arguments, name: shared}, out=out_at(begin))
        np.testing.assert_array_equal(memory, before)
    # side by side is no overlap
    for begin in (1600 - out_size, 1600 + good.nbytes):
        shared, out = share(1600), out_at(begin)
        gather_stacks(**{**arguments, name: shared}, out=out)
        assert (out == as_dtype(np.ones(1, np.uint8), np.uint16)).all()
        np.testing.assert_array_equal(shared, good)


@pytest.mark.parametrize("name", ["frames", "indices", "mean", "var"])
def test_normalize_frames_refuses_an_out_that_overlaps_an_input(name: str) -> None:
    memory = np.zeros(2000, np.uint8)
    arguments: dict[str, Any] = {
        "frames": FRAMES,
        "indices": INDICES,
        "mean": PLANE,
        "var": PLANE,
    }
    good = arguments[name]
    shared = memory[64 : 64 + good.nbytes].view(good.dtype).reshape(good.shape)
    shared[...] = good
    out = memory[64:][: FLOAT_FRAMES.nbytes].view(np.float32).reshape(FLOAT_FRAMES.shape)
    with pytest.raises(ValueError, match=f"^out must not share memory with {name}$"):
        normalize_frames(**{**arguments, name: shared}, out=out)
    np.testing.assert_array_equal(shared, good)
