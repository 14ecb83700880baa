# SPDX-License-Identifier: MIT
"""rndfast._core.area_resize, palette: against ale-py's own pictures, and its formulas in NumPy."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import ale_py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.pools import SIMD_LEVELS
from tests.core.wrong_arrays import wrong_arrays
from tests.reference import area_resize as reference
from tests.reference.ale import AleVectorEnv

from rndfast._core import area_resize, palette

Uint8Array = NDArray[np.uint8]
HEIGHTS = {
    "montezuma_revenge": 210,
    "qbert": 210,
    "carnival": 214,
    "pooyan": 220,
    "journey_escape": 230,
    "king_kong": 250,
    "mr_do": 250,
}
PAL_GAMES = (
    "adventure",
    "air_raid",
    "keystone_kapers",
    "king_kong",
    "klax",
    "laser_gates",
    "mr_do",
    "pacman",
    "sir_lancelot",
    "space_war",
)


@functools.cache
def ale_frames(
    game: str, height: int, width: int, *, grayscale: bool = True, frameskip: int = 4
) -> Uint8Array:
    """The frames of 40 steps of ale-py's own, each action held for 4 frames in all."""
    envs = AleVectorEnv(
        game,
        num_envs=1,
        num_threads=1,
        stack_num=1,
        img_height=height,
        img_width=width,
        grayscale=grayscale,
        frameskip=frameskip,
    )
    envs.single_action_space.seed(0)
    frames = [envs.reset(seed=3)[0][0, 0].copy()]
    for _ in range(40):
        action = np.array([envs.single_action_space.sample()])
        frames += [envs.step(action)[0][0, 0].copy() for _ in range(4 // frameskip)]
    envs.close()
    return np.array(frames)


@pytest.mark.parametrize("game", HEIGHTS)
@pytest.mark.parametrize("grayscale", [True, False])
def test_84_by_84_as_in_ale_py(game: str, grayscale: bool) -> None:
    frames = ale_frames(game, HEIGHTS[game], 160, grayscale=grayscale)
    expected = ale_frames(game, 84, 84, grayscale=grayscale)
    for simd in SIMD_LEVELS:
        np.testing.assert_array_equal(area_resize(frames, 84, 84, simd=simd), expected)


@pytest.mark.parametrize("game", ["qbert", "mr_do"])
@pytest.mark.parametrize("grayscale", [True, False])
@pytest.mark.parametrize(
    ("height", "width"),
    [
        (64, 64),
        (96, 96),
        (105, 80),  # 2 x 2 pixels of NTSC become one
        (125, 80),  # of PAL
        (42, 32),  # 5 x 5 of NTSC
        (50, 40),  # 5 x 4 of PAL
        (210, 84),
        (84, 160),
        (7, 9),
        (1, 1),
        (209, 159),
        (256, 256),
        (84, 256),  # grows along one axis alone
        (300, 84),
        (500, 320),
    ],
)
def test_other_sizes_as_in_ale_py(game: str, grayscale: bool, height: int, width: int) -> None:
    frames = ale_frames(game, HEIGHTS[game], 160, grayscale=grayscale)
    expected = ale_frames(game, height, width, grayscale=grayscale)
    np.testing.assert_array_equal(area_resize(frames, height, width), expected)
    np.testing.assert_array_equal(reference.resized(frames, height, width), expected)


@pytest.mark.parametrize("game", ["montezuma_revenge", "king_kong"])
@pytest.mark.parametrize("grayscale", [True, False])
def test_the_maximum_of_the_last_two_frames_as_in_ale_py(game: str, grayscale: bool) -> None:
    single = ale_frames(game, HEIGHTS[game], 160, grayscale=grayscale, frameskip=1)[1:]
    expected = ale_frames(game, 84, 84, grayscale=grayscale, frameskip=4)[1:]
    assert (single[3::4] != single[2::4]).any()
    second, last = single[2::4].copy(), single[3::4].copy()
    for simd in SIMD_LEVELS:
        np.testing.assert_array_equal(area_resize(last, 84, 84, second=second, simd=simd), expected)


@given(
    st.sampled_from([(210, 160), (214, 160), (220, 160), (230, 160), (250, 160)])
    | st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.sampled_from([None, 1, 2, 3, 5]), st.sampled_from([None, 1, 2, 4, 5])),
    st.sampled_from([(), (3,)]),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_every_size_as_the_formulas_have_it(
    source: tuple[int, int],
    destination: tuple[int, int],
    factors: tuple[int | None, int | None],
    channels: tuple[int, ...],
    seed: int,
) -> None:
    height, width = (
        length if factor is None else max(1, whole // factor)
        for length, whole, factor in zip(destination, source, factors, strict=True)
    )
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, rng.choice([2, 50, 256]), np.uint8)  # few make many ties
    first, second = colours[rng.integers(len(colours), size=(2, 1, *source, *channels))]
    larger = np.maximum(first, second)
    expected = reference.resized(larger, height, width)
    for simd in SIMD_LEVELS:
        np.testing.assert_array_equal(area_resize(larger, height, width, simd=simd), expected)
        pooled = area_resize(first, height, width, second=second, simd=simd)
        np.testing.assert_array_equal(pooled, expected)


def test_no_pictures_give_none() -> None:
    assert area_resize(np.zeros((0, 210, 160), np.uint8), 84, 84).shape == (0, 84, 84)
    assert area_resize(np.zeros((0, 5, 5, 3), np.uint8), 7, 3).shape == (0, 7, 3, 3)


# --- palettes


def screens(game: str, num_frames: int) -> tuple[Uint8Array, Uint8Array, Uint8Array]:
    """Colour bytes, grey and RGB of ``num_frames`` random frames."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 1)
    ale.loadROM(Path(ale_py.__file__).parent / "roms" / f"{game}.bin")
    actions = ale.getLegalActionSet()
    rng = np.random.default_rng(0)
    found = []
    for _ in range(num_frames):
        if ale.game_over():
            ale.reset_game()
        ale.act(actions[rng.integers(len(actions))])
        found.append((ale.getScreen(), ale.getScreenGrayscale(), ale.getScreenRGB()))
    colours, grey, rgb = (np.array(of_kind, np.uint8) for of_kind in zip(*found, strict=True))
    return colours, grey, rgb


@pytest.mark.parametrize(
    ("game", "tv_format"),
    [
        *((game, "pal") for game in PAL_GAMES),
        *((game, "ntsc") for game in ("video_pinball", "carnival", "qbert", "galaxian")),
    ],
)
def test_palettes_as_in_ale_py(game: str, tv_format: str) -> None:
    colours, expected_grey, expected_rgb = screens(game, 300)
    grey, rgb = palette(tv_format)
    np.testing.assert_array_equal(grey[colours], expected_grey)
    np.testing.assert_array_equal(rgb[colours], expected_rgb)
    assert tv_format == "pal" or (colours % 2 == 0).all()


@pytest.mark.parametrize("tv_format", ["ntsc", "pal"])
def test_palettes_are_of_256_colours(tv_format: str) -> None:
    grey, rgb = palette(tv_format)
    assert (grey.shape, rgb.shape) == ((256,), (256, 3))
    assert grey.dtype == rgb.dtype == np.uint8
    luma = np.floor(rgb[::2].astype(int) @ np.array([2989, 5870, 1140]) / 10000 + 0.5)
    np.testing.assert_array_equal(grey[::2], luma)


def test_a_pal_game_loses_its_colour() -> None:
    colours, _, _ = screens("air_raid", 300)
    assert (colours % 2).any()  # so that the test above covers odd bytes


def test_an_unknown_tv_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r'^tv_format must be "ntsc" or "pal", got "PAL"$'):
        palette("PAL")


# --- wrong inputs

PICTURES = np.ones((2, 5, 7), np.uint8)


@pytest.mark.parametrize(
    ("name", "wrong", "error", "message"),
    [
        *wrong_arrays("pictures", PICTURES, None),
        ("pictures", PICTURES[0], ValueError, r"^pictures must .* \(N, H, W, 3\), got \(5, 7\)$"),
        ("pictures", PICTURES[..., None], ValueError, r"^pictures must .*, got \(2, 5, 7, 1\)$"),
        ("pictures", PICTURES[:, :0], ValueError, r"^pictures must have pixels, got \(2, 0, 7\)$"),
        (
            "pictures",
            np.zeros((2, 5, 0), np.uint8),
            ValueError,
            r"^pictures must have pixels, got \(2, 5, 0\)$",
        ),
        *wrong_arrays("second", PICTURES, "pictures.shape = (2, 5, 7)", is_optional=True),
        *(
            (name, value, ValueError, rf"^{name} must be in \[1, 32768\], got {value}$")
            for name in ("height", "width")
            for value in (0, -1, 32769)
        ),
        ("height", 8.5, TypeError, "(?s)incompatible function arguments.*height: "),
        ("simd", "sse9", ValueError, "sse9"),
    ],
)
def test_area_resize_refuses_wrong_arguments(
    name: str, wrong: Any, error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {
        "pictures": PICTURES,
        "height": 3,
        "width": 4,
        "second": None,
        "simd": "auto",
    }
    arguments[name] = wrong
    with pytest.raises(error, match=message):
        area_resize(**arguments)
