"""Threads that share out passes through the networks.

On the CPU a batch is cut into pieces, each computed by one thread with one intra-op thread, and the
results are combined in order: they do not depend on the number of threads, and a busy core slows
one piece, where threads inside an operation would all wait for it at every operation. On a GPU the
pieces are large and follow each other.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import ThreadPool
from rndfast.config import RunConfig
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import Timeline

# Observations that pass through a network at once on a GPU: one of the paper's minibatches.
GPU_BATCH_SIZE = 4096

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve_precision(config: RunConfig) -> Literal["float32", "bfloat16"]:
    """The number format that ``config.precision`` stands for here.

    ``"auto"`` is bfloat16 where the device multiplies it in hardware, which is at least twice as
    fast; elsewhere it is emulated, and many times slower than float32.
    """
    if config.precision != "auto":
        return config.precision
    if config.device == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bfloat16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if has_bfloat16 else "float32"


class Workers:
    """The device, the number format, the threads and the processes of a run.

    Use as a context manager: while it is open, torch uses one intra-op thread on the CPU.

    Args:
        config: ``device``, ``precision``, ``num_threads``, ``micro_batch_size`` and ``cuda_graphs``
            are read.
        timeline: Where the time that work takes is noted; None: a new one.
        ranks: The processes of the run; None: as the environment variables say.

    Raises:
        ValueError: CUDA is asked for and not available, or CUDA graphs without CUDA.
    """

    def __init__(
        self, config: RunConfig, timeline: Timeline | None = None, ranks: Ranks | None = None
    ) -> None:
        if config.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(
                "device is 'cuda', but torch sees no CUDA device here; use --device cpu"
            )
        self.timeline = timeline or Timeline()
        self.ranks = ranks or Ranks(config.device)
        self.device = torch.device(config.device)
        self.is_cpu = self.device.type == "cpu"
        is_bfloat16 = resolve_precision(config) == "bfloat16"
        self.dtype = torch.bfloat16 if is_bfloat16 else torch.float32
        self.num_threads = config.num_threads or max(
            1, usable_cores() // self.ranks.local_world_size
        )
        self.pool = ThreadPool(self.num_threads)
        self.timeline.watch("kernel", self.pool)
        self.batch_size = config.micro_batch_size if self.is_cpu else GPU_BATCH_SIZE
        self.graphs: CudaGraphs | None = CudaGraphs() if config.cuda_graphs else None
        # said in every thread: one that torch has not been told in yet lets libraries use all cores
        self._executor = ThreadPoolExecutor(
            self.num_threads, "rndfast", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> Workers:
        self._intra_op_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        # after Ctrl-C the pieces not yet begun are dropped, the few under way run to their end
        self._executor.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._intra_op_threads)

    def map(self, function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
        """Call ``function`` on each piece, in parallel on the CPU; the results come in order."""
        work = self.timeline.noting(function)
        if self.is_cpu and len(pieces) > 1:
            return self._executor.map(work, pieces)
        return map(work, pieces)  # one alone; or work on a GPU: threads would only wait for it

    def pieces(
        self, indices: NDArray[np.int64], max_size: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Cut indices for `map`: into micro-batches, or pieces of ``max_size`` on the CPU."""
        size = (max_size or self.batch_size) if self.is_cpu else self.batch_size
        return np.array_split(indices, max(1, -(-len(indices) // size)))

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Compute in the run's number format."""
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.dtype == torch.bfloat16,
            cache_enabled=self.graphs is None,  # a captured graph must cast the weights anew
        )

    def to_device(self, array: NDArray[np.generic]) -> Tensor:
        """A copy of an array on the device; on the CPU, the array's own memory.

        A GPU copies it from pinned memory in its own time: nothing waits.
        """
        tensor = torch.from_numpy(array)
        return tensor if self.is_cpu else tensor.pin_memory().to(self.device, non_blocking=True)


class CudaGraphs:
    """Functions of device tensors, each captured as a CUDA graph per size of the first argument.

    Launching the dozens of small kernels of a pass one by one takes longer than they run. Untested:
    it has not run on a GPU yet.
    """

    def __init__(self) -> None:
        self._captured: dict[
            tuple[str, int], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Tensor]
        ] = {}

    def run(self, name: str, function: Callable[..., Tensor], *arguments: Tensor) -> Tensor:
        """The result of ``function``, valid until the next call of this name and size.

        Memory that it reads besides its arguments must stay where it is from call to call.
        """
        key = (name, len(arguments[0]))
        if key not in self._captured:
            static_arguments = tuple(argument.clone() for argument in arguments)
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):  # libraries choose kernels and allocate before capture
                for _ in range(3):
                    function(*static_arguments)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = function(*static_arguments)
            self._captured[key] = graph, static_arguments, result
        graph, static_arguments, result = self._captured[key]
        for static_argument, argument in zip(static_arguments, arguments, strict=True):
            static_argument.copy_(argument)
        graph.replay()
        return result


def as_numpy(tensor: Tensor) -> NDArray[np.generic]:
    """A NumPy view of a host tensor; bfloat16 as its bits in uint16, as the kernels take it."""
    view: NDArray[np.generic] = (
        tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor
    ).numpy()
    return view
