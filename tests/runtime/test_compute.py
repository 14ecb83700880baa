"""The number format by hardware, and micro-batches in order."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

import rndfast.runtime.compute
from rndfast.config import RunConfig
from rndfast.runtime.compute import Compute, CpuCompute, resolve_precision
from rndfast.runtime.processes import Ranks


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"architecture": "aarch64", "bf16": True}, "bfloat16"),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({}, "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool | str], precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision(RunConfig(precision="auto")) == precision
    with CpuCompute(RunConfig(precision="auto")) as compute:
        assert str(compute.dtype) == f"torch.{precision}"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_asked_for_is_taken(precision: str) -> None:
    config = RunConfig(precision=precision)  # type: ignore[arg-type]
    assert resolve_precision(config) == precision


@pytest.mark.parametrize(("device", "num_threads"), [("cpu", 6), ("cuda", 5)])
def test_a_core_is_left_to_the_thread_that_waits_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch, device: str, num_threads: int
) -> None:
    monkeypatch.setattr(rndfast.runtime.compute, "usable_cores", lambda: 6)
    config = RunConfig(device="cpu", precision="float32")
    compute = Compute(config, torch.device(device), ranks=Ranks("cpu"))
    assert compute.num_threads == num_threads
    config = RunConfig(device="cpu", precision="float32", num_threads=6)
    assert Compute(config, torch.device(device), ranks=Ranks("cpu")).num_threads == 6


@pytest.mark.parametrize("num_threads", [1, 3])
def test_every_thread_works_with_one_thread_inside_an_operation(num_threads: int) -> None:
    before = torch.get_num_threads()
    barrier = threading.Barrier(num_threads, timeout=10)  # so that each thread gets one piece

    def intra_op_threads(piece: int) -> tuple[int, int]:
        barrier.wait()
        return piece, torch.get_num_threads()

    with CpuCompute(RunConfig(num_threads=num_threads)) as compute:
        results = list(compute.map(intra_op_threads, range(num_threads)))
    assert results == [(piece, 1) for piece in range(num_threads)]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("num_rows", "max_size", "sizes"),
    [(10, None, [4, 3, 3]), (8, None, [4, 4]), (3, None, [3]), (0, None, [0]), (10, 6, [5, 5])],
)
def test_micro_batches_are_of_about_the_same_size_and_in_order(
    num_rows: int, max_size: int | None, sizes: list[int]
) -> None:
    with CpuCompute(RunConfig(micro_batch_size=4, num_threads=1)) as compute:
        micro_batches = compute.micro_batches(np.arange(num_rows), max_size)
    assert [len(piece) for piece in micro_batches] == sizes
    np.testing.assert_array_equal(np.concatenate(micro_batches), np.arange(num_rows))


def test_an_exception_of_a_piece_reaches_the_caller() -> None:
    def fail(piece: int) -> None:
        if piece == 2:
            raise ArithmeticError(f"piece {piece}")

    with CpuCompute(RunConfig(num_threads=2)) as compute, pytest.raises(ArithmeticError, match="2"):
        list(compute.map(fail, range(4)))
