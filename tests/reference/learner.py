"""Oracles of the learner in float64, and a small world to try it in.

The arithmetic is that of ``docs/algorithm.md``, written out. The world's frames say where they come
from, so that every mistake with an index, a stack or an episode's start shows.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from tests.reference import rl
from tests.reference.frames import images_of, stack_at
from tests.reference.halves import Step, SteppedTogether
from torch import nn

from rndfast.config import Config
from rndfast.learner.agent import Agent
from rndfast.learner.cpu import CpuBackend
from rndfast.learner.make import make_learner
from rndfast.learner.networks import PolicyNetwork, PolicyOutput, RndNetworks
from rndfast.learner.observations import FrameStore
from rndfast.learner.rollout import Rollout, start_episodes
from rndfast.runtime.compute import CpuCompute

Array = NDArray[Any]
Float64Array = NDArray[np.float64]

# --- losses -----------------------------------------------------------------------------------


def log_softmax(logits: Array) -> Float64Array:
    """``(B, A)`` log-probabilities."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalized: Float64Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized


def policy_loss(
    logits: Array, actions: Array, old_log_probs: Array, advantages: Array, clip_coef: float
) -> float:
    """PPO's clipped loss of one of several actions."""
    log_probs = log_softmax(logits)[np.arange(len(actions)), actions]
    return clipped_loss(log_probs, old_log_probs, advantages, clip_coef)


def clipped_loss(
    log_probs: Array, old_log_probs: Array, advantages: Array, clip_coef: float
) -> float:
    """PPO's clipped loss: beyond the clip range, a better ratio gains nothing more."""
    gains = []
    for log_prob, old_log_prob, advantage in zip(
        log_probs.tolist(), old_log_probs.tolist(), advantages.tolist(), strict=True
    ):
        ratio = np.exp(log_prob - old_log_prob)
        if advantage >= 0:
            gains.append(min(ratio, 1 + clip_coef) * advantage)
        else:
            gains.append(max(ratio, 1 - clip_coef) * advantage)
    return -float(np.mean(gains))


def value_loss(values: Array, returns: Array) -> float:
    """Half the mean squared error; the values at the time of acting play no part."""
    return 0.5 * float(np.mean((values.astype(np.float64) - returns) ** 2))


def entropy(logits: Array) -> float:
    """Mean entropy of the policy, in nats."""
    log_probs = log_softmax(logits)
    return float(np.mean(-(np.exp(log_probs) * log_probs).sum(axis=1)))


def predictor_loss(predicted: Array, target: Array, mask: Array) -> float:
    """``sum(mask * mse) / max(sum(mask), 1)``, mse the mean over features."""
    errors = ((predicted.astype(np.float64) - target) ** 2).mean(axis=1)
    return float((mask * errors).sum() / max(mask.sum(), 1))


def total_loss(losses: dict[str, float], *, ent_coef: float, vf_coef: float) -> float:
    """The loss of policy and predictor together, which one Adam minimises."""
    values = losses["ext_value"] + losses["int_value"]
    return losses["policy"] + vf_coef * values - ent_coef * losses["entropy"] + losses["predictor"]


def combined_advantages(ext: Array, int_: Array, ext_coef: float, int_coef: float) -> Float64Array:
    """Weighted sum of the two streams, and no normalisation."""
    combined: Float64Array = ext_coef * ext.astype(np.float64) + int_coef * int_
    return combined


# --- optimiser --------------------------------------------------------------------------------


@dataclasses.dataclass
class Adam:
    """Algorithm 1 of Kingma and Ba, for one array."""

    parameter: Float64Array
    learning_rate: float
    eps: float
    beta1: float = 0.9
    beta2: float = 0.999

    def __post_init__(self) -> None:
        self.first_moment = np.zeros_like(self.parameter)
        self.second_moment = np.zeros_like(self.parameter)
        self.num_steps = 0

    def step(self, gradient: Array) -> None:
        """Go one step against ``gradient``."""
        g = gradient.astype(np.float64)
        self.num_steps += 1
        self.first_moment = self.beta1 * self.first_moment + (1 - self.beta1) * g
        self.second_moment = self.beta2 * self.second_moment + (1 - self.beta2) * g**2
        mean = self.first_moment / (1 - self.beta1**self.num_steps)
        variance = self.second_moment / (1 - self.beta2**self.num_steps)
        self.parameter = self.parameter - self.learning_rate * mean / (np.sqrt(variance) + self.eps)


