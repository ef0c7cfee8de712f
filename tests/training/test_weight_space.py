"""Between two states of one network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from clipwright.core.errors import DataError, UsageError
from clipwright.training.freezing import freeze_statistics
from clipwright.training.weight_space import diagonal_fisher, fisher_merge, interpolate, reestimate_batch_norm


def tensors(g: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(g[f"{prefix}_{name}"]) for name in ("w", "b", "s") if f"{prefix}_{name}" in g}


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4)).double()


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_published_merges(golden: Path) -> None:
    with np.load(golden / "regft.npz") as file:
        g = dict(file)
    base, tuned, alpha = tensors(g, "theta0"), tensors(g, "theta1"), float(g["alpha"])
    plain = interpolate(base, tuned, alpha)
    weighed = fisher_merge(
        base, tuned, tensors(g, "fisher0"), tensors(g, "fisher1"), alpha, floor=float(g["fisher_floor"])
    )
    for name in ("w", "b", "s"):
        np.testing.assert_allclose(plain[name].numpy(), g[f"merged_{name}"], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(weighed[name].numpy(), g[f"fishermerged_{name}"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_ends_are_the_two_models_to_the_bit(dtype: torch.dtype) -> None:
    base, tuned = ({"a": draw(5, 4, seed=s).to(dtype), "n": torch.tensor(s)} for s in (1, 2))
    ones = {"a": torch.ones(5, 4)}
    for alpha, wanted in ((0.0, base), (1.0, tuned)):
        for merged in (interpolate(base, tuned, alpha), fisher_merge(base, tuned, ones, ones, alpha)):
            assert all(torch.equal(merged[name], wanted[name]) for name in wanted)
            assert merged["a"].data_ptr() != wanted["a"].data_ptr()
    middle = interpolate(base, tuned, 0.5)
    assert middle["a"].dtype == dtype
    assert middle["n"].item() == 2
    torch.testing.assert_close(fisher_merge(base, tuned, ones, ones, 0.5)["a"], middle["a"])


def test_what_does_not_fit_is_said() -> None:
    one, other = {"a": torch.zeros(2)}, {"a": torch.zeros(3)}
    with pytest.raises(DataError, match=r"a has shapes \(2,\) and \(3,\)"):
        interpolate(one, other, 0.5)
    with pytest.raises(DataError, match="only one of the two models has b"):
        interpolate(one, {**one, "b": torch.zeros(1)}, 0.5)
    with pytest.raises(UsageError, match=r"alpha must lie in \[0, 1\]"):
        interpolate(one, one, 1.5)
    with pytest.raises(DataError, match="only one of the two Fisher informations has a"):
        fisher_merge(one, one, one, {}, 0.5)
    with pytest.raises(DataError, match="another shape"):
        fisher_merge(one, one, other, other, 0.5)
    with pytest.raises(UsageError, match="floor must be positive"):
        fisher_merge(one, one, {}, {}, 0.5, floor=0.0)


def test_fisher_information_is_the_mean_square_of_the_score() -> None:
    """Of one linear layer it is known: E over labels of (p - onehot)^2 x^2."""
    head, x = nn.Linear(3, 4).double(), draw(2, 3)
    mine, found = diagonal_fisher(nn.Identity(), head, [x.repeat(2000, 1)], seed=0)
    assert mine == {}
    p = head(x).softmax(1).detach()
    scores = p[:, None, :] - torch.eye(4, dtype=torch.float64)  # (image, drawn label, class)
    expected = torch.einsum("il,ilc,id->cd", p, scores.square(), x.square()) / 2
    torch.testing.assert_close(found["weight"], expected, rtol=0.1, atol=0.01)
    torch.testing.assert_close(found["bias"], torch.einsum("il,ilc->c", p, scores.square()) / 2, rtol=0.1, atol=0.01)


def test_fisher_information_does_not_depend_on_batches_or_the_state_it_found() -> None:
    tower, head, x = net(), nn.Linear(4, 3).double(), draw(6, 3)
    tower[0].requires_grad_(False)
    tower.train()
    one = diagonal_fisher(tower, head, [x], seed=1)
    many = diagonal_fisher(tower, head, x.split(4), seed=1)  # type: ignore[no-untyped-call]
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert one[0]["0.weight"].sum() > 0
    assert not tower[0].weight.requires_grad
    assert tower[1].training
    assert tower[1].num_batches_tracked == 0
    assert all(p.grad is None for p in tower.parameters())
    with pytest.raises(UsageError, match="at least one image"):
        diagonal_fisher(tower, head, [], seed=1)


def test_statistics_are_means_over_the_batches() -> None:
    tower = net()
    batches = [draw(8, 3, seed=s) + s for s in range(3)]
    assert reestimate_batch_norm(tower.eval(), iter(batches)) == 1
    hidden = [tower[0](batch) for batch in batches]
    norm = tower[1]
    torch.testing.assert_close(norm.running_mean, torch.stack([h.mean(0) for h in hidden]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([h.var(0) for h in hidden]).mean(0))
    assert norm.momentum == 0.1
    assert not norm.training
    assert norm.num_batches_tracked == 3


def test_no_batch_norms_or_no_batches() -> None:
    def never() -> list[torch.Tensor]:
        raise AssertionError

    assert reestimate_batch_norm(nn.Linear(3, 2), (x for x in [torch.zeros(1)] if never())) == 0
    tower = net()
    before = tower.state_dict()["1.running_var"].clone()
    with pytest.raises(UsageError, match="at least one batch"):
        reestimate_batch_norm(tower, [])
    release = freeze_statistics(tower)
    with pytest.raises(UsageError, match="statistics go first"):
        reestimate_batch_norm(tower, [draw(4, 3)])
    release()
    with pytest.raises(RuntimeError):
        reestimate_batch_norm(tower, [draw(4, 3), draw(4, 7)])
    assert tower[1].momentum == 0.1
    assert torch.equal(tower.state_dict()["1.running_var"], before)
