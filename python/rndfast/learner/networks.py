"""The networks of the paper, as the authors' implementation sizes and initialises them.

All weights are orthogonal, all biases zero, all convolutions without padding. Inputs are images
``(B, C, H, W)``, the same pixels as blocks (`FirstConvolution`), or vectors ``(B, D)``, where
two linear layers take the place of the convolutions and the first has normal biases.

Whatever the number format of the others, the last layers (of actions, values and features) are
computed in float32: rounded to bfloat16, values near 3 would be off by 0.005, a twentieth of what
advantages differ by, and no bonus could fall below 2e-5. They are small, and it costs nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from rndfast.config import RndConfig
from rndfast.learner.distributions import ActionDistribution, DiagonalGaussian

RELU_GAIN = math.sqrt(2.0)

# Units of each linear layer that reads vectors.
VECTOR_UNITS = 64

# Units of the recurrent policy's memory.
MEMORY_UNITS = 256


class PolicyOutput(NamedTuple):
    """What the policy network says about a batch of observations."""

    action_params: Tensor  # (B, P) float32, of the distribution of actions
    values: Tensor  # (B, V) float32, one for each stream of rewards
    memory: Tensor  # (n, M) float32, after the last observation of each environment


def to_blocks(images: Tensor) -> Tensor:
    """``(B, 16 * C, H // 4, W // 4)``: blocks of images, as `FirstConvolution` reads them."""
    height, width = images.shape[2] // 4 * 4, images.shape[3] // 4 * 4
    return functional.pixel_unshuffle(images[..., :height, :width], 4)


class FirstConvolution(nn.Conv2d):
    """A convolution of 8 x 8 with stride 4, of images or of their blocks of 4 x 4 pixels.

    Blocks are ``(B, 16 * C, H // 4, W // 4)``; channel ``16 * c + 4 * i + j`` of block ``(y, x)``
    is pixel ``(4 * y + i, 4 * x + j)`` of plane ``c``. Over them it is a convolution of 2 x 2 with
    stride 1, of the same numbers in another order; with 16 times the input channels it is faster.
    The weight is that of the convolution of images, ``(32, C, 8, 8)``.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 32, kernel_size=8, stride=4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map images or blocks to ``(B, 32, (H - 4) // 4, (W - 4) // 4)``."""
        if inputs.shape[1] == self.in_channels:
            return super().forward(inputs)
        # rows and columns of the kernel are 2 blocks of 4 each
        weight = self.weight.reshape(32, self.in_channels, 2, 4, 2, 4)
        weight = weight.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)  # (32, 16 * C, 2, 2)
        return functional.conv2d(inputs, weight, self.bias)


def _orthogonal(
    layer: nn.Conv2d | nn.Linear, gain: float, generator: torch.Generator
) -> nn.Conv2d | nn.Linear:
    nn.init.orthogonal_(layer.weight, gain, generator=generator)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class _Encoder(NamedTuple):
    """Layers that read observations, and how many numbers they make of one."""

    layers: list[nn.Module]
    size: int


def _encoder(
    observation_shape: tuple[int, ...],
    last_kernel: int,
    activation: nn.Module,
    generator: torch.Generator,
) -> _Encoder:
    """Three convolutions with stride 4, 2 and 1, flattened; or two linear layers for vectors.

    Raises:
        ValueError: Images are too small for the three convolutions.
    """
    if len(observation_shape) == 1:
        num_inputs = observation_shape[0]
        # Units bend where their inputs and bias cancel, and only bends are hard to predict. With
        # this gain each unit's sum has a deviation of 2 * sqrt(2), however many inputs there are,
        # so that with normal biases nearly all bend among the observations.
        gain = 2 * RELU_GAIN * max(1.0, math.sqrt(VECTOR_UNITS / num_inputs))
        first = nn.Linear(num_inputs, VECTOR_UNITS)
        second = nn.Linear(VECTOR_UNITS, VECTOR_UNITS)
        layers: list[nn.Module] = [_orthogonal(first, gain, generator), activation]
        nn.init.normal_(first.bias, generator=generator)
        layers += [_orthogonal(second, RELU_GAIN, generator), activation]
        return _Encoder(layers, VECTOR_UNITS)
    channels, height, width = observation_shape
    layers = [
        _orthogonal(FirstConvolution(channels), RELU_GAIN, generator),
        activation,
        _orthogonal(nn.Conv2d(32, 64, 4, stride=2), RELU_GAIN, generator),
        activation,
        _orthogonal(nn.Conv2d(64, 64, last_kernel, stride=1), RELU_GAIN, generator),
        activation,
        nn.Flatten(),
    ]
    sides = []
    for side in (height, width):
        size = side
        for kernel, stride in ((8, 4), (4, 2), (last_kernel, 1)):
            size = (size - kernel) // stride + 1 if size >= kernel else 0
        sides.append(size)
    if min(sides) < 1:
        raise ValueError(
            "frames must be large enough for the convolutions (84 x 84 in the paper), "
            f"got {height} x {width}"
        )
    return _Encoder(layers, 64 * sides[0] * sides[1])