# --- intrinsic reward -------------------------------------------------------------------------


def scaled_intrinsic_rewards(
    rollouts: list[Array], gamma: float, direction: str
) -> list[Float64Array]:
    """Scale ``(T, N)`` rewards of consecutive rollouts by the spread of all returns up to then.

    The spread is one number for all environments; a rollout counts in its own. 1e-4 samples of
    mean 0 and variance 1 are counted with the returns, whose mean is not subtracted.
    """
    scaled = []
    for number, rewards in enumerate(rollouts, start=1):
        if direction == "forward":  # one sum that goes on over rollouts
            played = np.concatenate(rollouts[:number])
            returns = rl.discounted_sums(played, gamma, np.zeros(played.shape[1]), direction)
        else:
            returns = np.concatenate(
                [rl.discounted_sums(r, gamma, np.zeros(r.shape[1]), direction) for r in rollouts]
            )[: sum(len(r) for r in rollouts[:number])]
        num_samples, _, m2 = rl.moments(returns.ravel(), prior_count=1e-4)
        scaled.append(rewards.astype(np.float64) / np.sqrt(m2 / num_samples))
    return scaled


# --- networks ---------------------------------------------------------------------------------

Layer = tuple[Float64Array, Float64Array]  # weight, bias


def layers_of(module: nn.Module) -> list[Layer]:
    """Weights and biases of all convolutions and linear layers, in order, in float64."""
    return [
        (layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy())
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
    ]


def convolve(images: Array, layer: Layer, stride: int) -> Float64Array:
    """Convolve ``(B, C, H, W)`` without padding."""
    weight, bias = layer
    windows = sliding_window_view(images, weight.shape[2:], (2, 3))[:, :, ::stride, ::stride]
    outputs: Float64Array = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))) + bias
    return np.moveaxis(outputs, 3, 1)


def dense(inputs: Array, layer: Layer) -> Float64Array:
    """Apply a linear layer to ``(B, I)`` inputs."""
    weight, bias = layer
    outputs: Float64Array = inputs @ weight.T + bias
    return outputs


def relu(values: Array) -> Array:
    """Zero below zero."""
    return np.maximum(values, 0)


def leaky_relu(values: Array) -> Array:
    """Slope 0.2 below zero, TensorFlow's default."""
    return np.where(values < 0, 0.2 * values, values)


def hidden_outputs(
    layers: list[Layer], inputs: Array, activation: Callable[[Array], Array]
) -> Float64Array:
    """``(B, ...)`` inputs through convolutions, of stride 4, 2 and 1, and linear layers."""
    hidden = inputs.astype(np.float64)
    strides = iter((4, 2, 1))
    for layer in layers:
        if layer[0].ndim == 4:
            hidden = activation(convolve(hidden, layer, next(strides)))
        else:
            hidden = activation(dense(hidden.reshape(len(hidden), -1), layer))
    return hidden.reshape(len(hidden), -1)


def policy_outputs(layers: list[Layer], observations: Array) -> tuple[Float64Array, Float64Array]:
    """Logits, or means, ``(B, A)`` and values ``(B, V)`` of stacks in [0, 1] or vectors."""
    return head_outputs(layers, hidden_outputs(layers[:-4], observations, relu))


def head_outputs(layers: list[Layer], hidden: Array) -> tuple[Float64Array, Float64Array]:
    """What the policy's last four layers make of ``(B, I)``."""
    actor_residual, critic_residual, logits, values = layers[-4:]
    actor = hidden + relu(dense(hidden, actor_residual))
    critic = hidden + relu(dense(hidden, critic_residual))
    return dense(actor, logits), dense(critic, values)


def feature_outputs(layers: list[Layer], observations: Array) -> Float64Array:
    """``(B, F)`` features of normalised frames or vectors, by the target or the predictor.

    Leaky are three convolutions, or two linear layers.
    """
    num_leaky = 3 if observations.ndim == 4 else 2
    hidden = hidden_outputs(layers[:num_leaky], observations, leaky_relu)
    return dense(hidden_outputs(layers[num_leaky:-1], hidden, relu), layers[-1])


