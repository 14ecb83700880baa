"""Observations by their running mean and deviation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rndfast._core import RunningMoments


class Normalizer:
    """``clip((x - mean) / std)`` by statistics that stay the same until `assign`.

    Args:
        moments: Statistics of frames ``(C, H, W)`` or vectors ``(D,)``.
        clip: Largest magnitude; inf: any.
        device: Where the values that it normalises are.
    """

    def __init__(
        self, moments: RunningMoments, clip: float, device: torch.device | None = None
    ) -> None:
        self.clip = min(clip, float(np.finfo(np.float32).max))
        shape = moments.mean.shape
        self.mean_high, self.mean_low, self.inverse_std = (
            torch.empty(shape, device=device) for _ in range(3)
        )
        self.assign(moments)

    def assign(self, moments: RunningMoments) -> None:
        """Take other statistics, into the same memory, which a captured graph goes on reading.

        The mean is kept as a sum of two float32, so that the difference from a pixel that hardly
        ever changes is as accurate as in float64.
        """
        self.mean, self.var = moments.mean, moments.var
        mean_high = self.mean.astype(np.float32)
        mean_low = (self.mean - mean_high).astype(np.float32)
        inverse_std = (1 / np.sqrt(self.var)).astype(np.float32)
        self.mean_high.copy_(torch.from_numpy(mean_high))
        self.mean_low.copy_(torch.from_numpy(mean_low))
        self.inverse_std.copy_(torch.from_numpy(inverse_std))

    def __call__(self, values: Tensor) -> Tensor:
        """Normalise ``(B, *shape)`` on the device, in float32."""
        whitened = ((values.float() - self.mean_high) - self.mean_low) * self.inverse_std
        return whitened.clamp(-self.clip, self.clip)
