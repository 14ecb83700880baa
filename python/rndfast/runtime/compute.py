"""What network passes are computed with: a device, a number format, threads and processes.

There are two kinds. On the CPU a batch is cut into micro-batches that threads compute
(`CpuCompute`). On a GPU a batch is one pass, whose many small kernels are replayed as a captured
graph (`GpuCompute`).
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import ThreadPool, usable_cores
from rndfast.config import RunConfig
from rndfast.runtime.cuda_device import CudaDevice
from rndfast.runtime.interruption import shielded
from rndfast.runtime.processes import Ranks
from rndfast.runtime.timeline import Timeline

MicroBatch = TypeVar("MicroBatch")
Result = TypeVar("Result")


def resolve_device(config: RunConfig) -> Literal["cpu", "cuda", "mps"]:
    """The device that ``config.device`` stands for here.

    Raises:
        ValueError: It is not here.
    """
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    is_here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if not is_here[config.device]:
        raise ValueError(
            f"device is {config.device!r}, but torch sees no {config.device.upper()} device here; "
            "use --device cpu"
        )
    return config.device


def resolve_precision(config: RunConfig) -> Literal["float32", "tf32", "bfloat16"]:
    """The number format that ``config.precision`` stands for here.

    ``"auto"`` is bfloat16 where the device multiplies it in hardware, which is at least twice as
    fast; elsewhere it is emulated, and many times slower than float32.

    Raises:
        ValueError: The device has no such format, or is not here.
    """
    device = resolve_device(config)
    if config.precision == "tf32" and device != "cuda":
        raise ValueError(f"precision 'tf32' is a CUDA GPU's alone, and the device is {device!r}")
    if config.precision != "auto":
        return config.precision
    if device == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device == "mps":
        has_bfloat16 = False
    else:
        capabilities = torch.cpu.get_capabilities()
        has_bfloat16 = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return "bfloat16" if has_bfloat16 else "float32"


@contextmanager
def torch_threads(num_threads: int) -> Iterator[None]:
    """Give operations of torch so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Compute:
    """What both kinds have: the number format, the core's threads, the processes and the clock.

    Use as a context manager: while it is open, torch uses one thread inside an operation on the
    CPU. Threads that each compute something of their own do not wait for each other at every
    operation, as the threads inside one would.

    Args:
        config: ``device``, ``precision`` and ``num_threads`` are read.
        device: Where the networks live.
        timeline: Where the time that work takes is noted; None: a new one.
        ranks: The processes of the run; None: as the environment variables say.
    """

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        timeline: Timeline | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.device = device
        self.timeline = timeline or Timeline()
        self.ranks = ranks or Ranks(device.type)
        self.precision = resolve_precision(config)
        self.dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        cores = usable_cores() // self.ranks.local_world_size
        if device.type == "cuda":
            cores -= 1  # which the calling thread keeps busy while it waits for the device
        self.num_threads = config.num_threads or max(1, cores)
        self.pool = ThreadPool(self.num_threads)
        self.timeline.watch("kernel", self.pool)

    def __enter__(self) -> Compute:
        self._intra_op_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self._intra_op_threads)

    def autocast(self) -> AbstractContextManager[object]:
        """Compute networks' passes in the number format.

        Weights are cast in every pass: a copy of them that torch kept would be out of date in a
        graph that is replayed after an optimiser's step.
        """
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.dtype == torch.bfloat16,
            cache_enabled=False,
        )


