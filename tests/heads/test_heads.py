"""Heads against plain float64 arithmetic; restriction; export with a free batch size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.heads.adapter import AdapterHead
from clipwright.heads.base import Head, Restricted, build, catalogue, describe
from clipwright.heads.blend import BlendHead
from clipwright.heads.cache import CacheHead
from clipwright.heads.coder import CoderHead
from clipwright.heads.distribution_cache import DistributionCacheHead
from clipwright.heads.fusion import FusionHead
from clipwright.heads.kernel import KernelHead
from clipwright.heads.linear import LinearHead
from clipwright.heads.metric_cache import MetricCacheHead
from clipwright.heads.neighbours import NeighbourHead
from clipwright.heads.projected import ProjectedHead
from clipwright.heads.refine import ChainHead, RefineHead, ScaleHead
from clipwright.heads.rerank import RerankHead
from clipwright.heads.shift import ShiftHead


def linear(C: int = 5, D: int = 7, dtype: torch.dtype = torch.float64, seed: int = 0, **options: object) -> LinearHead:
    made = torch.Generator().manual_seed(seed)
    weight = torch.randn(C, D, dtype=dtype, generator=made)
    return LinearHead(weight, torch.randn(C, dtype=dtype, generator=made), scale=3.5, **options)  # type: ignore[arg-type]


def every_head() -> list[Head]:
    """One head of each kind in the catalogue, and nested ones."""
    blend = BlendHead([linear(), linear(seed=1, normalize=False)], [0.25, -2.0])
    index = torch.tensor([3, 0])
    memory = torch.randn(6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    votes = torch.tensor([0, 1, 2, 3, 4, 0])
    cache = CacheHead(memory[:5], memory, votes, alpha=2.0, beta=3.0)
    some = CacheHead(memory[:5], memory[:, :3], votes, alpha=2.0, beta=3.0, channels=torch.tensor([5, 0, 2]))
    return [
        KernelHead(memory, memory[:, :5], beta=2.5),
        cache,
        some,
        FusionHead(memory[:5], memory, votes, alpha=0.0, beta=3.0),  # without a memory, columns stay
        DistributionCacheHead(cache, memory[:3], memory[:5, :3], memory[:5, 3].abs(), gamma=0.5, slope=2.0, offset=0.1),
        linear(),
        linear(normalize=False),
        blend,
        linear().restrict(index),
        blend.restrict(index),
        linear(C=1),
        ShiftHead(memory[:5], memory[5]),
        ProjectedHead(memory.T, memory.T[:5], memory.T[5]),
        AdapterHead(memory[:5], memory[:3].T, memory[3:], ratio=0.3),
        CoderHead(memory[:5], memory[:5, None], torch.full((5,), 0.5)),
        MetricCacheHead(memory[:5], memory[:3], memory[:, :3], votes, alpha=2.0, beta=3.0),
        RerankHead(linear(), votes[:4].reshape(2, 2), memory[:2], gap=0.0),  # where none is ambiguous, columns stay
        AdapterHead(memory[:5], memory[:3].T, memory[3:], ratio=0.3, second_relu=True),
        NeighbourHead(memory, memory[:, :5].abs(), memory[:5], memory[:5, :5].abs(), scale=3.0, k=3, links=2),
        NeighbourHead(
            memory[:, :4],
            memory[:, :5].abs(),
            memory[:5],
            memory[:5, :5].abs(),
            memory.T[:, :4],
            scale=3.0,
            k=9,
            links=9,
        ),
        RefineHead(memory[:, :5], memory[:, 0], memory[:, :5].T, memory[0, :5]),
        ScaleHead(memory[:2, :5], memory[0, :5]),
        ChainHead(linear(), RefineHead(memory[:, :5], memory[:, 0], memory[:, :5].T, memory[0, :5])),
    ]


def given_to(head: Head, m: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """m rows of what a head takes: image features, or the scores of two models."""
    shape = (2, head.n_classes) if head.inputs == ("scores",) else (7,)
    return torch.randn(m, *shape, dtype=dtype)


def test_every_kind_of_head_is_tested_here() -> None:
    assert {type(head).__name__ for head in every_head()} == set(catalogue())


@given(st.integers(0, 4), st.integers(1, 5), st.integers(1, 6), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_linear_is_the_formula(m: int, C: int, D: int, normalize: bool, seed: int) -> None:
    head = linear(C, D, seed=seed, normalize=normalize)
    x = torch.randn(m, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 1))
    rows = x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) if normalize else x.numpy()
    expected = 3.5 * rows @ head.weight.numpy().T + head.bias.numpy()
    np.testing.assert_allclose(head(x).numpy(), expected, rtol=1e-12, atol=1e-12)


def test_a_blend_is_the_weighted_sum() -> None:
    parts = [linear(), linear(seed=1)]
    x = torch.randn(4, 7, dtype=torch.float64)
    torch.testing.assert_close(BlendHead(parts, [0.25, -2.0])(x), 0.25 * parts[0](x) - 2 * parts[1](x))


@pytest.mark.parametrize("head", every_head(), ids=lambda h: type(h).__name__)
def test_restriction_selects_columns_in_the_order_given(head: Head) -> None:
    x = given_to(head, 4)
    index = torch.tensor(list(range(head.n_classes))[::-1])[: max(1, head.n_classes - 1)]
    small = head.restrict(index)
    assert small.n_classes == len(index)
    torch.testing.assert_close(small(x), head(x)[:, index])
    again = small.restrict(torch.tensor([0]))
    torch.testing.assert_close(again(x), head(x)[:, index[:1]])


def test_restricting_a_restriction_does_not_nest() -> None:
    again = linear().restrict(torch.tensor([3, 0, 2])).restrict(torch.tensor([2, 0]))
    assert isinstance(again, Restricted)
    assert isinstance(again.head, LinearHead)
    assert again.class_index.tolist() == [2, 3]


@pytest.mark.parametrize("index", [[], [5], [-1], [0.5], [True]])
def test_classes_that_are_not_there_are_refused(index: list[float]) -> None:
    with pytest.raises(DataError, match="class"):
        linear().restrict(torch.tensor(index))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_logits_have_the_dtype_of_the_weights(dtype: torch.dtype, weights: torch.dtype) -> None:
    head = linear(dtype=weights)
    assert head(torch.ones(2, 7, dtype=dtype)).dtype == weights


def test_half_precision_weights_are_widened() -> None:
    assert LinearHead(torch.ones(2, 3, dtype=torch.float16), torch.ones(2).half()).weight.dtype == torch.float32


def test_a_zero_row_gives_the_bias_and_no_nan() -> None:
    head = linear()
    torch.testing.assert_close(head(torch.zeros(1, 7, dtype=torch.float64))[0], head.bias)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="linear head"):
        LinearHead(torch.ones(3))
    with pytest.raises(DataError, match="linear head"):
        LinearHead(torch.ones(2, 3), torch.ones(3))
    with pytest.raises(DataError, match="one weight per head"):
        BlendHead([linear()], [1.0, 2.0])
    with pytest.raises(DataError, match="share their classes"):
        BlendHead([linear(3), linear(4)], [1.0, 2.0])


@pytest.mark.parametrize("head", every_head(), ids=lambda h: type(h).__name__)
def test_description_rebuilds_the_shape(head: Head) -> None:
    again = build(describe(head))
    assert describe(again) == describe(head)
    assert again.inputs == head.inputs


@pytest.mark.slow
@pytest.mark.parametrize("head", every_head(), ids=lambda h: type(h).__name__)
def test_exports_with_a_free_batch_size(head: Head) -> None:
    head = head.float().eval()
    free: Any = ({0: torch.export.Dim("rows", min=1)},)
    shapes = (free,) if isinstance(head, BlendHead | ChainHead | Restricted) else free  # the first two take *tensors
    program = torch.export.export(head, (given_to(head, 3, torch.float32),), dynamic_shapes=shapes, strict=False)
    for m in (1, 8):
        x = given_to(head, m, torch.float32)
        torch.testing.assert_close(program.module()(x), head(x))
