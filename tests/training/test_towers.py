"""The training of towers."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clipwright.core.errors import UsageError
from clipwright.core.rng import generator
from clipwright.training.batches import shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.full_batch import Stream
from clipwright.training.loop import DivergedError
from clipwright.training.regularisers import covariance_loss, variance_loss
from clipwright.training.towers import Batch, adamw, train_tower
from clipwright.training.warmup import warmup_schedule

N, STEPS = 26, 10  # 3 batches of 8 in an epoch: three epochs and a third


class StoppedError(Exception):
    """A stand-in for a kill."""


class Prototypes:
    """Means that move after each step: what LatteCLIP keeps beside its towers."""

    def __init__(self) -> None:
        self.p = torch.zeros(4)

    def state(self) -> dict[str, torch.Tensor]:
        return {"p": self.p}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        self.p = state["p"]


class Problem:
    """A tower with dropout and a batch norm, a head, and data; equal each time it is made."""

    def __init__(self) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.tower = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4))
            self.head = nn.Linear(4, 3)
            self.x, self.y = torch.randn(N, 5), torch.arange(N) % 3
        self.extra = Prototypes()
        self.modules: dict[str, nn.Module] = {"tower": self.tower, "head": self.head}
        self.calls: list[Batch] = []

    def load(self, batch: Batch) -> Sequence[Stream]:
        noise = generator(0, "noise", batch.step).normal(size=(len(batch.share), 5)) * 0.1
        return [Stream(self.tower, self.x[batch.share] + torch.from_numpy(noise).float())]

    def loss(self, embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        (e,) = embeddings
        self.seen = e.detach()
        logits = self.head(nn.functional.normalize(e, dim=1))
        ce = nn.functional.cross_entropy(logits, self.y[batch.rows])
        return {"ce": ce, "variance": variance_loss(e), "covariance": covariance_loss(e)}

    def after_step(self, batch: Batch) -> None:
        self.calls.append(batch)
        self.extra.p = 0.9 * self.extra.p + self.seen.mean(0)

    def train(self, **options: Any) -> list[dict[str, float]]:
        settings: dict[str, Any] = {
            "batches": shuffled_batches(N, 8, drop_last=True, seed=0, key=("order",)),
            "rates": warmup_schedule(0.05, STEPS),
            "optimizer": adamw(self.modules),
            "weights": {"variance": 0.16, "covariance": 0.02},
            "micro_batch_size": 5,
            "extra": self.extra,
            "after_step": self.after_step,
            "quiet": True,
        }
        return train_tower(self.modules, self.load, self.loss, **(settings | options))

    def tensors(self) -> dict[str, torch.Tensor]:
        found = {f"{k}.{n}": t for k, m in self.modules.items() for n, t in m.state_dict().items()}
        return found | self.extra.state()


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    problem = Problem()
    log = problem.train()
    return problem.tensors(), log


def test_epochs_steps_and_what_is_logged(whole: tuple[Any, list[dict[str, float]]]) -> None:
    problem = Problem()
    log = problem.train(clip=None)
    assert [(b.epoch, b.step) for b in problem.calls] == [(s // 3, s) for s in range(STEPS)]
    for batch in problem.calls:
        assert torch.equal(batch.share, batch.rows)
        assert len(batch.rows) == 8
    assert len(log) == 4
    for means in log:
        assert list(means) == ["ce", "variance", "covariance", "loss"]
        total = means["ce"] + 0.16 * means["variance"] + 0.02 * means["covariance"]
        assert means["loss"] == pytest.approx(total, rel=1e-6)
    assert log[-1]["loss"] < log[0]["loss"]
    assert "gradient_norm" in whole[1][0]
    assert all(p.grad is None for p in problem.tower.parameters())
    assert problem.tower.training


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 6, 8, 9])
@pytest.mark.parametrize("every", [0.0, math.inf])
def test_stopped_anywhere_and_resumed_ends_with_the_same_bits(
    stop: int, every: float, tmp_path: Path, whole: tuple[dict[str, torch.Tensor], list[dict[str, float]]]
) -> None:
    kept = Checkpoint(tmp_path / "a.safetensors", "digest")
    first = Problem()

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        if batch.step == stop:
            raise StoppedError
        return first.__class__.loss(first, embeddings, batch)

    first.loss = loss  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        first.train(checkpoint=kept, every=every)
    second = Problem()
    log = second.train(checkpoint=kept, every=every)
    done = stop if every == 0 else stop - stop % 3
    assert [b.step for b in second.calls] == list(range(done, STEPS))
    found = second.tensors()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole[0].items())
    assert log == whole[1]
    third = Problem()  # one that is done has nothing left to do
    assert third.train(checkpoint=kept) == log
    assert third.calls == []
    assert all(torch.equal(third.tensors()[name], tensor) for name, tensor in whole[0].items())


def test_micro_batches_change_nothing_without_batch_norm_and_dropout() -> None:
    found = []
    for size in (None, 3):
        problem = Problem()
        problem.tower = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        with torch.no_grad():
            for number, p in enumerate(problem.tower.parameters()):
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)))
        problem.modules["tower"] = problem.tower
        problem.train(micro_batch_size=size)
        found.append(problem.tensors())
    for name, tensor in found[0].items():
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-4, atol=1e-6)


def test_the_global_random_state_is_left_alone_and_does_not_matter(whole: tuple[dict[str, torch.Tensor], Any]) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    problem = Problem()
    problem.train()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(problem.tensors()[name], tensor) for name, tensor in whole[0].items())


def test_frozen_parts_stay_in_evaluation_mode_while_others_train() -> None:
    problem = Problem()
    problem.tower[1].requires_grad_(False)
    before = problem.tower.state_dict()["1.running_mean"].clone()
    modes: list[list[bool]] = []
    problem.tower.eval()
    problem.train(after_step=lambda _: modes.append([m.training for m in problem.tower]), extra=None)
    assert modes[0] == [True, False, True, True, True]
    assert torch.equal(problem.tower.state_dict()["1.running_mean"], before)
    assert not any(m.training for m in problem.tower.modules())


def test_a_head_alone() -> None:
    problem = Problem()
    problem.tower.requires_grad_(False)
    before = {name: t.clone() for name, t in problem.tower.state_dict().items()}
    problem.train(optimizer=adamw(problem.modules))
    assert all(torch.equal(t, before[name]) for name, t in problem.tower.state_dict().items())


def test_batches_of_one_train_with_cross_entropy_alone() -> None:
    problem = Problem()
    problem.tower = problem.modules["tower"] = nn.Sequential(nn.Linear(5, 4))

    def ce(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        return {"ce": nn.functional.cross_entropy(problem.head(embeddings[0]), problem.y[batch.rows])}

    ones = shuffled_batches(N, 1, drop_last=True, seed=0, key=("order",))
    options: dict[str, Any] = {
        "batches": ones,
        "rates": [0.01] * 30,
        "optimizer": adamw(problem.modules),
        "quiet": True,
    }
    log = train_tower(problem.modules, problem.load, ce, **options)
    assert len(log) == 2
    with pytest.raises(UsageError, match="at least 2 embeddings"):
        train_tower(problem.modules, problem.load, problem.loss, **options)


@pytest.mark.parametrize("broken", [4, 5])
def test_a_loss_that_is_not_finite_stops_the_fit_before_it_is_saved(broken: int, tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "a", "digest")
    problem = Problem()
    usual = problem.loss

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        parts = dict(usual(embeddings, batch))
        return parts | {"ce": parts["ce"] * (math.inf if batch.step == broken else 1)}

    problem.loss = loss  # type: ignore[method-assign]
    with pytest.raises(DivergedError, match=rf"epoch 1, step {broken} \(ce inf, .*choose a smaller learning rate"):
        problem.train(checkpoint=kept, every=0.0)
    saved = kept.load()
    assert saved is not None
    assert saved[1]["step"] == broken


def test_the_learning_rate_of_each_step_and_its_parts_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    problem = Problem()
    with caplog.at_level(logging.INFO, logger="clipwright.training.step_log"):
        log = problem.train(optimizer=adamw(problem.modules, lr_factors={"head": 3.0}))
    rows: list[dict[str, Any]] = [r.metrics for r in caplog.records if hasattr(r, "metrics")]
    steps = [row for row in rows if row["event"] == "step"]
    assert [row["lr"] for row in steps] == warmup_schedule(0.05, STEPS)
    assert sum(row["ce"] for row in steps[:3]) / 3 == pytest.approx(log[0]["ce"], rel=1e-12)
    assert "lr 5.000e-02, ce " in caplog.text


def test_progress_shows_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    Problem().train(quiet=False, label="tune")
    err = capsys.readouterr().err
    assert f"tune: {STEPS}/{STEPS} steps" in err
    assert all(f"{name} " in err for name in ("ce", "variance", "covariance", "loss"))


def test_memory_that_runs_out_halves_the_micro_batch(caplog: pytest.LogCaptureFixture) -> None:
    def trained(size: int, limit: int) -> dict[str, torch.Tensor]:
        problem = Problem()

        def short(_m: nn.Module, inputs: tuple[torch.Tensor, ...], _o: torch.Tensor) -> None:
            if len(inputs[0]) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")

        problem.tower[4].register_forward_hook(short)
        problem.tower[1].requires_grad_(False)  # a batch norm would refuse single rows
        problem.train(micro_batch_size=size)
        return problem.tensors()

    plain = trained(2, 8)
    caplog.clear()
    found = trained(8, 3)
    assert "4 rows are embedded at a time" in caplog.text
    assert "2 rows are embedded at a time" in caplog.text
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())
    with pytest.raises(torch.OutOfMemoryError):
        trained(4, 0)


def test_batches_are_loaded_in_order_and_an_error_there_ends_the_training() -> None:
    problem = Problem()
    usual, seen = problem.load, []

    def load(batch: Batch) -> Sequence[Stream]:
        seen.append(batch.step)
        if batch.step == 4:
            raise StoppedError
        assert not torch.is_grad_enabled()
        return usual(batch)

    problem.load = load  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        problem.train()
    assert seen[:5] == [0, 1, 2, 3, 4]
    assert [b.step for b in problem.calls] == [0, 1, 2, 3]


def test_epochs_are_told(tmp_path: Path) -> None:
    kept, told = Checkpoint(tmp_path / "a", "digest"), []

    def after_epoch(epoch: int, means: dict[str, float]) -> None:
        told.append((epoch, means["loss"]))
        if epoch == 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        Problem().train(checkpoint=kept, after_epoch=after_epoch)
    log = Problem().train(checkpoint=kept, after_epoch=lambda epoch, means: told.append((epoch, means["loss"])))
    assert [epoch for epoch, _ in told] == [0, 1, 1, 2, 3]
    assert [told[i][1] for i in (0, 2, 3, 4)] == [means["loss"] for means in log]


def test_weight_decay_reaches_what_it_should() -> None:
    problem = Problem()
    groups = adamw(problem.modules, weight_decay=0.2, lr_factors={"head": 2.0}).param_groups
    assert [(g["weight_decay"], g["lr_factor"], len(g["params"])) for g in groups] == [(0.2, 1.0, 6), (0.2, 2.0, 2)]
    groups = adamw({**problem.modules, "again": problem.tower}, decay_vectors=False).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.1, 2), (0.0, 4), (0.1, 1), (0.0, 1)]
    assert all(p.ndim == 1 for g in groups if not g["weight_decay"] for p in g["params"])


def test_what_cannot_work_is_said() -> None:
    problem = Problem()
    with pytest.raises(UsageError, match="no module 'text' to train: choose among tower, head"):
        adamw(problem.modules, lr_factors={"text": 1.0})
    with pytest.raises(UsageError, match="an epoch has no batch"):
        problem.train(batches=lambda _: [])
    half = problem.tower.half()
    with pytest.raises(UsageError, match="half precision are too coarse"):
        problem.train(optimizer=adamw({"tower": half}))
    problem.tower.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing trains"):
        adamw({"tower": problem.tower})


def test_no_steps_is_no_training() -> None:
    assert Problem().train(rates=[]) == []


def test_two_towers_with_a_contrastive_loss_learn_to_pair() -> None:
    made = torch.Generator().manual_seed(0)
    latent = torch.randn(32, 3, generator=made)
    x, t = latent @ torch.randn(3, 6, generator=made), latent @ torch.randn(3, 5, generator=made)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = {"image": nn.Linear(6, 8), "text": nn.Linear(5, 8)}

    def load(batch: Batch) -> Sequence[Stream]:
        rows = batch.rows
        return [Stream(modules["image"], x[batch.share]), Stream(modules["text"], lambda _: t[rows], whole=True)]

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        a, b = (nn.functional.normalize(e, dim=1) for e in embeddings)
        logits, own = 10 * a @ b.T, torch.arange(len(batch.rows))
        ce: Callable[..., torch.Tensor] = nn.functional.cross_entropy
        return {"images": ce(logits, own) / 2, "texts": ce(logits.T, own) / 2}

    log = train_tower(
        modules,
        load,
        loss,
        batches=shuffled_batches(32, 16, drop_last=True, seed=0, key=("order",)),
        rates=warmup_schedule(0.02, 80),
        optimizer=adamw(modules, decay_vectors=False, betas=(0.9, 0.98), eps=1e-6),
        micro_batch_size=4,
        clip=None,
        quiet=True,
    )
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    assert all(a["loss"] > 0 for a in log)
    assert len(list(itertools.chain(log))) == 40