def remember(gru: nn.GRU, inputs: Array, memory: Array, is_first: Array) -> Float64Array:
    """``(T, n, H)``: memory after each of T steps, by the equations in PyTorch's documentation.

    ``inputs`` are ``(T, n, I)``, ``memory`` before them ``(n, H)``; it is empty where ``is_first``,
    ``(T, n)``, says that an episode begins.
    """
    weight_of_input, weight_of_memory, bias_of_input, bias_of_memory = (
        parameter.detach().double().numpy() for parameter in gru.parameters()
    )
    steps = []
    for row, begins in zip(inputs.astype(np.float64), is_first, strict=True):
        memory = np.where(begins[:, None], 0.0, memory.astype(np.float64))
        of_input = np.split(row @ weight_of_input.T + bias_of_input, 3, axis=1)
        of_memory = np.split(memory @ weight_of_memory.T + bias_of_memory, 3, axis=1)
        reset, update = (1 / (1 + np.exp(-(of_input[k] + of_memory[k]))) for k in range(2))
        new = np.tanh(of_input[2] + reset * of_memory[2])
        memory = (1 - update) * new + update * memory
        steps.append(memory)
    return np.stack(steps)


class RecurrentOutputs(NamedTuple):
    """What a policy with memory says of T steps of n environments."""

    logits: Float64Array  # (T, n, A)
    values: Float64Array  # (T, n, V)
    memory: Float64Array  # (T, n, H), after each step


def recurrent_outputs(
    policy: PolicyNetwork, observations: Array, memory: Array, is_first: Array
) -> RecurrentOutputs:
    """Walk through ``(T, n, ...)`` observations with ``(n, H)`` memory before them."""
    assert policy.memory is not None
    layers, shape = layers_of(policy), is_first.shape
    flat = observations.reshape(-1, *observations.shape[2:])
    inputs = hidden_outputs(layers[:-4], flat, relu).reshape(*shape, -1)
    after = remember(policy.memory, inputs, memory, is_first)
    logits, values = head_outputs(layers, after.reshape(-1, after.shape[2]))
    return RecurrentOutputs(logits.reshape(*shape, -1), values.reshape(*shape, -1), after)


# --- a small world ----------------------------------------------------------------------------


