"""Threads that share out passes through the networks.

On the CPU a batch is cut into micro-batches, each computed by one thread with one intra-op thread,
and the results are combined in order: they do not depend on the number of threads, and a busy core
slows one micro-batch, where threads inside an operation would all wait for it at every operation.
On a GPU a batch is one piece.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rndfast._core import ThreadPool
from rndfast.config import RunConfig
from rndfast.timeline import Timeline

Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """The device, the number format and the threads of a run.

    Use as a context manager: while it is open, torch uses one intra-op thread on the CPU.

    Args:
        config: ``device``, ``precision``, ``num_threads`` and ``micro_batch_size`` are read.
        timeline: Where the time that work takes is noted; None: a new one.

    Raises:
        ValueError: CUDA is asked for and not available.
    """

    def __init__(self, config: RunConfig, timeline: Timeline | None = None) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device is 'cuda', but torch sees no CUDA device here; use --device cpu"
            )
        self.timeline = timeline or Timeline()
        self.device = torch.device(config.device)
        self.dtype = torch.bfloat16 if config.precision == "bfloat16" else torch.float32
        self.num_threads = config.num_threads or usable_cores()
        self.pool = ThreadPool(self.num_threads)
        is_cpu = self.device.type == "cpu"
        self._micro_batch_size = config.micro_batch_size if is_cpu else None
        self._executor = ThreadPoolExecutor(self.num_threads if is_cpu else 1, "rndfast")

    def __enter__(self) -> Workers:
        self._intra_op_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        # after Ctrl-C the pieces not yet begun are dropped, the few under way run to their end
        self._executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._intra_op_threads)

    def map(
        self,
        function: Callable[[NDArray[np.int64]], Result],
        indices: NDArray[np.int64],
        min_pieces: int = 1,
    ) -> Iterator[Result]:
        """Call ``function`` on pieces of ``indices`` in parallel and yield the results in order."""
        num_pieces = 1
        if self._micro_batch_size is not None:
            num_pieces = max(min_pieces, -(-len(indices) // self._micro_batch_size))
        return self._executor.map(function, np.array_split(indices, num_pieces))

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Compute in the run's number format."""
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )

    def empty(self, *shape: int) -> torch.Tensor:
        """A new host tensor in the run's number format, pinned where a GPU will read it."""
        return torch.empty(shape, dtype=self.dtype, pin_memory=self.device.type == "cuda")

    def to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        """Move a ``(B, C, H, W)`` host tensor to the networks, channels last."""
        return tensor.to(self.device, non_blocking=True, memory_format=torch.channels_last)


def as_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """A NumPy view of a host tensor; bfloat16 as its bits in uint16, as the kernels take it."""
    view: NDArray[np.generic] = (
        tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    ).numpy()
    return view
