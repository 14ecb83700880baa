"""What is collected, against a world that remembers all that it showed, and against NumPy."""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from tests.reference import learner, rl
from tests.reference.ale import make_ale, rom_file
from tests.reference.frames import normalized
from tests.reference.halves import Step
from tests.reference.learner import (
    Learner,
    ToyEnv,
    ToyVectorEnv,
    act,
    arrays_of,
    frame_store,
    images,
    layers_of,
    newest,
    record_inputs,
    scaled,
    small_config,
    small_learner,
    unchanged,
)

from rndfast.config import Config
from rndfast.envs.make import make_env
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.make import make_learner
from rndfast.learner.normalizer import Normalizer
from rndfast.learner.rollout import EpisodeStatistics, Rollout, collect, start_episodes
from rndfast.runs.figures import episode_metrics
from rndfast.runtime.compute import CpuCompute

Array = NDArray[Any]
STEPS = 6
PRIOR_COUNT = 1e-4
# three rollouts: ends at a first and a last step, one after the other, and in several at once
TERMINATED = ((0, 0), (4, 1), (5, 1), (5, 2), (11, 0), (13, 3))
TRUNCATED = ((2, 3), (5, 3), (6, 2), (11, 1), (13, 3))


def ending_env(**settings: Any) -> ToyEnv:
    return ToyEnv(4, TERMINATED, TRUNCATED, **settings)


def flags(ends: tuple[tuple[int, int], ...], start: int = 0, num_steps: int = STEPS) -> Array:
    """``(T, N)`` bool, of one rollout unless more steps are asked for."""
    marks = np.zeros((3 * STEPS, 4), bool)
    for end in ends:
        marks[end] = True
    return marks[start : start + num_steps]


def is_first_of(env: ToyEnv) -> Array:
    """``(3 * T + 1, N)`` bool: whether an observation is its episode's first."""
    ended = flags(TERMINATED + TRUNCATED, 0, 3 * STEPS)
    return np.concatenate((np.ones((1, env.num_envs), bool), ended))


def collect_next(parts: Learner) -> None:
    collect(parts.env, parts.rollout, parts.backend)


# --- frames -----------------------------------------------------------------------------------


def test_frames_are_stored_once_as_bytes() -> None:
    config = Config()  # 128 x 128
    game = SimpleNamespace(
        single_observation_space=Box(0, 255, (1, 84, 84), np.uint8),
        single_action_space=Discrete(18),
    )
    with CpuCompute(config.run) as compute:
        agent, rollout, backend = make_learner(config, game, compute)
    assert isinstance(backend, CpuBackend)
    frames = frame_store(backend).frames
    assert frames.nbytes <= 0.12e9
    arrays = arrays_of(Learner(config, ToyEnv(), agent, rollout, backend))
    assert sum(array.nbytes for array in arrays.values()) <= 0.121e9
    assert frames.dtype == np.uint8


def test_stacks_are_those_that_the_env_observed_also_across_ends_and_rollouts() -> None:
    with small_learner(ending_env()) as parts:
        for start in (0, STEPS, 2 * STEPS):
            collect_next(parts)
            expected = scaled(parts.env.observations[start : start + STEPS + 1])
            all_indices = np.arange((STEPS + 1) * 4)  # with the observation after the last step
            stacks = images(parts.backend.observations.policy_input(all_indices, torch.float32))
            np.testing.assert_array_equal(stacks, expected.reshape(-1, 4, 44, 52))
            parts.carry_over()


def test_any_selection_of_stacks_is_in_the_order_asked_for() -> None:
    with small_learner(ending_env()) as parts:
        collect_next(parts)
        chosen = np.array([[5, 3], [0, 0], [3, 1], [3, 1]])  # (t, n)
        indices = parts.rollout.indices()[chosen[:, 0], chosen[:, 1]]
        stacks = images(parts.backend.observations.policy_input(indices, torch.float32))
        expected = parts.env.observations[chosen[:, 0], chosen[:, 1]]
        np.testing.assert_array_equal(stacks, scaled(expected))


def test_the_policy_acts_on_what_the_env_showed_last() -> None:
    with small_learner(ending_env()) as parts:
        inputs = record_inputs(parts.agent.policy)
        collect_next(parts)
        seen = [frames for frames in inputs if frames.shape[0] > 1]  # not the final observations
        expected = scaled(parts.env.observations).reshape(-1, 4, 44, 52)
        np.testing.assert_array_equal(np.concatenate(seen), expected)