class Memory(nn.GRU):
    """A gated recurrent unit over segments of several environments, emptied where episodes begin.

    As in the authors' implementation, each gate has one matrix over input and memory together,
    which is orthogonal at first, and one bias: PyTorch's second one stays 0.

    Args:
        size: Inputs, and units.
        generator: Source of the initial weights.
    """

    def __init__(self, size: int, generator: torch.Generator) -> None:
        super().__init__(size, size)
        of_input, of_memory, bias, second_bias = self.parameters()
        gates = zip(of_input.data.chunk(3), of_memory.data.chunk(3), strict=True)
        for input_gate, memory_gate in gates:  # reset, update, new
            joint = nn.init.orthogonal_(torch.empty(size, 2 * size), generator=generator)
            input_gate.copy_(joint[:, :size])
            memory_gate.copy_(joint[:, size:])
        nn.init.zeros_(bias)
        nn.init.zeros_(second_bias)
        second_bias.requires_grad_(False)

    def remember(self, inputs: Tensor, memory: Tensor, is_first: Tensor) -> tuple[Tensor, Tensor]:
        """Walk through T steps of n environments, in float32.

        Args:
            inputs: ``(T * n, size)``.
            memory: ``(n, size)``: before the first step.
            is_first: ``(T, n)`` bool: steps at which an episode begins.

        Returns:
            ``(T * n, size)`` outputs, and ``(n, size)``, the memory after the last step.
        """
        num_steps, num_envs = is_first.shape
        steps = inputs.float().view(num_steps, num_envs, -1)
        with torch.autocast(inputs.device.type, enabled=False):
            if inputs.is_cuda:
                outputs = self._step_by_step(steps, memory, is_first)
            else:
                outputs = self._segment_by_segment(steps, memory, is_first)
        return outputs.flatten(0, 1), outputs[-1]

    def _step_by_step(self, steps: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        """``(T, n, size)`` outputs; no step depends on the data, so that a GPU can capture it."""
        keeps = (~is_first).to(memory.dtype)[:, :, None]
        outputs = []
        for step, keep in zip(steps, keeps, strict=True):
            memory = torch.gru_cell(step, memory * keep, *self.parameters())
            outputs.append(memory)
        return torch.stack(outputs)

    def _segment_by_segment(self, steps: Tensor, memory: Tensor, is_first: Tensor) -> Tensor:
        """The same; where no episode begins, steps follow each other inside one call."""
        num_steps = len(steps)
        starts = [0]
        if num_steps > 1:
            starts += [1 + row for row in is_first[1:].any(dim=1).nonzero().flatten().tolist()]
        outputs = []
        for start, end in zip(starts, [*starts[1:], num_steps], strict=True):
            memory = memory.masked_fill(is_first[start, :, None], 0.0)
            output, last = self(steps[start:end], memory[None])
            memory = last[0]
            outputs.append(output)
        return torch.cat(outputs)


class GaussianHead(nn.Linear):
    """Means that depend on the input, and one deviation for each dimension that does not."""

    def __init__(self, in_features: int, num_dims: int) -> None:
        super().__init__(in_features, num_dims)
        self.log_std = nn.Parameter(torch.zeros(num_dims))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map ``(B, I)`` to ``(B, 2 * num_dims)``: means, logarithms of the deviations."""
        mean = super().forward(inputs)
        return torch.cat((mean, self.log_std.to(mean.dtype).expand_as(mean)), dim=1)


class PolicyNetwork(nn.Module):
    """Actor and critics on stacks of frames scaled to [0, 1], or on vectors.

    Args:
        observation_shape: ``(C, H, W)``, C the frames in a stack (times 3 for RGB), or ``(D,)``.
        distribution: Of the actions.
        num_values: Value heads, V.
        is_recurrent: Give it a memory.
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        distribution: ActionDistribution,
        num_values: int,
        generator: torch.Generator,
        *,
        is_recurrent: bool = False,
    ) -> None:
        super().__init__()
        # a last kernel of 4 x 4, where the bonus's networks have 3 x 3
        layers, size = _encoder(observation_shape, 4, nn.ReLU(inplace=True), generator)
        if len(observation_shape) > 1 or is_recurrent:
            widths = (MEMORY_UNITS,) if is_recurrent else (256, 448)
            for width in widths:
                layers += [
                    _orthogonal(nn.Linear(size, width), RELU_GAIN, generator),
                    nn.ReLU(inplace=True),
                ]
                size = width
        self.trunk = nn.Sequential(*layers)
        self.memory = Memory(size, generator) if is_recurrent else None
        self.actor_residual = _orthogonal(nn.Linear(size, size), 0.1, generator)
        self.critic_residual = _orthogonal(nn.Linear(size, size), 0.1, generator)
        is_gaussian = isinstance(distribution, DiagonalGaussian)
        head = GaussianHead if is_gaussian else nn.Linear
        self.actor = _orthogonal(head(size, distribution.num_outputs), 0.01, generator)
        self.critic = nn.Linear(size, num_values)
        nn.init.zeros_(self.critic.bias)
        for weights in self.critic.weight.data:  # each head on its own
            nn.init.orthogonal_(weights[None], 0.01, generator=generator)

    @property
    def memory_size(self) -> int:
        """Numbers that are remembered of each environment, M; 0 without memory."""
        return 0 if self.memory is None else self.memory.hidden_size

    def forward(self, observations: Tensor, memory: Tensor, is_first: Tensor) -> PolicyOutput:
        """Map observations of T steps of n environments to distributions and values, in float32.

        Args:
            observations: ``(T * n, ...)``: images, blocks or vectors, step by step.
            memory: ``(n, M)``: what is remembered before the first step.
            is_first: ``(T, n)`` bool: where an episode begins, and nothing is remembered.
        """
        hidden = self.trunk(observations)  # (T * n, size)
        if self.memory is not None:
            hidden, memory = self.memory.remember(hidden, memory, is_first)
        actor = hidden + torch.relu(self.actor_residual(hidden))
        critic = hidden + torch.relu(self.critic_residual(hidden))
        with torch.autocast(hidden.device.type, enabled=False):
            return PolicyOutput(self.actor(actor.float()), self.critic(critic.float()), memory)