class ToyEnv(SteppedTogether):
    """N environments with same-step autoreset, whose episodes end when the test says.

    No two frames are alike: pixel ``[0, 0]`` is the environment's number, ``[0, 1]`` counts its
    frames, the others are noise. Stacks are made from whole episodes.

    Args:
        num_envs: N.
        terminated: ``(step, env)`` pairs, steps counted from the last reset.
        truncated: The same.
        is_rgb: Colour frames.
    """

    num_actions = 5
    stack_num = 4
    height = 44
    width = 52
    single_action_space: Discrete | Box[Any] = Discrete(num_actions)

    def __init__(
        self,
        num_envs: int = 4,
        terminated: tuple[tuple[int, int], ...] = (),
        truncated: tuple[tuple[int, int], ...] = (),
        *,
        is_rgb: bool = False,
    ) -> None:
        super().__init__()
        self.num_envs = num_envs
        self.is_rgb = is_rgb
        self._frame_shape = (self.height, self.width) + (3,) * is_rgb
        shape = (self.stack_num, *self._frame_shape)
        self.single_observation_space: Box[Any] = Box(0, 255, shape, np.uint8)
        self._terminated, self._truncated = set(terminated), set(truncated)
        self._serials = [0] * num_envs
        # one entry for each reset
        self.observations_of: list[list[Array]] = []
        self.actions_of: list[list[Array]] = []
        self.rewards_of: list[list[Array]] = []
        self.final_observations: dict[tuple[int, int], Array] = {}  # of the last reset's episodes

    @property
    def observations(self) -> Array:
        """``(steps + 1, N, ...)``: all that was observed since the last reset."""
        return np.stack(self.observations_of[-1])

    @property
    def rewards(self) -> Array:
        """``(steps, N)``: rewards since the last reset."""
        return np.stack(self.rewards_of[-1])

    def reset(self, *, seed: int | list[int] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode in each environment; the frames do not depend on ``seed``."""
        del seed
        self._episodes = [[self._new_frame(n)] for n in range(self.num_envs)]
        self._episode_rewards: list[list[float]] = [[] for _ in range(self.num_envs)]
        self.final_observations = {}
        self.actions_of.append([])
        self.rewards_of.append([])
        self.observations_of.append([self._observe()])
        return self.observations_of[-1][-1].copy(), {}

    def step(self, actions: Array) -> Step:
        """Show the next frame, of the next episode where the schedule says that one ends."""
        step = len(self.actions_of[-1])
        self.actions_of[-1].append(actions.copy())
        rng = np.random.default_rng((step, 99))
        rewards = rng.choice([-2, 0, 0, 1, 3], self.num_envs).astype(np.float32)
        self.rewards_of[-1].append(rewards)
        for n in range(self.num_envs):
            self._episodes[n].append(self._new_frame(n))
            self._episode_rewards[n].append(float(rewards[n]))

        terminated = np.array([(step, n) in self._terminated for n in range(self.num_envs)])
        truncated = np.array([(step, n) in self._truncated for n in range(self.num_envs)])
        info: dict[str, Any] = {
            "reward_raw": rewards.copy(),
            "episode_return": np.array([sum(r) for r in self._episode_rewards], np.float32),
            "episode_length": np.array([len(r) for r in self._episode_rewards], np.int32),
        }
        if (terminated | truncated).any():
            last = self._observe()
            info["final_obs"] = np.full(self.num_envs, None, object)
            for n in np.flatnonzero(terminated | truncated).tolist():
                info["final_obs"][n] = last[n]
                self.final_observations[step, n] = last[n]
                self._episodes[n] = [self._new_frame(n)]
                self._episode_rewards[n] = []
        self.observations_of[-1].append(self._observe())
        observations = self.observations_of[-1][-1].copy()
        return observations, rewards.copy(), terminated, truncated, info

    def copy_state(self, memory: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return no bytes: no test restores this environment."""
        return np.zeros(0, np.uint8) if memory is None else memory

    def snapshot_of(self, state: NDArray[np.uint8]) -> bytes:
        """Return them."""
        return state.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """Raise an error: no test restores this environment."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""

    def _observe(self) -> Array:
        return np.stack([stack_at(np.stack(e), len(e) - 1, self.stack_num) for e in self._episodes])

    def _new_frame(self, n: int) -> Array:
        self._serials[n] += 1
        rng = np.random.default_rng((n, self._serials[n]))
        frame = rng.integers(0, 256, self._frame_shape, np.uint8)
        frame[0, 0] = n
        frame[0, 1] = self._serials[n]
        return frame


class ToyVectorEnv(ToyEnv):
    """The same world in vectors of 7 numbers of very different sizes.

    Args:
        num_envs: N.
        terminated: ``(step, env)`` pairs, steps counted from the last reset.
        truncated: The same.
        num_dims: Coordinates of an action; None: one of five actions.
    """

    size = 7

    def __init__(
        self,
        num_envs: int = 4,
        terminated: tuple[tuple[int, int], ...] = (),
        truncated: tuple[tuple[int, int], ...] = (),
        *,
        num_dims: int | None = None,
    ) -> None:
        super().__init__(num_envs, terminated, truncated)
        self.single_observation_space = Box(-np.inf, np.inf, (self.size,), np.float32)
        if num_dims is not None:
            self.single_action_space = Box(-1, 1, (num_dims,), np.float32)

    def _observe(self) -> Array:
        return np.stack([episode[-1] for episode in self._episodes])

    def _new_frame(self, n: int) -> Array:
        self._serials[n] += 1
        rng = np.random.default_rng((n, self._serials[n]))
        vector = rng.normal([0, 0, 3, -50, 1e3, 0, 1e-3], [1, 9, 0.1, 5, 40, 1, 1e-4])
        return vector.astype(np.float32)


def newest(observations: Array) -> Array:
    """``(..., 1, H, W)``: the last frame of grey stacks ``(..., S, H, W)``."""
    return observations[..., -1:, :, :]


def scaled(observations: Array) -> NDArray[np.float32]:
    """Grey pixels in [0, 1], as the policy reads them."""
    pixels: NDArray[np.float32] = observations.astype(np.float32) / np.float32(255)
    return pixels


def small_config(**settings: Any) -> Config:
    """Make a configuration that is computed in milliseconds; other settings by their names."""
    small = {
        "num_envs": 4,
        "img_height": ToyEnv.height,
        "img_width": ToyEnv.width,
        "rollout_steps": 6,
        "num_minibatches": 2,
        "num_features": 16,
        "obs_norm_steps": 12,
        "num_threads": 1,
        "precision": "float32",
    }
    chosen = small | settings
    sections = {}
    for field in dataclasses.fields(Config):
        section = getattr(Config(), field.name)
        names = {setting.name for setting in dataclasses.fields(section)} & chosen.keys()
        sections[field.name] = dataclasses.replace(section, **{n: chosen.pop(n) for n in names})
    assert not chosen, f"unknown settings {chosen}"
    return Config(**sections)


class Learner(NamedTuple):
    """All that one iteration of training needs."""

    config: Config
    env: ToyEnv
    agent: Agent
    rollout: Rollout
    backend: CpuBackend

    def carry_over(self) -> None:
        """Let the next rollout begin where this one ended."""
        self.rollout.carry_over()
        self.backend.carry_over()


@contextlib.contextmanager
def small_learner(env: ToyEnv | None = None, **settings: Any) -> Iterator[Learner]:
    """Make a learner at its first observation, its weights shaken so that all outputs differ."""
    env = env or ToyEnv()
    config = small_config(num_envs=env.num_envs, grayscale=not env.is_rgb, **settings)
    with CpuCompute(config.run) as compute:
        agent, rollout, backend = make_learner(config, env, compute)
        assert isinstance(backend, CpuBackend)
        shake(agent.policy)
        if agent.bonus is not None:
            shake(agent.bonus.networks)
        start_episodes(env, rollout, backend, 0, compute.ranks)
        yield Learner(config, env, agent, rollout, backend)


def rnd_of(agent: Agent) -> RndNetworks:
    """Target and predictor of an agent that has them."""
    assert agent.bonus is not None
    return agent.bonus.networks


def shake(module: nn.Module) -> None:
    """Add noise to all weights and biases: neither orthogonal nor zero any more."""
    rng = np.random.default_rng(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.from_numpy(rng.normal(0, 0.05, parameter.shape)))


def act(policy: PolicyNetwork, observations: torch.Tensor) -> PolicyOutput:
    """What a policy without memory says of ``(B, ...)`` observations."""
    batch_size = len(observations)
    output: PolicyOutput = policy(
        observations, torch.zeros(batch_size, 0), torch.zeros((1, batch_size), dtype=torch.bool)
    )
    return output


def images(blocks: torch.Tensor) -> Array:
    """``(B, C, H, W)``: what a network is given as ``(B, 16 * C, H / 4, W / 4)`` blocks."""
    return images_of(blocks.detach().permute(0, 2, 3, 1).numpy())


def unchanged(inputs: torch.Tensor) -> Array:
    """Images or vectors that a network is given as they are."""
    given: Array = inputs.detach().numpy().copy()
    return given


def frame_store(backend: CpuBackend) -> FrameStore:
    """The observations of a rollout, which are images."""
    assert isinstance(backend.observations, FrameStore)
    return backend.observations


def arrays_of(parts: Learner) -> dict[str, Array]:
    """All arrays of a rollout and of its observations, by name."""
    everything = vars(parts.rollout) | vars(parts.backend) | vars(parts.backend.observations)
    return {name: value for name, value in everything.items() if isinstance(value, np.ndarray)}


def record_inputs(
    module: nn.Module, to_images: Callable[[torch.Tensor], Array] = images
) -> list[Array]:
    """Keep a copy of all images that pass into a network from now on."""
    inputs: list[Array] = []

    def keep(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        inputs.append(to_images(arguments[0]))

    module.register_forward_pre_hook(keep)
    return inputs