def test_rgb_stacks_are_those_of_the_env_channel_by_channel() -> None:
    with small_learner(ending_env(is_rgb=True)) as parts:
        for start in (0, STEPS):
            collect_next(parts)
            observed = parts.env.observations[start : start + STEPS]  # (T, N, S, H, W, 3)
            stacks = images(
                parts.backend.observations.policy_input(np.arange(STEPS * 4), torch.float32)
            )
            expected = np.moveaxis(observed, -1, 3).reshape(-1, 12, 44, 52)
            np.testing.assert_array_equal(stacks, scaled(expected))
            parts.carry_over()
        assert parts.backend.observations.acted_on().shape == (STEPS, 4, 3, 44, 52)


def test_rnd_reads_the_newest_frame_of_the_next_observation() -> None:
    with small_learner(ending_env()) as parts:
        rollout = parts.rollout
        for start in (0, STEPS):
            collect_next(parts)
            frames = newest(
                parts.env.observations[start : start + STEPS + 1]
            )  # (T + 1, N, 1, H, W)
            # statistics that have seen nothing: mean 0, variance 1, pixels as they are
            as_is = Normalizer(parts.agent.obs_moments, math.inf)
            inputs = parts.backend.observations.next_input(
                rollout.indices().ravel(), as_is, torch.float32
            )
            np.testing.assert_array_equal(images(inputs), frames[1:].reshape(-1, 1, 44, 52))
            np.testing.assert_array_equal(parts.backend.observations.acted_on(), frames[:-1])
            parts.carry_over()


def test_a_new_start_forgets_the_frames_before_it() -> None:
    with small_learner(ending_env()) as parts:
        collect_next(parts)
        parts.carry_over()
        start_episodes(parts.env, parts.rollout, parts.backend, 0, parts.backend.ranks)
        stacks = images(parts.backend.observations.policy_input(np.arange(4), torch.float32))
        np.testing.assert_array_equal(stacks, scaled(parts.env.observations[0]))
        assert not stacks[:, :3].any()


# --- actions, log-probabilities, values -------------------------------------------------------


@pytest.mark.parametrize("micro_batch_size", [1, 3, 128])
def test_stored_outputs_are_the_networks_of_the_observations_acted_on(
    micro_batch_size: int,
) -> None:
    with small_learner(ending_env(), micro_batch_size=micro_batch_size) as parts:
        rollout, env = parts.rollout, parts.env
        collect_next(parts)
        observed = scaled(env.observations).reshape(-1, 4, 44, 52)
        logits, values = learner.policy_outputs(layers_of(parts.agent.policy), observed)
        log_probs = learner.log_softmax(logits)[np.arange(STEPS * 4), parts.backend.actions.ravel()]
        np.testing.assert_array_equal(parts.backend.actions, env.actions_of[-1])
        assert len(np.unique(parts.backend.actions)) > 1
        for actual, expected in (
            (parts.backend.log_probs, log_probs),
            (rollout.values, values[:-4]),
            (rollout.next_values, values[-4:]),
        ):
            np.testing.assert_allclose(actual.ravel(), expected.ravel(), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 128])
def test_recomputed_log_probs_of_the_first_minibatch_equal_the_stored(
    micro_batch_size: int,
) -> None:
    with small_learner(ending_env(), micro_batch_size=micro_batch_size) as parts:
        rollout = parts.rollout
        collect_next(parts)
        minibatch = rollout.indices()[:, :2].ravel()
        stacks = parts.backend.observations.policy_input(minibatch, torch.float32)
        with torch.no_grad():
            logits = act(parts.agent.policy, stacks).action_params.double()
        actions = torch.from_numpy(parts.backend.actions.ravel()[minibatch])
        log_probs = torch.log_softmax(logits, 1).gather(1, actions[:, None])[:, 0].numpy()
        ratios = np.exp(log_probs - parts.backend.log_probs.ravel()[minibatch])
        # the same sums in another order: a few float32 roundings of logits below 4
        assert np.abs(logits.numpy()).max() < 4
        assert np.abs(ratios - 1).max() < 2e-6


