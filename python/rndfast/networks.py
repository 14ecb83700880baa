"""The networks of the paper, as the authors' implementation sizes and initialises them.

All weights are orthogonal, all biases zero, all convolutions without padding. Inputs are images
``(B, C, H, W)``, or the same pixels as blocks (`FirstConvolution`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

RELU_GAIN = math.sqrt(2.0)


class PolicyOutput(NamedTuple):
    """What the policy network says about a batch of observations."""

    logits: Tensor  # (B, A)
    ext_values: Tensor  # (B,)
    int_values: Tensor  # (B,)


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


def _convolutions(
    channels: int, last_kernel: int, activation: nn.Module, generator: torch.Generator
) -> nn.Sequential:
    """Three convolutions with stride 4, 2 and 1, flattened."""
    return nn.Sequential(
        _orthogonal(FirstConvolution(channels), RELU_GAIN, generator),
        activation,
        _orthogonal(nn.Conv2d(32, 64, 4, stride=2), RELU_GAIN, generator),
        activation,
        _orthogonal(nn.Conv2d(64, 64, last_kernel, stride=1), RELU_GAIN, generator),
        activation,
        nn.Flatten(),
    )


def _flat_size(height: int, width: int, last_kernel: int) -> int:
    """Outputs of :func:`_convolutions` for one image.

    Raises:
        ValueError: The image is too small for the three convolutions.
    """
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
    return 64 * sides[0] * sides[1]


class PolicyNetwork(nn.Module):
    """Actor and two critics on stacks of frames scaled to [0, 1].

    Args:
        channels: Frames in a stack (times 3 for RGB).
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        num_actions: A.
        generator: Source of the initial weights.
    """

    def __init__(
        self, channels: int, height: int, width: int, num_actions: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *_convolutions(
                channels, 4, nn.ReLU(inplace=True), generator
            ),  # the third kernel is 4x4, 6x6x64 outputs
            _orthogonal(nn.Linear(_flat_size(height, width, 4), 256), RELU_GAIN, generator),
            nn.ReLU(inplace=True),
            _orthogonal(nn.Linear(256, 448), RELU_GAIN, generator),
            nn.ReLU(inplace=True),
        )
        self.actor_residual = _orthogonal(nn.Linear(448, 448), 0.1, generator)
        self.critic_residual = _orthogonal(nn.Linear(448, 448), 0.1, generator)
        self.actor = _orthogonal(nn.Linear(448, num_actions), 0.01, generator)
        self.ext_critic = _orthogonal(nn.Linear(448, 1), 0.01, generator)
        self.int_critic = _orthogonal(nn.Linear(448, 1), 0.01, generator)

    def forward(self, observations: Tensor) -> PolicyOutput:
        """Map observations, images or blocks, to logits and values, in float32."""
        hidden = self.trunk(observations)  # (B, 448)
        actor = hidden + torch.relu(self.actor_residual(hidden))
        critic = hidden + torch.relu(self.critic_residual(hidden))
        return PolicyOutput(
            self.actor(actor).float(),
            self.ext_critic(critic).float().squeeze(1),
            self.int_critic(critic).float().squeeze(1),
        )


class _FeatureNetwork(nn.Module):
    """Convolutions on one normalised frame, then linear layers with ReLUs in between."""

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        num_features: int,
        num_hidden_layers: int,
        leaky_relu_slope: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            *_convolutions(channels, 3, nn.LeakyReLU(leaky_relu_slope, inplace=True), generator)
        ]
        size = _flat_size(height, width, 3)
        for _ in range(num_hidden_layers):
            layers += [
                _orthogonal(nn.Linear(size, num_features), RELU_GAIN, generator),
                nn.ReLU(inplace=True),
            ]
            size = num_features
        layers.append(_orthogonal(nn.Linear(size, num_features), RELU_GAIN, generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, frames: Tensor) -> Tensor:
        """Map normalised frames, images or blocks, to ``(B, num_features)`` features in float32."""
        features: Tensor = self.layers(frames).float()
        return features


class RndNetworks(nn.Module):
    """The fixed random target and the predictor that learns to imitate it.

    Args:
        channels: Channels of one frame: 1, or 3 for RGB.
        height: Height of a frame, in pixels.
        width: Width of a frame, in pixels.
        num_features: Outputs of either network (512 in the paper).
        leaky_relu_slope: Slope below zero in the convolutions (0.2 in the authors' implementation).
        generator: Source of the initial weights.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        num_features: int,
        leaky_relu_slope: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()

        def features(num_hidden_layers: int) -> _FeatureNetwork:
            return _FeatureNetwork(
                channels,
                height,
                width,
                num_features=num_features,
                num_hidden_layers=num_hidden_layers,
                leaky_relu_slope=leaky_relu_slope,
                generator=generator,
            )

        self.target = features(num_hidden_layers=0).requires_grad_(False)
        self.predictor = features(num_hidden_layers=2)
