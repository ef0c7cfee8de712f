from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipwright.backbones.device import Batcher, choose_device, choose_dtype, dtype_name, is_out_of_memory
from clipwright.core.errors import BackboneError, UsageError


def test_the_best_device_there_is() -> None:
    found = choose_device()
    wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert found.type == choose_device("auto").type == wanted
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "xpu", "warp drive", "meta"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(UsageError, match="device"):
        choose_device(name)


def test_dtypes() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype(None, cpu) == torch.float32
    assert choose_dtype("bf16", cpu) == choose_dtype("bfloat16", cpu) == torch.bfloat16
    assert dtype_name(torch.float16) == "fp16"
    with pytest.raises(UsageError, match="choose fp32, bf16 or fp16"):
        choose_dtype("int8", cpu)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_bf16_is_the_default_on_a_gpu() -> None:
    assert choose_dtype(None, torch.device("cuda")) == torch.bfloat16


@given(rows=st.integers(0, 300), batch=st.integers(1, 128), fits=st.integers(1, 128))
def test_batches_are_halved_until_they_fit_and_every_row_is_done_once(rows: int, batch: int, fits: int) -> None:
    done: list[int] = []
    failures = 0

    def compute(start: int, stop: int) -> None:
        nonlocal failures
        if stop - start > fits:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done.extend(range(start, stop))

    batcher = Batcher()
    batcher.run(compute, rows, batch)
    assert done == list(range(rows))
    assert failures <= 8  # it never tries again what failed
    before = failures
    batcher.run(compute, rows, batch)
    assert failures == before


def test_not_one_row_fits() -> None:
    def compute(start: int, stop: int) -> None:
        raise torch.OutOfMemoryError

    with pytest.raises(BackboneError, match="not enough memory for a single row"):
        Batcher().run(compute, 5, 4)


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_other_errors_pass_through() -> None:
    def compute(start: int, stop: int) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        Batcher().run(compute, 5, 4)