def test_actions_come_from_the_agents_stream_alone() -> None:
    def actions() -> Array:
        with small_learner(ToyEnv()) as parts:
            collect_next(parts)
            taken: Array = parts.backend.actions.copy()
            return taken

    first = actions()
    torch.rand(3)
    np.testing.assert_array_equal(actions(), first)


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_the_number_of_threads_changes_no_bit(policy: str) -> None:
    def collected(num_threads: int) -> dict[str, Array]:
        settings = {"num_threads": num_threads, "policy": policy, "micro_batch_size": 1}
        with small_learner(ending_env(), **settings) as parts:
            collect_next(parts)
            return arrays_of(parts)

    one, three = collected(1), collected(3)
    for name, values in one.items():
        np.testing.assert_array_equal(values, three[name], err_msg=name)


# --- episode ends -----------------------------------------------------------------------------


def test_rewards_and_ends_are_stored_unclipped_and_termination_wins() -> None:
    with small_learner(ending_env()) as parts:
        rollout = parts.rollout
        for start in (0, STEPS, 2 * STEPS):
            collect_next(parts)
            np.testing.assert_array_equal(
                rollout.rewards_raw, parts.env.rewards[start : start + STEPS]
            )
            terminated, truncated = flags(TERMINATED, start), flags(TRUNCATED, start)
            np.testing.assert_array_equal(rollout.terminated, terminated)
            np.testing.assert_array_equal(rollout.truncated, truncated & ~terminated)
            parts.carry_over()
        assert {-2, 3} <= set(parts.env.rewards.ravel())


@pytest.mark.parametrize("is_rgb", [False, True])
def test_final_values_are_those_of_the_last_observation_before_a_truncation(is_rgb: bool) -> None:
    with small_learner(ending_env(is_rgb=is_rgb)) as parts:
        rollout = parts.rollout
        collect_next(parts)
        truncated = [(t, n) for t, n in TRUNCATED if t < STEPS]
        final = np.stack([parts.env.final_observations[end] for end in truncated])
        stacks = np.moveaxis(final, -1, 2).reshape(len(final), 12, 44, 52) if is_rgb else final
        _, expected = learner.policy_outputs(layers_of(parts.agent.policy), scaled(stacks))
        actual = [rollout.final_values[end] for end in truncated]
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-5)
        assert np.ptp(expected, axis=0).min() > 1e-3


@pytest.mark.parametrize("reward_clipping", [True, False])
def test_episodes_count_whole_across_rollouts_and_anew_after_a_truncation(
    reward_clipping: bool,
) -> None:
    with small_learner(ending_env(), reward_clipping=reward_clipping) as parts:
        env, rollout = parts.env, parts.rollout
        begun = [0] * 4
        for start in (0, STEPS, 2 * STEPS):
            collect_next(parts)
            returns, clipped_returns, lengths = [], [], []
            for t in range(start, start + STEPS):
                for n in range(4):
                    if (t, n) in TERMINATED + TRUNCATED:
                        rewards = env.rewards[begun[n] : t + 1, n]
                        returns.append(float(rewards.sum()))
                        clipped = np.sign(rewards) if reward_clipping else rewards
                        clipped_returns.append(float(clipped.sum()))
                        lengths.append(t + 1 - begun[n])
                        begun[n] = t + 1
            assert rollout.episodes.returns == returns
            assert rollout.episodes.clipped_returns == clipped_returns
            assert rollout.episodes.lengths_steps == lengths
            metrics = episode_metrics(rollout, parts.backend.ranks)
            assert metrics["charts/episodes"] == len(returns)
            assert metrics["charts/episodic_return"] == np.mean(returns)
            assert metrics["charts/episodic_clipped_return"] == np.mean(clipped_returns)
            assert metrics["charts/episodic_length"] == np.mean(lengths)
            parts.carry_over()
            assert rollout.episodes == EpisodeStatistics()
            assert episode_metrics(rollout, parts.backend.ranks)["charts/episodic_return"] is None


class EnvWithLives(ToyEnv):
    """Terminations are lost lives, and truncations the ends of games."""

    def step(self, actions: Array) -> Step:
        """Step, and say which games are over."""
        *results, info = super().step(actions)
        return (*results, info | {"game_over": results[3]})  # type: ignore[return-value]


