"""A loss of the whole batch, however small the parts in which it is embedded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from clipwright.backbones.device import choose_device
from clipwright.core.errors import UsageError
from clipwright.training.full_batch import Stream, autocast_type, full_batch_backward
from clipwright.training.regularisers import covariance_loss, variance_loss

Loss = Callable[[list[torch.Tensor]], dict[str, torch.Tensor]]


def mlp(seed: int, wide: int = 5, *, dropout: float = 0.0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(wide, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 4)).double()


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def regft(head: nn.Module, y: torch.Tensor) -> Loss:
    def loss(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        (e,) = embeddings
        ce = nn.functional.cross_entropy(head(nn.functional.normalize(e, dim=1)), y)
        return {"ce": ce, "variance": variance_loss(e), "covariance": covariance_loss(e)}

    return loss


def contrastive(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    logits = embeddings[0] @ embeddings[1].T
    target = torch.arange(len(logits))
    return {
        "images": nn.functional.cross_entropy(logits, target),
        "texts": nn.functional.cross_entropy(logits.T, target),
    }


def gradients(*modules: nn.Module) -> list[torch.Tensor]:
    found = []
    for module in modules:
        for p in module.parameters():
            assert p.grad is not None
            found.append(p.grad.clone())
            p.grad = None
    return found


@pytest.mark.parametrize("size", [None, 11, 4, 1])
def test_covariance_and_head_get_the_gradient_of_the_whole_batch(size: int | None) -> None:
    tower, head, x, y = mlp(0), mlp(1, 4), draw(11, 5), torch.arange(11) % 4
    weights = {"variance": 0.16, "covariance": 0.02}
    loss = regft(head, y)
    wanted = loss([tower(x)])
    total = wanted["ce"] + 0.16 * wanted["variance"] + 0.02 * wanted["covariance"]
    total.backward()  # type: ignore[no-untyped-call]
    plain = gradients(tower, head)
    parts = full_batch_backward([Stream(tower, x)], loss, weights=weights, micro_batch_size=size)
    assert list(parts) == ["ce", "variance", "covariance", "loss"]
    assert parts["loss"].item() == pytest.approx(total.item(), rel=1e-12)
    for found, expected in zip(gradients(tower, head), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("size", [None, 3])
def test_two_towers_and_a_contrastive_loss(size: int | None) -> None:
    image, text, x, t = mlp(0), mlp(1, 3), draw(7, 5), draw(7, 3, seed=1)
    sum(contrastive([image(x), text(t)]).values()).backward()  # type: ignore[union-attr]
    plain = gradients(image, text)
    full_batch_backward([Stream(image, x), Stream(text, t)], contrastive, micro_batch_size=size)
    for found, expected in zip(gradients(image, text), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


def test_a_stream_may_depend_on_the_embeddings_before_it() -> None:
    image, text, x, table = mlp(0), mlp(1, 3), draw(7, 5), draw(4, 3, seed=1)
    seen: list[torch.Tensor] = []

    def texts(embeddings: list[torch.Tensor]) -> torch.Tensor:
        seen.append(embeddings[0])
        return table[embeddings[0].argmax(1)]

    full_batch_backward([Stream(image, x), Stream(text, texts)], contrastive, micro_batch_size=3)
    found = gradients(image, text)
    assert len(seen) == 1
    assert not seen[0].requires_grad
    e = image(x)
    sum(contrastive([e, text(table[e.argmax(1)])]).values()).backward()  # type: ignore[union-attr]
    for got, expected in zip(found, gradients(image, text), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


def test_a_gradient_that_ignores_the_rest_of_the_batch_would_be_caught() -> None:
    tower, head, x, y = mlp(0), mlp(1, 4), draw(8, 5), torch.arange(8) % 4
    full_batch_backward([Stream(tower, x)], regft(head, y))
    whole = gradients(tower)
    for rows in (slice(0, 4), slice(4, 8)):
        parts = regft(head, y[rows])([tower(x[rows])])
        (torch.stack(list(parts.values())).sum() / 2).backward()  # type: ignore[no-untyped-call]
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(gradients(tower), whole, strict=True))


def test_dropout_is_the_same_in_both_passes_and_the_global_random_state_is_left_alone() -> None:
    tower, x = mlp(0, dropout=0.5), draw(6, 5)
    made: list[torch.Tensor] = []
    tower.register_forward_hook(lambda _m, _i, output: made.append(output.detach()))
    torch.manual_seed(5)
    before = torch.get_rng_state()

    def loss(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"a": embeddings[0].square().mean()}

    full_batch_backward([Stream(tower, x)], loss, micro_batch_size=2, seed=1, step=3)
    assert torch.equal(torch.get_rng_state(), before)
    first = gradients(tower)
    assert torch.equal(torch.cat(made[:3]), torch.cat(made[3:]))
    torch.manual_seed(6)
    full_batch_backward([Stream(tower, x)], loss, micro_batch_size=2, seed=1, step=3)
    assert all(torch.equal(a, b) for a, b in zip(gradients(tower), first, strict=True))
    full_batch_backward([Stream(tower, x)], loss, micro_batch_size=2, seed=1, step=4)
    assert not torch.equal(gradients(tower)[0], first[0])
    assert not torch.equal(made[0], made[-1])


def test_running_statistics_see_each_micro_batch_once() -> None:
    tower, x = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).double(), draw(8, 5)
    twin = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).double()
    twin.load_state_dict(tower.state_dict())
    full_batch_backward([Stream(tower, x)], lambda e: {"a": e[0].sum()}, micro_batch_size=4)
    for rows in (x[:4], x[4:]):
        twin(rows)
    assert torch.equal(tower[1].running_mean, twin[1].running_mean)  # type: ignore[arg-type]
    assert tower[1].num_batches_tracked == 2


def test_a_frozen_tower_is_embedded_once_and_gets_no_gradient() -> None:
    tower, head, x, y = mlp(0).requires_grad_(False), mlp(1, 4), draw(6, 5), torch.arange(6) % 4
    calls: list[int] = []
    tower.register_forward_hook(lambda _m, inputs, _o: calls.append(len(inputs[0])))
    full_batch_backward([Stream(tower, x)], regft(head, y), micro_batch_size=4)
    assert calls == [4, 2]
    assert all(p.grad is None for p in tower.parameters())
    assert len(gradients(head)) == 4


def test_parts_of_weight_0_are_reported_and_not_trained_on() -> None:
    tower, x = mlp(0), draw(6, 5)

    def loss(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"a": embeddings[0].mean(), "b": embeddings[0].sum() * float("nan")}

    parts = full_batch_backward([Stream(tower, x)], loss, weights={"b": 0})
    assert parts["loss"] == parts["a"]
    assert parts["b"].isnan()
    assert all(g.isfinite().all() for g in gradients(tower))


def test_half_precision_embeddings_reach_the_loss_in_float32() -> None:
    tower, x = mlp(0).bfloat16(), draw(6, 5).bfloat16()
    kinds: list[torch.dtype] = []

    def loss(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        kinds.append(embeddings[0].dtype)
        return {"a": embeddings[0].mean()}

    full_batch_backward([Stream(tower, x)], loss)
    assert kinds == [torch.float32]


def test_what_cannot_work_is_said() -> None:
    tower, x = mlp(0), draw(6, 5)

    def mean(embeddings: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"a": embeddings[0].mean()}

    with pytest.raises(UsageError, match="no part 'b': weigh a"):
        full_batch_backward([Stream(tower, x)], mean, weights={"b": 1.0})
    with pytest.raises(UsageError, match="micro_batch_size must be at least 1"):
        full_batch_backward([Stream(tower, x)], mean, micro_batch_size=0)
    with pytest.raises(UsageError, match=r"map 6 rows to \(6, D\) embeddings; it gave \(5, 4\)"):
        full_batch_backward([Stream(nn.Sequential(tower, Drop()), x)], mean)
    with pytest.raises(UsageError, match="depends on anything that trains"):
        full_batch_backward([Stream(mlp(0).requires_grad_(False), x)], mean)
    with pytest.raises(UsageError, match="choose auto, fp32 or bf16"):
        autocast_type("fp16", torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs a GPU"):
        autocast_type("bf16", torch.device("cpu"))
    assert autocast_type("auto", torch.device("cpu")) is None


class Drop(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[1:]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_bfloat16_on_a_gpu_keeps_float32_weights_and_seeds_dropout_there() -> None:
    tower, x = mlp(0, dropout=0.5).float().to(choose_device(None)), draw(64, 5).float()
    before = torch.cuda.get_rng_state()
    results = []
    for _ in range(2):
        full_batch_backward([Stream(tower, x)], lambda e: {"a": e[0].square().mean()}, micro_batch_size=16)
        results.append(gradients(tower))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert all(torch.equal(a, b) and a.dtype == torch.float32 for a, b in zip(*results, strict=True))
