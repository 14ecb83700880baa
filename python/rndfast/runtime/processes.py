"""One run on several processes: ``torchrun --nproc-per-node 2 -m rndfast train ...``.

Each process (a *rank*) steps a part of the environments, and computes the gradients of a part of
each minibatch. Gradients and statistics are summed over all ranks, so that every rank has the same
weights, and the run learns what one process with all the environments would. Rank 0 collects the
figures and the state of all, and alone writes files.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from rndfast._core import RunningMoments

# A rank waits for the slowest one in each rollout, and for rank 0 while it writes.
TIMEOUT_S = 600.0

Value = TypeVar("Value")
Values = TypeVar("Values", NDArray[Any], Tensor)


class RankLost(Exception):
    """Another process of the run ended or does not answer, so that this one cannot go on."""


class Ranks:
    """The processes of a run, as torchrun tells of them in environment variables.

    Use as a context manager: it connects the processes. All ranks must call the same methods in the
    same order, as each waits for the others. In a process that torchrun did not start there is one
    rank, and every method returns what it is given.

    Args:
        device: ``"cuda"``: each process of a machine takes the GPU of its own number, and tensors
            there are summed by NCCL, in their own time: a rank lost meanwhile is noticed at the
            next call that goes through gloo, as all others do. Untested: it has not run on GPUs.
        num_minibatches: Slices of the environments; every rank has an equal part of each.
        timeout_s: Seconds to wait for another rank.

    Attributes:
        rank: This process, from 0.
        world_size: Number of processes.
        local_world_size: Number of those on this machine.

    Raises:
        ValueError: If there are more processes on this machine than GPUs.
        RankLost: From every method that needs the others, and where the context is entered or left:
            another process has ended, or has not answered for ``timeout_s``.
    """

    def __init__(
        self,
        device: str,
        *,
        num_minibatches: int = 1,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self._num_minibatches = num_minibatches
        self._is_gpu = device == "cuda"
        self._timeout_s = timeout_s

    def __enter__(self) -> Ranks:
        if self.world_size == 1:
            return self
        if self._is_gpu:
            num_gpus = torch.cuda.device_count()
            if self.local_world_size > num_gpus:
                raise ValueError(
                    f"there must be a GPU for each process: torchrun started "
                    f"{self.local_world_size} on this machine, and torch sees {num_gpus}"
                )
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        with self._waiting():
            torch.distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if self._is_gpu else "gloo",
                timeout=datetime.timedelta(seconds=self._timeout_s),
            )
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.world_size == 1:
            return
        try:
            if error is None:
                with self._waiting():  # who leaves first closes connections that others still use
                    torch.distributed.barrier()
        finally:
            torch.distributed.destroy_process_group()

    def env_ids(self, num_envs: int) -> NDArray[np.int64]:
        """Which of the run's environments are this rank's, in order.

        A minibatch is a contiguous slice of the environments, and rank ``r`` has the ``r``-th equal
        part of each. So the ``k``-th slice of this rank's environments is its part of minibatch
        ``k``.

        Returns:
            ``(num_envs / world_size,)``.

        Raises:
            ValueError: If the parts would not be equal.
        """
        num_parts = self._num_minibatches * self.world_size
        if num_envs % num_parts != 0:
            raise ValueError(
                f"num_envs must be divisible by num_minibatches * processes = "
                f"{self._num_minibatches} * {self.world_size}, got {num_envs}"
            )
        return self._parts(num_envs)[:, self.rank].ravel()

    def own(self, values: Values, *, axis: int = 0) -> Values:
        """The values of this rank's environments, from those of all environments of the run.

        A run's random numbers do not depend on the number of ranks, as every rank draws them for
        all environments and takes its own.

        Args:
            values: An array or a tensor.
            axis: Axis of the environments.
        """
        if self.world_size == 1:
            return values
        index = [slice(None)] * axis + [self.env_ids(values.shape[axis])]
        return values[tuple(index)]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Add up a tensor of every rank, in place: the same bits everywhere."""
        if self.world_size > 1:
            with self._waiting():
                torch.distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of every rank, in place; a missing one counts as zero.

        They travel as one tensor. ``DistributedDataParallel`` is not used: its hooks belong to one
        backward pass, and here several threads compute the gradients of a minibatch's parts.
        """
        if self.world_size == 1:
            return
        all_parameters = list(parameters)
        for parameter in all_parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in all_parameters if parameter.grad is not None]
        flat = self.sum_(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        begin = 0
        for gradient in gradients:
            end = begin + gradient.numel()
            gradient.copy_(flat[begin:end].view(gradient.shape))
            begin = end

    def sum_values(self, values: dict[str, float]) -> dict[str, float]:
        """Add up numbers of every rank; their names must be the same in each."""
        if self.world_size == 1:
            return values
        sums = self.sum_(torch.tensor([*values.values()], dtype=torch.float64))
        return dict(zip(values, sums.tolist(), strict=True))

    def update_moments(self, moments: RunningMoments, batch: NDArray[Any]) -> None:
        """Merge the batch of every rank into running moments that are the same in each.

        The result is that of one process with all the samples, but for rounding in float64.

        Args:
            moments: Changed on every rank alike.
            batch: This rank's samples, as of `RunningMoments.update`.
        """
        if self.world_size == 1:
            moments.update(batch)
            return
        own = RunningMoments(moments.mean.shape)
        own.update(batch)
        self.merge_moments(moments, (own.count, own.mean, own.m2))

    def merge_moments(self, moments: RunningMoments, own: Moments) -> None:
        """The same with the moments of a batch: its count, mean and sum of squared deviations."""
        parts = [own]
        if self.world_size > 1:
            count, mean, m2 = own
            gathered = self._all_gather(np.concatenate(([count], mean.ravel(), m2.ravel())))
            parts = [(float(part[0]), *np.split(part[1:], 2)) for part in gathered]  # type: ignore[misc]
        shape = moments.mean.shape
        merged = moments.count, moments.mean, moments.m2
        for count, mean, m2 in parts:
            merged = merge_moments(merged, (count, mean.reshape(shape), m2.reshape(shape)))
        count, mean, m2 = merged
        # arrays, also of a single number, of which NumPy makes a scalar
        moments.set_state(count=count, mean=np.asarray(mean), m2=np.asarray(m2))

    def gather(self, value: Value) -> list[Value] | None:
        """On rank 0, a value of every rank, in order; None on the others. It is pickled."""
        if self.world_size == 1:
            return [value]
        values: list[Any] | None = [None] * self.world_size if self.rank == 0 else None
        with self._waiting():
            torch.distributed.gather_object(value, values)
        return values

    def gather_envs(
        self, arrays: dict[str, NDArray[Any]], *, axes: dict[str, int]
    ) -> dict[str, NDArray[Any]]:
        """On rank 0, arrays of all environments, in the run's order; nothing on the others.

        Args:
            arrays: This rank's parts.
            axes: Axis of the environments in each array; 0 where it is left out.
        """
        if self.world_size == 1:
            return arrays
        parts = self.gather(arrays)
        whole: dict[str, NDArray[Any]] = {}
        for name in arrays if parts is not None else ():
            axis = axes.get(name, 0)
            together = np.concatenate([part[name] for part in parts or ()], axis=axis)
            by_rank = self._parts(together.shape[axis]).swapaxes(0, 1)
            whole[name] = together.take(np.argsort(by_rank.ravel()), axis=axis)
        return whole

    def broadcast(self, value: Value) -> Value:
        """Rank 0's value, on every rank. It is pickled."""
        if self.world_size == 1:
            return value
        values = [value]
        with self._waiting():
            torch.distributed.broadcast_object_list(values)
        return values[0]

    def _parts(self, num_envs: int) -> NDArray[np.int64]:
        """``(minibatches, world_size, ...)``: environments of each rank in each minibatch."""
        return np.arange(num_envs).reshape(self._num_minibatches, self.world_size, -1)

    def _all_gather(self, array: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        own = torch.from_numpy(array)
        parts = [torch.empty_like(own) for _ in range(self.world_size)]
        with self._waiting():
            torch.distributed.all_gather(parts, own)
        return [part.numpy() for part in parts]

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """Say in one line what it means that another rank does not answer."""
        try:
            yield
        except RuntimeError as error:
            happened = "ended"
            if "timed out" in str(error).lower():
                happened = f"has not answered for {self._timeout_s:g} s"
            raise RankLost(
                f"another process of this run {happened}: go on with --resume"
            ) from error


Moments = tuple[float, NDArray[np.float64], NDArray[np.float64]]  # count, mean, m2


def merge_moments(one: Moments, other: Moments) -> Moments:
    """Moments of the samples of both (Chan, Golub and LeVeque 1979)."""
    (count, mean, m2), (other_count, other_mean, other_m2) = one, other
    total = count + other_count
    delta = other_mean - mean
    return (
        total,
        mean + delta * (other_count / total),
        m2 + (other_m2 + np.square(delta) * (count * other_count / total)),
    )