@pytest.mark.parametrize("reward_clipping", [True, False])
def test_where_lost_lives_end_episodes_whole_games_are_counted(reward_clipping: bool) -> None:
    env = EnvWithLives(4, TERMINATED, TRUNCATED)
    with small_learner(env, reward_clipping=reward_clipping) as parts:
        rollout = parts.rollout
        begun = [0] * 4
        num_games = 0
        for start in (0, STEPS, 2 * STEPS):
            collect_next(parts)
            expected = EpisodeStatistics()
            for t, n in sorted(TRUNCATED):
                if start <= t < start + STEPS:
                    rewards = env.rewards[begun[n] : t + 1, n]
                    clipped = np.sign(rewards) if reward_clipping else rewards
                    expected.returns.append(float(rewards.sum()))
                    expected.clipped_returns.append(float(clipped.sum()))
                    expected.lengths_steps.append(t + 1 - begun[n])
                    expected.truncated.append((t, n) not in TERMINATED)
                    begun[n] = t + 1
            assert rollout.episodes == expected
            num_games += len(expected.returns)
            parts.carry_over()
            state = {name: array.copy() for name, array in rollout.state().items()}
            rollout.start()
            rollout.load_state(state)  # it goes on the same
    assert num_games == len(TRUNCATED)


def test_games_of_several_lives_are_those_that_ale_py_plays() -> None:
    """The oracle is given the actions, and one step of no-op after each lost life."""
    config = small_config(
        env_id="rndfast/Breakout-v5", episodic_life=True, num_envs=1, num_minibatches=1,
        rollout_steps=200,
    )  # fmt: skip
    oracle = make_ale(rom_file("breakout"), seed=3)
    oracle.reset_game()
    expected, rewards, num_lives = EpisodeStatistics(), [], 5
    games = EpisodeStatistics()
    with (
        CpuCompute(config.run) as compute,
        contextlib.closing(make_env(config, compute.num_threads)) as env,
    ):
        _, rollout, backend = make_learner(config, env, compute)
        assert isinstance(backend, CpuBackend)
        start_episodes(env, rollout, backend, 3, compute.ranks)
        for _ in range(4):
            collect(env, rollout, backend)
            for name, values in vars(rollout.episodes).items():
                getattr(games, name).extend(values)
            for action in backend.actions[:, 0]:
                reward = 0
                for _ in range(4):
                    reward += oracle.act([0, 1, 3, 4][action])
                    if oracle.game_over() or oracle.lives() < num_lives:
                        break
                rewards.append(reward)
                if oracle.game_over():
                    expected.returns.append(sum(rewards))
                    expected.clipped_returns.append(float(np.sign(rewards).sum()))
                    expected.lengths_steps.append(len(rewards))
                    expected.truncated.append(False)
                    rewards = []
                    oracle.reset_game()
                elif oracle.lives() < num_lives:
                    for _ in range(4):
                        oracle.act(0)
                num_lives = oracle.lives()
            rollout.carry_over()
            backend.carry_over()
    assert games == expected
    assert len(games.returns) >= 2
    assert sum(games.returns) > 0


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
@pytest.mark.parametrize("kind", [ToyEnv, ToyVectorEnv])
def test_another_rollout_goes_on_the_same_from_a_state(kind: type[ToyEnv], policy: str) -> None:
    def second_rollout(is_another: bool) -> tuple[dict[str, Array], EpisodeStatistics]:
        with small_learner(kind(4, TERMINATED, TRUNCATED), policy=policy) as parts:
            rollout = parts.rollout
            collect_next(parts)
            parts.carry_over()
            going_on = parts
            if is_another:
                state = {name: array.copy() for name, array in rollout.state().items()}
                assert state["clipped_returns"].any()
                observed = {name: t.numpy() for name, t in parts.backend.state().items()}
                rollout = Rollout(parts.config)
                rollout.load_state(state)
                backend = CpuBackend(parts.config, parts.agent, rollout, parts.backend.compute)
                backend.load_state(observed)
                going_on = parts._replace(rollout=rollout, backend=backend)
            collect_next(going_on)
            rollout.final_values[~rollout.truncated] = 0  # what is left there is not read
            return arrays_of(going_on), rollout.episodes

    (same, episodes), (another, other_episodes) = second_rollout(False), second_rollout(True)
    for name, values in same.items():
        np.testing.assert_array_equal(values, another[name], err_msg=name)
    assert episodes == other_episodes
    assert len(episodes.clipped_returns) == 3


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch_size", [1, 128])
def test_a_recurrent_policy_remembers_each_episode_and_nothing_else(micro_batch_size: int) -> None:
    """Three rollouts in one walk through all that was observed."""
    settings = {"policy": "recurrent", "micro_batch_size": micro_batch_size}
    with small_learner(ending_env(), **settings) as parts:
        rollout, env = parts.rollout, parts.env
        stored = []
        for _ in range(3):
            collect_next(parts)
            arrays = (
                parts.backend.actions,
                parts.backend.log_probs,
                rollout.values,
                rollout.next_values,
            )
            memory = (parts.backend.first_memory, parts.backend.memory)
            stored.append([array.copy() for array in (*arrays, *memory)])
            parts.carry_over()
        expected = learner.recurrent_outputs(
            parts.agent.policy, scaled(env.observations), np.zeros((4, 256)), is_first_of(env)
        )
    is_first = is_first_of(env)
    for start, of_rollout in zip((0, STEPS, 2 * STEPS), stored, strict=True):
        end = start + STEPS
        actions, log_probs, values, next_values, first_memory, after = of_rollout
        np.testing.assert_array_equal(actions, env.actions_of[-1][start:end])
        all_log_probs = learner.log_softmax(expected.logits[start:end].reshape(-1, 5))
        want = all_log_probs[np.arange(STEPS * 4), actions.ravel()].reshape(STEPS, 4)
        np.testing.assert_allclose(log_probs, want, rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(values, expected.values[start:end], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(next_values, expected.values[end], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(after, expected.memory[end - 1], rtol=2e-5, atol=2e-5)
        if start > 0:
            want = expected.memory[start - 1]
            np.testing.assert_allclose(first_memory, want, rtol=2e-5, atol=2e-5)
    # the oracle could tell: without memory other values would be expected
    forgetful = learner.recurrent_outputs(
        parts.agent.policy, scaled(env.observations), np.zeros((4, 256)), np.ones_like(is_first)
    )
    differs = np.abs(forgetful.values - expected.values).max(axis=2) > 1e-3
    np.testing.assert_array_equal(differs, ~is_first)


def test_final_values_of_a_recurrent_policy_are_of_the_memory_of_that_episode() -> None:
    with small_learner(ending_env(), policy="recurrent") as parts:
        env, policy = parts.env, parts.agent.policy
        collect_next(parts)
        walked = learner.recurrent_outputs(
            policy, scaled(env.observations), np.zeros((4, 256)), is_first_of(env)[: STEPS + 1]
        )
        for t, n in [(t, n) for t, n in TRUNCATED if t < STEPS]:
            final = scaled(env.final_observations[t, n])[None, None]
            goes_on = np.zeros((1, 1), bool)
            memory = walked.memory[t, n][None]
            want = learner.recurrent_outputs(policy, final, memory, goes_on).values[0, 0]
            np.testing.assert_allclose(parts.rollout.final_values[t, n], want, rtol=2e-5, atol=2e-5)
            anew = learner.recurrent_outputs(policy, final, memory, ~goes_on).values[0, 0]
            assert np.abs(anew - want).max() > 1e-3


def test_a_new_start_empties_the_memory_and_forgets_the_return() -> None:
    with small_learner(ending_env(), policy="recurrent") as parts:
        collect_next(parts)
        parts.carry_over()
        assert parts.backend.first_memory.any()
        assert parts.rollout.clipped_returns.any()
        start_episodes(parts.env, parts.rollout, parts.backend, 0, parts.backend.ranks)
        collect_next(parts)
        expected = learner.recurrent_outputs(
            parts.agent.policy,
            scaled(parts.env.observations[:1]),
            np.zeros((4, 256)),
            np.ones((1, 4), bool),
        )
        np.testing.assert_allclose(
            parts.rollout.values[0], expected.values[0], rtol=2e-5, atol=1e-6
        )
        ended = [n for t, n in sorted(TERMINATED + TRUNCATED) if t < STEPS]
        first = ended.index(0)  # environment 0 ends at its first step
        sign = np.sign(parts.env.rewards[0, 0])
        assert parts.rollout.episodes.clipped_returns[first] == sign


# --- vectors ----------------------------------------------------------------------------------


def statistics_of(vectors: list[Array]) -> tuple[Array, Array]:
    """Mean and variance of ``(..., D)`` vectors, with the authors' prior."""
    samples = np.concatenate([batch.reshape(-1, batch.shape[-1]) for batch in vectors])
    num_samples, mean, m2 = rl.moments(samples, PRIOR_COUNT)
    return mean, m2 / num_samples


def test_the_policy_reads_vectors_by_the_statistics_of_the_rollouts_beginning() -> None:
    env = ToyVectorEnv(4, TERMINATED, TRUNCATED)
    with small_learner(env, obs_clip=1.5) as parts:
        agent = parts.agent
        inputs = record_inputs(agent.policy, unchanged)
        seen = [np.random.default_rng(0).normal(1, 2, (9, 4, 7)).astype(np.float32)]
        agent.obs_moments.update(seen[0])
        for start in (0, STEPS):
            inputs.clear()
            collect_next(parts)
            statistics = statistics_of(seen)
            observed = env.observations[start : start + STEPS + 1]
            acted_on = [rows for rows in inputs if len(rows) > 1]
            finals = [rows for rows in inputs if len(rows) == 1]
            expected = normalized(observed.reshape(-1, 7), *statistics, 1.5)
            np.testing.assert_allclose(np.concatenate(acted_on), expected, rtol=1e-5, atol=1e-5)
            assert 0.02 < (np.abs(expected) == 1.5).mean() < 0.9
            truncated = [(t, n) for t, n in sorted(TRUNCATED) if start <= t < start + STEPS]
            truncated = [end for end in truncated if end not in TERMINATED]
            last = np.stack([env.final_observations[end] for end in truncated])
            want = normalized(last, *statistics, 1.5)
            np.testing.assert_allclose(np.concatenate(finals), want, rtol=1e-5, atol=1e-5)
            # what is learnt from is what was acted on, though the statistics have moved on
            np.testing.assert_array_equal(parts.backend.observations.acted_on(), observed[:-1])
            agent.obs_moments.update(parts.backend.observations.acted_on())
            again = parts.backend.observations.policy_input(np.arange(STEPS * 4), torch.float32)
            np.testing.assert_allclose(again.numpy(), expected[:-4], rtol=1e-5, atol=1e-5)
            seen.append(observed[:-1])
            parts.carry_over()


def test_rnd_reads_the_next_vectors_by_the_statistics_of_the_moment() -> None:
    env = ToyVectorEnv(4, TERMINATED, TRUNCATED)
    with small_learner(env, obs_clip=1.5) as parts:
        agent = parts.agent
        seen: list[Array] = []
        for start in (0, STEPS):
            collect_next(parts)
            observed = env.observations[start : start + STEPS + 1]
            agent.obs_moments.update(observed[:-1])
            seen.append(observed[:-1])
            normalizer = Normalizer(agent.obs_moments, 1.5)
            indices = np.random.default_rng(0).permutation(STEPS * 4)
            actual = parts.backend.observations.next_input(indices, normalizer, torch.float32)
            following = observed[1:].reshape(-1, 7)[indices]
            expected = normalized(following, *statistics_of(seen), 1.5)
            np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)
            parts.carry_over()


def test_without_a_clip_normalised_observations_have_any_size() -> None:
    with small_learner(ToyVectorEnv(4), obs_clip=math.inf) as parts:
        collect_next(parts)
        vectors = parts.env.observations
        # statistics of one environment's first vector and the prior: variances are small
        parts.agent.obs_moments.update(vectors[:1, :1])
        normalizer = Normalizer(parts.agent.obs_moments, math.inf)
        indices = np.arange(STEPS * 4)
        actual = parts.backend.observations.next_input(indices, normalizer, torch.float32).numpy()
        statistics = statistics_of([vectors[:1, :1]])
        expected = normalized(vectors[1:].reshape(-1, 7), *statistics, math.inf)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
        assert np.abs(actual).max() > 100


@pytest.mark.parametrize("num_dims", [None, 2])
@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
def test_stored_outputs_are_the_networks_of_the_vectors_acted_on(
    num_dims: int | None, policy: str
) -> None:
    env = ToyVectorEnv(4, TERMINATED, TRUNCATED, num_dims=num_dims)
    with small_learner(env, policy=policy) as parts:
        agent, rollout = parts.agent, parts.rollout
        collect_next(parts)
        inputs = normalized(env.observations, *statistics_of([np.zeros((0, 7))]), 5.0)
        if policy == "recurrent":
            is_first = is_first_of(env)[: STEPS + 1]
            walked = learner.recurrent_outputs(agent.policy, inputs, np.zeros((4, 256)), is_first)
            outputs, values = walked.logits.reshape(-1, walked.logits.shape[2]), walked.values
        else:
            outputs, values = learner.policy_outputs(layers_of(agent.policy), inputs.reshape(-1, 7))
        np.testing.assert_array_equal(parts.backend.actions, np.stack(env.actions_of[-1]))
        if num_dims is None:
            log_probs = learner.log_softmax(outputs[:-4])[
                np.arange(STEPS * 4), parts.backend.actions.ravel()
            ]
        else:
            log_std = agent.policy.get_parameter("actor.log_std").detach().double()
            normal = torch.distributions.Normal(torch.from_numpy(outputs[:-4]), log_std.exp())
            actions = torch.from_numpy(parts.backend.actions.reshape(-1, num_dims)).double()
            log_probs = normal.log_prob(actions).sum(dim=1).numpy()  # type: ignore[no-untyped-call]
        np.testing.assert_allclose(parts.backend.log_probs.ravel(), log_probs, rtol=2e-5, atol=2e-5)
        all_values = np.concatenate((rollout.values, rollout.next_values[None]))
        np.testing.assert_allclose(all_values.ravel(), values.ravel(), rtol=2e-5, atol=2e-5)


# --- halves -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["feedforward", "recurrent"])
@pytest.mark.parametrize("num_envs", [1, 2, 5, 70])
def test_overlap_changes_no_byte(num_envs: int, policy: str) -> None:
    def collected(overlap: bool) -> list[dict[str, Array]]:
        ends = tuple((step, n) for step, n in TERMINATED if n < num_envs)
        cuts = tuple((step, n) for step, n in TRUNCATED if n < num_envs)
        env = ToyEnv(num_envs, ends, cuts)
        settings = {"overlap": overlap, "policy": policy, "num_minibatches": 1, "num_threads": 2}
        with small_learner(env, **settings) as parts:
            rollouts = []
            for _ in range(2):
                collect_next(parts)
                rollout = parts.rollout
                arrays = {name: array.copy() for name, array in arrays_of(parts).items()}
                # episodes that end in one step are told half by half
                arrays["returns"] = np.sort(rollout.episodes.returns)
                rollouts.append(arrays)
                parts.carry_over()
            return rollouts

    for together, in_halves in zip(collected(False), collected(True), strict=True):
        for name, values in together.items():
            np.testing.assert_array_equal(values, in_halves[name], err_msg=name)


def test_the_second_half_is_still_under_way_when_the_first_half_acts_again() -> None:
    """What overlap is for; each `send` and `recv` by the environments that it is of."""
    calls: list[tuple[str, list[int]]] = []

    class Watched(ToyEnv):
        def send(self, actions: Array, env_ids: Array, *, out: Array | None = None) -> None:
            calls.append(("send", env_ids.tolist()))
            super().send(actions, env_ids, out=out)

        def recv(self) -> Any:
            calls.append(("recv", self._sent[0][0].tolist()))
            return super().recv()

    first, second = [0, 1], [2, 3]
    with small_learner(Watched(), rollout_steps=2) as parts:
        collect_next(parts)
    assert calls == [
        ("send", first), ("send", second),
        ("recv", first), ("send", first), ("recv", second), ("send", second),
        ("recv", first), ("recv", second),
    ]  # fmt: skip


def test_on_the_real_game_overlap_changes_no_byte() -> None:
    def collected(overlap: bool) -> dict[str, Array]:
        config = small_config(
            num_envs=6, overlap=overlap, num_threads=3, rollout_steps=12,
            max_num_frames_per_episode=40,
        )  # fmt: skip
        with (
            CpuCompute(config.run) as compute,
            contextlib.closing(make_env(config, compute.num_threads)) as env,
        ):
            agent, rollout, backend = make_learner(config, env, compute)
            assert isinstance(backend, CpuBackend)
            start_episodes(env, rollout, backend, 0, compute.ranks)
            for _ in range(2):
                collect(env, rollout, backend)
                rollout.carry_over()
                backend.carry_over()
            assert rollout.truncated.any()
            consoles = env.copy_state()
            arrays = arrays_of(Learner(config, ToyEnv(), agent, rollout, backend))
            return arrays | {"consoles": consoles}

    together, in_halves = collected(False), collected(True)
    for name, values in together.items():
        np.testing.assert_array_equal(values, in_halves[name], err_msg=name)
