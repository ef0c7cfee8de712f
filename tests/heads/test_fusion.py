"""The fusion head against plain float64 arithmetic."""

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
from clipwright.heads.fusion import FusionHead, fuse, key_votes, standardised
from clipwright.heads.io import load_head, save_head

ALPHA, BETA, SCALE = 1.5, 2.5, 7.0


def parts(C: int = 4, N: int = 9, D: int = 6, second: int | None = 3, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.standard_normal((C, D)),
        "keys": rng.standard_normal((N, D)),
        "key_class": rng.integers(0, C, N),
        "second_keys": None if second is None else rng.standard_normal((N, second)),
        "key_weight": rng.random(N) + 0.1,
    }


def head(given: dict[str, Any], **changes: float) -> FusionHead:
    tensors = {name: None if v is None else torch.as_tensor(v) for name, v in given.items()}
    return FusionHead(**tensors, **({"alpha": ALPHA, "beta": BETA, "scale": SCALE} | changes))  # type: ignore[arg-type]


def z(p: np.ndarray) -> np.ndarray:
    return np.asarray((p - p.mean()) / p.std(ddof=1))


def expected(given: dict[str, Any], *towers: np.ndarray) -> np.ndarray:
    """One row, one class and one key at a time."""
    logits = []
    for views in zip(*towers, strict=True):
        u = [v / np.linalg.norm(v) for v in views]
        p0 = SCALE * np.array([u[0] @ text for text in given["weight"]])
        shapes = []
        for v, keys in zip(u, (given["keys"], given["second_keys"]), strict=False):
            p = np.zeros(len(p0))
            for key, own, vote in zip(keys, given["key_class"], given["key_weight"], strict=True):
                p[own] += vote * np.exp(-BETA * (1 - v @ key))
            shapes.append(z(p))
        agreement = np.exp([s @ z(p0) for s in shapes])
        logits.append(p0 + ALPHA * sum(w * s for w, s in zip(agreement / agreement.sum(), shapes, strict=True)))
    return np.array(logits)


@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 12), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula(m: int, C: int, N: int, two: bool, seed: int) -> None:
    given = parts(C, N, 6, 3 if two else None, seed)
    rng = np.random.default_rng(seed + 1)
    rows = [rng.standard_normal((m, 6)), rng.standard_normal((m, 3))][: 1 + two]
    found = head(given)(*map(torch.from_numpy, rows)).numpy()
    np.testing.assert_allclose(found, expected(given, *rows), rtol=1e-9, atol=1e-9)