class CpuCompute(Compute):
    """Threads that compute micro-batches.

    Results are combined in the order of the micro-batches, so that they do not depend on the number
    of threads; and a busy core delays one micro-batch, where threads inside an operation would all
    wait for it.

    Args:
        config: Also ``micro_batch_size`` is read.
        timeline: As of `Compute`.
        ranks: As of `Compute`.
    """

    def __init__(
        self, config: RunConfig, timeline: Timeline | None = None, ranks: Ranks | None = None
    ) -> None:
        super().__init__(config, torch.device("cpu"), timeline, ranks)
        self.micro_batch_size = config.micro_batch_size
        # in every thread: where torch has not been told so yet, its libraries use all cores
        self._executor = ThreadPoolExecutor(
            self.num_threads, "rndfast", initializer=torch.set_num_threads, initargs=(1,)
        )

    def __enter__(self) -> CpuCompute:
        super().__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        # after Ctrl-C what has not begun yet is dropped, the few under way run to their end
        with shielded():
            self._executor.shutdown(wait=True, cancel_futures=True)
        super().__exit__(*exception)

    def map(
        self, function: Callable[[MicroBatch], Result], micro_batches: Sequence[MicroBatch]
    ) -> Iterator[Result]:
        """Call a function of each micro-batch on the threads; the results come in order."""
        work = self.timeline.noting(function)
        if len(micro_batches) <= 1:
            return map(work, micro_batches)
        with shielded():
            return _one_by_one(self._executor.map(work, micro_batches))

    def micro_batches(
        self, indices: NDArray[np.int64], max_size: int | None = None
    ) -> list[NDArray[np.int64]]:
        """Cut indices into micro-batches of about the same size, at most ``max_size``."""
        size = max_size or self.micro_batch_size
        return np.array_split(indices, max(1, -(-len(indices) // size)))


def _one_by_one(results: Iterator[Result]) -> Iterator[Result]:
    """What other threads compute; Ctrl-C comes between two results."""
    while True:
        with shielded():
            try:
                result = next(results)
            except StopIteration:
                return
        yield result


class GpuCompute(Compute):
    """A device that computes whole batches, and replays what it has captured.

    While it is open, torch computes on CUDA GPUs as ``config`` says: tf32 or not, and with kernels
    that repeat their results or with those that are the fastest.

    Args:
        config: Also ``graphs`` and ``deterministic`` are read.
        device: Another device than CUDA's runs the same code without graphs; the tests take the
            CPU.
        timeline: As of `Compute`.
        ranks: As of `Compute`.
    """

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        timeline: Timeline | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(config, device, timeline, ranks)
        self.is_cuda = device.type == "cuda"
        self._uses_graphs = self.is_cuda and config.graphs
        self._graph_pool: Any = None
        self._is_deterministic = config.deterministic
        if self.is_cuda:
            self.timeline.watch_device(CudaDevice())

    def __enter__(self) -> GpuCompute:
        super().__enter__()
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        self._flags_before = (
            matmul.allow_tf32,
            cudnn.allow_tf32,
            cudnn.benchmark,
            cudnn.deterministic,
        )
        matmul.allow_tf32 = cudnn.allow_tf32 = self.precision == "tf32"
        cudnn.benchmark, cudnn.deterministic = not self._is_deterministic, self._is_deterministic
        return self

    def __exit__(self, *exception: object) -> None:
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = (
            self._flags_before
        )
        super().__exit__(*exception)

    def captured(self, function: Callable[[], None]) -> Captured:
        """A function that is captured as a graph in its second call, if graphs are used.

        All graphs share one pool of memory, as they are never replayed at the same time.
        """
        if self._uses_graphs and self._graph_pool is None:
            self._graph_pool = torch.cuda.graph_pool_handle()
        return Captured(function, self._graph_pool)

    def to_device(self, array: NDArray[np.generic]) -> Tensor:
        """A copy of an array on the device, made in the device's own time: nothing waits."""
        tensor = torch.from_numpy(array)
        if not self.is_cuda:
            return tensor.to(self.device, copy=True)
        return tensor.pin_memory().to(self.device, non_blocking=True)


class Captured:
    """A function without arguments that a GPU replays.

    Memory that it reads and writes must stay where it is from call to call. The first call runs it
    as it is: libraries choose their kernels, and what is made only once is made.

    Args:
        function: What to capture.
        pool: Memory that graphs share; None: nothing is captured.
    """

    def __init__(self, function: Callable[[], None], pool: Any) -> None:
        self._function = function
        self._pool = pool
        self._has_run = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Run, capture or replay it."""
        if self._graph is not None:
            self._graph.replay()
        elif self._pool is None or not self._has_run:
            self._function()
            self._has_run = True
        else:
            self._graph = self._capture()
            self._graph.replay()  # capturing ran nothing

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Capture the function; no garbage is collected meanwhile.

        Graphs of an earlier run may be in it, and freeing one is an error while one is captured.
        """
        graph = torch.cuda.CUDAGraph()
        collects_garbage = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                self._function()
        finally:
            if collects_garbage:
                gc.enable()
        return graph


def resolved(config: RunConfig) -> RunConfig:
    """The settings with the device and the number format that ``"auto"`` stands for here.

    Raises:
        ValueError: As of `resolve_precision`.
    """
    device, precision = resolve_device(config), resolve_precision(config)
    return dataclasses.replace(config, device=device, precision=precision)


def open_compute(
    config: RunConfig, timeline: Timeline | None = None, ranks: Ranks | None = None
) -> CpuCompute | GpuCompute:
    """The kind for the device that the settings stand for; see `CpuCompute` and `GpuCompute`."""
    device = resolve_device(config)
    if device == "cpu":
        return CpuCompute(config, timeline, ranks)
    return GpuCompute(config, torch.device(device), timeline, ranks)
