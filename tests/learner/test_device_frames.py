"""A GPU's frame store, run on the CPU: its inputs, and whole iterations, are the kernels'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.reference import frames as reference
from tests.reference.learner import ToyEnv, frame_store, images, small_learner

from rndfast._core import RunningMoments
from rndfast.config import RunConfig
from rndfast.learner.device_frames import DeviceFrames
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.ppo import compute_advantages, update
from rndfast.learner.rnd import intrinsic_rewards, scale_intrinsic_rewards
from rndfast.learner.rollout import Rollout, collect
from rndfast.runtime.compute import Workers

Array = NDArray[Any]
CPU = torch.device("cpu")


def random_episodes(shape: tuple[int, int, int]) -> reference.Rollout:
    """Three environments with ends at different places; 12 rows, stacks of 4."""
    rng = np.random.default_rng(0)
    lengths = [[12], [5, 7], [1, 2, 9]]
    return reference.rollout_of(
        [[rng.integers(0, 256, (n, *shape), np.uint8) for n in of_env] for of_env in lengths], 4
    )


def on_device(rollout: reference.Rollout) -> DeviceFrames:
    """Upload row after row, environment after environment."""
    frames = DeviceFrames(
        torch.from_numpy(rollout.frames), torch.from_numpy(rollout.valid_frames), CPU
    )
    frames.upload(range(4), slice(None))
    for row in range(4, 12):
        for envs in (slice(0, 2), slice(2, 3)):
            frames.upload(range(row, row + 1), envs)
    return frames


@pytest.mark.parametrize("shape", [(1, 12, 20), (3, 13, 18)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stacks_are_those_of_whole_episodes(
    shape: tuple[int, int, int], dtype: torch.dtype
) -> None:
    rollout = random_episodes(shape)
    indices = np.random.default_rng(1).permutation(9 * 3)
    stacks = on_device(rollout).stacks(torch.from_numpy(indices), dtype)
    assert stacks.dtype == dtype
    assert stacks.is_contiguous(memory_format=torch.channels_last)
    height, width = shape[1] // 4 * 4, shape[2] // 4 * 4
    pixels = rollout.stacks.reshape(9 * 3, -1, *shape[1:])[indices][..., :height, :width]
    expected = torch.from_numpy(pixels.astype(np.float32) / np.float32(255)).to(dtype).float()
    np.testing.assert_array_equal(images(stacks.float()), expected)


def test_frames_are_whitened_and_clipped() -> None:
    rollout = random_episodes((1, 12, 20))
    rng = np.random.default_rng(2)
    mean, var = rng.uniform(0, 255, (1, 12, 20)), rng.uniform(0.1, 90, (1, 12, 20)) ** 2
    moments = RunningMoments((1, 12, 20))
    moments.set_state(count=8.0, mean=mean, m2=8 * var)
    with Workers(RunConfig(num_threads=1)) as workers:
        normalizer = Normalizer(moments, 2.5, workers)
    indices = rng.permutation(12 * 3)
    frames = on_device(rollout).normalized(torch.from_numpy(indices), normalizer, torch.float32)
    expected = reference.normalized(
        rollout.frames.reshape(12 * 3, 1, 12, 20)[indices], mean, var, 2.5
    )
    np.testing.assert_allclose(images(frames), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_two_iterations_are_those_of_the_kernels(policy: str) -> None:
    def train(is_on_device: bool) -> tuple[Rollout, dict[str, float], dict[str, torch.Tensor]]:
        env = ToyEnv(4, ((0, 0), (4, 1), (7, 2)), ((2, 3), (9, 0)))
        with small_learner(env, policy=policy, update_epochs=2) as (
            config,
            _,
            agent,
            rollout,
            workers,
        ):
            if is_on_device:
                store = frame_store(rollout)
                store.on_device = DeviceFrames(
                    torch.from_numpy(store.frames), torch.from_numpy(store.valid_frames), CPU
                )
                rollout.load_state(rollout.state())  # uploads the first frames
            for _ in range(2):
                collect(agent, env, rollout, workers)
                int_rewards = intrinsic_rewards(agent, rollout, config.rnd, workers)
                int_rewards = scale_intrinsic_rewards(agent, int_rewards, config.rnd, workers)
                agent.obs_moments.update(rollout.observations.acted_on())
                ext_rewards = rollout.clipped(rollout.rewards_raw)
                advantages = compute_advantages(rollout, ext_rewards, int_rewards, config.ppo)
                losses = update(agent, rollout, advantages, config, workers)
                rollout.carry_over()
            return rollout, losses, agent.state()

    (rollout, losses, state), (other_rollout, other_losses, other_state) = train(False), train(True)
    np.testing.assert_array_equal(rollout.actions, other_rollout.actions)
    frames, other_frames = frame_store(rollout).frames, frame_store(other_rollout).frames
    np.testing.assert_array_equal(frames, other_frames)
    assert losses == pytest.approx(other_losses, rel=1e-4, abs=1e-6)
    for name, values in state.items():
        torch.testing.assert_close(
            values.double(), other_state[name].double(), rtol=1e-3, atol=1e-5, msg=name
        )