def test_keys_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    given, rows = parts(), (torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64))
    whole = head(given)(*rows)
    monkeypatch.setattr("clipwright.heads.fusion._BLOCK", 2)
    torch.testing.assert_close(head(given)(*rows), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_that_are_all_the_same_have_no_shape(dtype: torch.dtype) -> None:
    level = torch.full((3, 7), 0.1, dtype=dtype) * torch.tensor([[1.0], [3.0], [0.0]], dtype=dtype)
    assert torch.equal(standardised(level), torch.zeros(3, 7, dtype=dtype))
    assert torch.equal(standardised(level * (1 + torch.finfo(dtype).eps)), torch.zeros(3, 7, dtype=dtype))
    assert torch.equal(standardised(torch.ones(2, 1, dtype=dtype)), torch.zeros(2, 1, dtype=dtype))
    text = torch.randn(3, 7, dtype=dtype)
    assert torch.equal(fuse(text, [level, level]), torch.zeros(3, 7, dtype=dtype))


def test_a_gradient_passes_where_some_rows_have_no_shape() -> None:
    p = torch.tensor([[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]], requires_grad=True)
    (standardised(p) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()  # type: ignore[no-untyped-call] # torch's
    assert p.grad is not None
    assert bool(torch.isfinite(p.grad).all())
    assert torch.equal(p.grad[0], torch.zeros(3))
    assert bool(p.grad[1].any())


def test_constant_votes_leave_the_text_logits() -> None:
    given = parts(second=None)
    given["keys"][:] = given["keys"][0]
    given["key_class"] = np.arange(8) % 4
    given["keys"], given["key_weight"] = given["keys"][:8], np.ones(8)
    x = torch.randn(5, 6)
    found = head({n: None if v is None else v.astype(np.float32) if v.dtype == float else v for n, v in given.items()})
    text = SCALE * torch.nn.functional.normalize(x) @ torch.from_numpy(given["weight"]).float().T
    torch.testing.assert_close(found(x), text)


def test_votes_do_not_vanish_at_a_large_beta() -> None:
    keys = torch.nn.functional.normalize(torch.randn(6, 8))
    x = torch.nn.functional.normalize(torch.randn(4, 8))
    votes = key_votes(x, keys, torch.arange(6) % 3, torch.ones(6), 3, beta=2000.0)
    assert bool((votes.amax(1) > 0.9).all())
    assert torch.equal(votes.argmax(1), (x @ keys.T).argmax(1) % 3)


def test_half_precision_features_are_taken() -> None:
    found = head(parts())(torch.randn(2, 6).half(), torch.randn(2, 3).half())
    assert found.dtype == torch.float64
    assert bool(torch.isfinite(found).all())


def test_a_restricted_head_is_that_of_the_classes_left() -> None:
    given, x, y = (
        parts(),
        np.random.default_rng(1).standard_normal((3, 6)),
        np.random.default_rng(2).normal(size=(3, 3)),
    )
    rows = torch.from_numpy(x), torch.from_numpy(y)
    small = head(given).restrict(torch.tensor([2, 0]))
    kept = np.isin(given["key_class"], [0, 2])
    place = np.array([1, -1, 0, -1])
    part = {n: None if v is None else v[kept] for n, v in given.items() if n != "weight"}
    part |= {"weight": given["weight"][[2, 0]], "key_class": place[given["key_class"][kept]]}
    np.testing.assert_allclose(small(*rows).numpy(), expected(part, x, y), rtol=1e-9)
    assert not np.allclose(small(*rows).numpy(), head(given)(*rows).numpy()[:, [2, 0]])
    assert isinstance(small, FusionHead)
    assert len(small.keys) == kept.sum()


def test_a_class_asked_for_twice_competes_once() -> None:
    rows = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    twice = head(parts()).restrict(torch.tensor([3, 1, 3]))
    assert isinstance(twice, Restricted)
    assert twice.inputs == ("image", "second")
    once = head(parts()).restrict(torch.tensor([3, 1]))(*rows)
    torch.testing.assert_close(twice(*rows), once[:, [0, 1, 0]])


@pytest.mark.parametrize("second", [None, 3])
def test_it_is_saved_and_loaded(tmp_path: Path, second: int | None) -> None:
    rows = (torch.randn(3, 6), torch.randn(3, 3))[: 1 if second is None else 2]
    made = head(parts(second=second))
    save_head(made, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert again.inputs == made.inputs
    assert torch.equal(again(*rows), made(*rows))


def test_what_does_not_fit_is_refused() -> None:
    good = parts()
    for change in ({"keys": np.ones((9, 5))}, {"second_keys": np.ones((8, 3))}, {"key_weight": np.ones(3)}):
        with pytest.raises(DataError, match="a fusion head takes"):
            head(good | change)
    with pytest.raises(DataError, match="give the second one's features"):
        head(good)(torch.randn(2, 6))
    damaged = head(good)
    damaged.key_class[0] = 4
    with pytest.raises(FormatError, match=r"key_class must lie in 0\.\.3"):
        damaged.verify()


@pytest.mark.slow
def test_two_towers_export_with_a_free_batch_size() -> None:
    made = head(parts()).float().eval()
    rows: Any = {0: torch.export.Dim("rows", min=1)}
    program = torch.export.export(
        made, (torch.randn(3, 6), torch.randn(3, 3)), dynamic_shapes=(rows, rows), strict=False
    )
    for m in (1, 8):
        given = torch.randn(m, 6), torch.randn(m, 3)
        torch.testing.assert_close(program.module()(*given), made(*given))