class FeatureNetwork(nn.Module):
    """An encoder of one normalised frame or vector, then linear layers with ReLUs in between.

    Args:
        observation_shape: ``(C, H, W)`` or ``(D,)``.
        num_features: Outputs, F.
        num_hidden_layers: Linear layers before the last one.
        leaky_relu_slope: Slope below zero in the encoder.
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        num_features: int,
        num_hidden_layers: int,
        leaky_relu_slope: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        activation = nn.LeakyReLU(leaky_relu_slope, inplace=True)
        layers, size = _encoder(observation_shape, 3, activation, generator)
        for _ in range(num_hidden_layers):
            layers += [
                _orthogonal(nn.Linear(size, num_features), RELU_GAIN, generator),
                nn.ReLU(inplace=True),
            ]
            size = num_features
        layers.append(_orthogonal(nn.Linear(size, num_features), RELU_GAIN, generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, observations: Tensor) -> Tensor:
        """Map normalised images, blocks or vectors to ``(B, num_features)`` float32."""
        *before, last = self.layers
        hidden = observations
        for layer in before:
            hidden = layer(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            features: Tensor = last(hidden.float())
        return features


class RndNetworks(nn.Module):
    """The fixed random target, or several of them, and the predictor that learns to imitate it.

    One target is ``target``; several are ``targets``, and there is no ``target``.

    Args:
        observation_shape: ``(C, H, W)``, C the channels of one frame, or ``(D,)``.
        num_features: Outputs of each network (512 in the paper).
        leaky_relu_slope: Slope below zero in the first layers (0.2 in the authors' implementation).
        predictor_hidden_layers: Linear layers that the predictor has more than a target (2 in the
            paper).
        num_targets: 1, or more for DRND.
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        *,
        num_features: int,
        leaky_relu_slope: float,
        predictor_hidden_layers: int = 2,
        num_targets: int = 1,
        generator: torch.Generator,
    ) -> None:
        super().__init__()

        def features(num_hidden_layers: int) -> FeatureNetwork:
            return FeatureNetwork(
                observation_shape,
                num_features=num_features,
                num_hidden_layers=num_hidden_layers,
                leaky_relu_slope=leaky_relu_slope,
                generator=generator,
            )

        targets = [features(num_hidden_layers=0).requires_grad_(False) for _ in range(num_targets)]
        if num_targets == 1:
            (self.target,) = targets
        else:
            self.targets = nn.ModuleList(targets)
        self.predictor = features(num_hidden_layers=predictor_hidden_layers)

    @classmethod
    def of(
        cls, observation_shape: tuple[int, ...], config: RndConfig, generator: torch.Generator
    ) -> RndNetworks:
        """The networks that the settings describe."""
        return cls(
            observation_shape,
            num_features=config.num_features,
            leaky_relu_slope=config.leaky_relu_slope,
            predictor_hidden_layers=config.predictor_hidden_layers,
            num_targets=config.num_targets if config.bonus == "drnd" else 1,
            generator=generator,
        )
