"""The kernel head against plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.heads.io import load_head, save_head
from clipwright.heads.kernel import KernelHead, radial_kernel


def head(n: int = 6, dim: int = 7, classes: int = 5) -> KernelHead:
    made = torch.Generator().manual_seed(0)
    keys = torch.nn.functional.normalize(torch.randn(n, dim, dtype=torch.float64, generator=made), dim=1)
    return KernelHead(keys, torch.randn(n, classes, dtype=torch.float64, generator=made), beta=2.5)


def test_logits_are_sums_of_radial_functions_of_the_distance() -> None:
    made, x = head(), np.random.default_rng(0).normal(size=(4, 7))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    distance = np.linalg.norm(unit[:, None] - made.keys.numpy()[None], axis=2)
    expected = np.exp(-1.25 * distance**2) @ made.values.numpy()
    np.testing.assert_allclose(made(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=1e-12)


def test_the_kernel_is_one_at_no_distance() -> None:
    keys = head().keys
    torch.testing.assert_close(radial_kernel(keys, keys, 3.0).diagonal(), torch.ones(6, dtype=torch.float64))


def test_many_keys_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    whole = head()(x)
    monkeypatch.setattr("clipwright.heads.kernel._BLOCK", 4)
    torch.testing.assert_close(head()(x), whole)
    assert head()(x[:0]).shape == (0, 5)


def test_restriction_keeps_columns() -> None:
    x, index = torch.randn(3, 7, dtype=torch.float64), torch.tensor([4, 0, 4])
    small = head().restrict(index)
    assert isinstance(small, KernelHead)
    torch.testing.assert_close(small(x), head()(x)[:, index])


def test_round_trip(tmp_path: Path) -> None:
    x = torch.randn(3, 7, dtype=torch.float64)
    save_head(head(), tmp_path / "head.safetensors")
    assert torch.equal(load_head(tmp_path / "head.safetensors")(x), head()(x))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(N, D\) keys and \(N, C\) values"):
        KernelHead(torch.zeros(3, 2), torch.zeros(4, 2), beta=1.0)
