"""Observations by their running mean and deviation."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from rndfast._core import RunningMoments
from rndfast.runtime.compute import Workers


class Normalizer:
    """``clip((x - mean) / std)`` with the statistics of one moment.

    Args:
        moments: Statistics of frames ``(C, H, W)`` or vectors ``(D,)``.
        clip: Largest magnitude; inf: any.
        workers: The device.
    """

    def __init__(self, moments: RunningMoments, clip: float, workers: Workers) -> None:
        self.mean = moments.mean
        self.var = moments.var
        self.clip = min(clip, float(np.finfo(np.float32).max))
        mean_high = self.mean.astype(np.float32)
        mean_low = (self.mean - mean_high).astype(np.float32)
        inverse_std = (1 / np.sqrt(self.var)).astype(np.float32)
        self._on_device = [workers.to_device(a) for a in (mean_high, mean_low, inverse_std)]

    def __call__(self, values: Tensor) -> Tensor:
        """Normalise ``(B, *shape)`` on the device, in float32.

        The mean is a sum of two float32, so that the difference from a pixel that hardly ever
        changes is as accurate as in float64.
        """
        mean_high, mean_low, inverse_std = self._on_device
        whitened = ((values.float() - mean_high) - mean_low) * inverse_std
        return whitened.clamp(-self.clip, self.clip)
