"""The second look at leading classes: against a plain loop, restricted, damaged, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError, FormatError
from clipwright.heads.base import Restricted
from clipwright.heads.blend import BlendHead
from clipwright.heads.io import load_head, save_head
from clipwright.heads.linear import LinearHead
from clipwright.heads.rerank import RerankHead, reordered

D = 6


def head(C: int = 8, share: float = 0.7, seed: int = 0, gap: float = 0.4, top: int = 5, **options: Any) -> RerankHead:
    """Random classes and vectors for a share of their pairs."""
    rng = np.random.default_rng(seed)
    first = LinearHead(torch.from_numpy(rng.standard_normal((C, D))), scale=options.pop("scale", 3.0))
    pairs = [(a, b) for a in range(C) for b in range(a + 1, C) if rng.random() < share]
    vectors = torch.from_numpy(rng.standard_normal((len(pairs), D)))
    return RerankHead(first, torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2), vectors, gap=gap, top=top)


def decision(given: RerankHead, x: np.ndarray) -> int:
    """Which class wins, of one row, in the words of the method."""
    u = x / np.linalg.norm(x)
    logits = given.head(torch.from_numpy(x[None]))[0].numpy()
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    order = np.argsort(-logits, kind="stable")
    if chances[order[0]] - chances[order[1]] >= float(given.gap):
        return int(order[0])
    vectors = {tuple(p): v.numpy() for p, v in zip(given.pairs.tolist(), given.vectors, strict=True)}
    leading = order[: given.top].tolist()
    g = dict.fromkeys(leading, 0.0)
    for i in leading:
        for j in leading:
            if (i, j) in vectors:
                g[i] += u @ vectors[i, j] / (len(leading) - 1)
            elif (j, i) in vectors:
                g[i] -= u @ vectors[j, i] / (len(leading) - 1)
    return int(max(leading, key=lambda c: g[c]))  # the first of equals


@given(st.integers(2, 9), st.floats(0, 1), st.floats(0.01, 1), st.integers(2, 6), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_it_decides_as_described(C: int, share: float, gap: float, top: int, seed: int) -> None:
    made = head(C, share, seed, gap, top)
    x = np.random.default_rng(seed + 1).standard_normal((12, D))
    assert made(torch.from_numpy(x)).argmax(1).tolist() == [decision(made, row) for row in x]


def test_only_ambiguous_images_change_and_only_their_leading_classes() -> None:
    made, x = head(gap=0.3), torch.randn(60, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, after = made.head(x), made(x)
    top = before.softmax(1).topk(2).values
    clear = top[:, 0] - top[:, 1] >= 0.3
    assert 5 < int(clear.sum()) < 55
    assert torch.equal(after[clear], before[clear])
    leading = before.topk(5).indices
    rest = torch.ones_like(before, dtype=torch.bool).scatter(1, leading, False)
    assert torch.equal(after[rest], before[rest])
    torch.testing.assert_close(after.amax(1), before.amax(1))
    assert bool((after.gather(1, leading) >= before.gather(1, leading).amin(1, keepdim=True) - 1e-12).all())


def test_equals_keep_the_first_order() -> None:
    leading = torch.tensor([[9.0, 8.0, 7.0, 6.0]])
    assert reordered(leading, torch.tensor([[0.0, 2.0, 2.0, 1.0]])).argmax(1).tolist() == [1]
    assert reordered(leading, torch.tensor([[0.0, 1.0, 2.0, 2.0]])).argmax(1).tolist() == [2]
    assert torch.equal(reordered(leading, torch.full((1, 4), 0.3)), leading)
    same = reordered(torch.tensor([[9.0, 9.0, 7.0]]), torch.tensor([[1.0, 1.0, 2.0]]))
    assert same[0, 0] == same[0, 1]
    assert same.argmax() == 2


def test_a_pair_turned_round_is_the_negative() -> None:
    made, x = head(share=1.0), torch.randn(4, D, dtype=torch.float64)
    for a, b in ((0, 3), (6, 2)):
        g = made.preferences(x, torch.tensor([[a, b]] * 4))
        torch.testing.assert_close(g[:, 0], -g[:, 1])
        torch.testing.assert_close(g, made.preferences(x, torch.tensor([[b, a]] * 4)).flip(1))


def test_order_of_pairs_does_not_matter() -> None:
    made, x = head(), torch.randn(30, D, dtype=torch.float64)
    order = torch.randperm(len(made.pairs))
    other = RerankHead(made.head, made.pairs[order], made.vectors[order], gap=0.4)
    torch.testing.assert_close(other(x), made(x))


@pytest.mark.parametrize("index", [[7, 2, 5, 0], [1, 3], [4], [6, 5, 4, 3, 2, 1, 0]])
def test_a_restricted_head_compares_the_classes_left(index: list[int]) -> None:
    """It is the head that these classes alone would have: not the columns of the whole."""
    made, x = head(share=1.0, gap=1.0), torch.randn(50, D, dtype=torch.float64)
    small = made.restrict(torch.tensor(index))
    assert isinstance(small, RerankHead)
    vectors = {tuple(p): v for p, v in zip(made.pairs.tolist(), made.vectors, strict=True)}
    pairs = [(a, b) for a in range(len(index)) for b in range(a + 1, len(index))]
    rows = [vectors[index[a], index[b]] if index[a] < index[b] else -vectors[index[b], index[a]] for a, b in pairs]
    stacked = torch.stack(rows) if rows else torch.zeros(0, D, dtype=torch.float64)
    alone = RerankHead(
        made.head.restrict(torch.tensor(index)), torch.tensor(pairs).reshape(-1, 2).long(), stacked, gap=1.0
    )
    torch.testing.assert_close(small(x), alone(x))
    if 1 < len(index) < 7:
        assert not torch.allclose(small(x), made(x)[:, index])


def test_a_class_asked_for_twice_is_answered_twice() -> None:
    made, x = head(), torch.randn(5, D, dtype=torch.float64)
    twice = made.restrict(torch.tensor([3, 3]))
    assert isinstance(twice, Restricted)
    assert torch.equal(twice(x), made(x)[:, [3, 3]])


def test_it_stands_in_a_blend() -> None:
    made, x = head(gap=1.0), torch.randn(9, D, dtype=torch.float64)
    blend = BlendHead([made, made.head], [1.0, 0.5])
    torch.testing.assert_close(blend(x), made(x) + 0.5 * made.head(x))
    index = torch.tensor([1, 6, 2])
    small = made.restrict(index)(x) + 0.5 * made.head.restrict(index)(x)
    torch.testing.assert_close(blend.restrict(index)(x), small)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    made, x = head(), torch.randn(9, D, dtype=torch.float64)
    save_head(made, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert isinstance(again, RerankHead)
    assert torch.equal(again(x), made(x))


def test_pairs_that_are_none_are_refused() -> None:
    first, vectors = LinearHead(torch.eye(4)), torch.ones(2, 4)
    for pairs, said in (
        ([[0, 1], [0, 1]], "there twice"),
        ([[1, 0], [0, 2]], "the smaller number first"),
        ([[0, 1], [0, 4]], "in 0..3"),
        ([[0, 1], [2, 2]], "two different classes"),
        ([[0, 1]], r"takes \(P, 2\) pairs"),
    ):
        with pytest.raises(DataError, match=said):
            RerankHead(first, torch.tensor(pairs), vectors, gap=0.1)
    with pytest.raises(DataError, match="at least 2 classes"):
        RerankHead(first, torch.tensor([[0, 1], [0, 2]]), vectors, gap=0.1, top=1)


@pytest.mark.parametrize("name", ["pairs", "rivals", "places"])
def test_damage_is_found_when_loaded(name: str) -> None:
    made = head()
    made.verify()
    getattr(made, name)[0, 0] += 100
    with pytest.raises(FormatError, match="damaged"):
        made.verify()


@pytest.mark.slow
def test_export_re_ranks() -> None:
    made = head(gap=0.5).float().eval()
    program = torch.export.export(
        made, (torch.randn(3, D),), dynamic_shapes=({0: torch.export.Dim("rows", min=1)},), strict=False
    )
    for m in (1, 40):
        x = torch.randn(m, D)
        torch.testing.assert_close(program.module()(x), made(x))
    assert not torch.equal(made(x), made.head(x))
