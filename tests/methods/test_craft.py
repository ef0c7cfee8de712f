"""CraFT: the published code's arrays, its losses' directions, the loop, and going on after a kill."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import close, load_golden

from clipwright.backbones import resolve
from clipwright.core.errors import NeedsError
from clipwright.heads.linear import LinearHead
from clipwright.heads.refine import ChainHead, refined
from clipwright.methods.craft import CraFT, default_budget
from clipwright.methods.craft_fit import (
    Collaboration,
    Network,
    divergence,
    fitness,
    head_loss,
    initial_network,
    projection_matrix,
)
from clipwright.methods.example import example
from clipwright.task import Access, BlackBox, Features, Need, Task
from clipwright.training.evolution import CSA

PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 2e-5)]
QUICK = CraFT(budget=80, popsize=8, intrinsic_dim=20)


def unit(x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = x / x.norm(dim=-1, keepdim=True)
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
class TestGolden:
    """The published code's arrays."""

    def test_contexts(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        a = load_golden(golden / "craft.npz", dtype)
        found = a["ctx0"] + (a["u"] @ a["A"].T).view(8, 4, 16)
        close(found, a["contexts_p_of_u"], tolerance)
        close((a["fresh_samples"].mean(0) @ a["A"].T).view(4, 16), a["working_ctx_offset"], 10 * tolerance)

    def test_fitness(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        a = load_golden(golden / "craft.npz", dtype)
        z = 100 * unit(a["image_features_raw"]) @ unit(a["text_features_raw"]).transpose(1, 2)
        close(z, a["z_logits"], tolerance)
        network = Network(a["W1"], a["b1"], a["W2"], a["b2"])
        for name, weight in (("0", 0.0), ("0p1", 0.1), ("1", 1.0)):
            close(fitness(z, a["labels"], network, weight), a[f"fitness_lambda{name}"], tolerance)
        close(fitness(z, a["labels"]), a["fitness_lambda0"], tolerance)

    def test_head_loss_and_its_gradient(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        a = load_golden(golden / "craft.npz", dtype)
        z = 100 * a["image_features_raw"] @ unit(a["text_features_raw"][int(a["head_candidate"])]).T
        close(z, a["head_z_raw"], tolerance)
        close(refined(z, a["W1"], a["b1"], a["W2"], a["b2"]), a["head_refined"], tolerance)
        for name, weight in (("on", 0.1), ("off", 0.0)):
            network = Network(*(a[n].clone().requires_grad_() for n in ("W1", "b1", "W2", "b2")))
            loss = head_loss(z, a["labels"], network, weight)
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            close(loss.detach(), a[f"head_loss_{name}"], tolerance)
            for part, key in zip(network, ("gW1", "gb1", "gW2", "gb2"), strict=True):
                assert part.grad is not None
                close(part.grad, a[f"head_{key}_{name}"], 10 * tolerance)

    def test_five_steps(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        a = load_golden(golden / "craft.npz", dtype)
        texts = unit(a["text_features_raw"][int(a["head_candidate"])])
        loop = Collaboration(
            contexts=lambda points: torch.zeros(len(points), 0, 0),
            scores=lambda _: torch.zeros(0),
            head_scores=lambda _, turn: 100 * a["image_features_raw"] @ texts.T,
            labels=a["labels"],
            classes=10,
            search=None,
            network=Network(a["W1"], a["b1"], a["W2"], a["b2"]),
            batches=lambda _: [torch.arange(60)],
            generations=5,
            learning_rate=1e-3,
            weight=0.1,
            until=10**9,
            working="mean",
        )
        loop.run()
        tolerance = 1e-9 if dtype == torch.float64 else 1e-3
        close(torch.tensor(loop.losses, dtype=torch.float64), a["adam_losses_5"].double(), tolerance)
        assert loop.network is not None
        for part, key in zip(loop.network, ("W1", "b1", "W2", "b2"), strict=True):
            close(part.detach(), a[f"{key}_after5"], tolerance)
        close(loop.head()(a["eval_z"][:, None]), a["eval_refined_after5"], tolerance)


def test_directions_of_the_divergences() -> None:
    """On two classes: the prompt's target is the refined answer, the refinement's the prompt's."""
    p, q = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    a, b = (np.exp(v.numpy()) / np.exp(v.numpy()).sum() for v in (p, q))
    assert float(divergence(p, q)) == pytest.approx(float((a * np.log(a / b)).sum()))
    nothing = Network(torch.zeros(1, 2).double(), torch.zeros(1).double(), torch.zeros(2, 1).double(), (q - p)[0])
    y = torch.tensor([0])
    ce = float(torch.nn.functional.cross_entropy(p, y))
    assert float(fitness(p[None], y, nothing, 1.0)[0]) - ce == pytest.approx(float(divergence(q, p)))
    refined_ce = float(torch.nn.functional.cross_entropy(q, y))
    assert float(head_loss(p, y, nothing, 1.0)) - refined_ce == pytest.approx(float(divergence(p, q)))


def test_prompts_judged_one_by_one_are_judged_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    task = prompted()
    assert task.support is not None
    whole = QUICK.fit(task)(task.support)
    monkeypatch.setattr("clipwright.methods.craft_fit.CHUNK", 1)
    torch.testing.assert_close(QUICK.fit(task)(task.support), whole)


def test_logits_in_the_width_of_the_features() -> None:
    for dtype, expected in ((torch.float32, torch.float32), (torch.float64, torch.float64)):
        task = prompted(dtype=dtype)
        assert task.support is not None
        assert QUICK.fit(task)(task.support).dtype == expected
    for half in (torch.float16, torch.bfloat16):
        task = prompted(dtype=half)
        assert task.support is not None
        assert bool(torch.isfinite(QUICK.fit(task)(task.support)).all())


def test_budgets_as_released() -> None:
    assert [default_budget(k) for k in (1, 2, 4, 8, 16)] == [2000, 4000, 4000, 8000, 8000]


def test_subspace_and_first_network() -> None:
    normal, even = (projection_matrix(400, 100, std=std, seed=1) for std in (0.3, None))
    assert float(normal.std()) == pytest.approx(0.3, rel=0.02)
    assert float(even.abs().max()) <= 0.1
    assert float(even.std()) == pytest.approx(0.1 / 3**0.5, rel=0.02)
    names = ("a", "b", "c")
    zero, random = (initial_network(names, 8, seed=1, random_output=r, dtype=torch.float64) for r in (False, True))
    assert float(zero.w2.abs().max()) == 0 == float(zero.b2.abs().max())
    assert float(random.w2.abs().max()) <= 1 / 8**0.5
    assert float(random.w1.abs().max()) <= 1 / 3**0.5
    swapped = initial_network(("b", "a", "c"), 8, seed=1, random_output=True, dtype=torch.float64)
    torch.testing.assert_close(swapped.w1, random.w1[:, [1, 0, 2]])
    torch.testing.assert_close(swapped.w2, random.w2[[1, 0, 2]])


def prompted(**options: Any) -> Task:
    return example({Need.LABELS, Need.TEXT}, soft_prompts=True, **options).task


def changed(**fields: Any) -> CraFT:
    return dataclasses.replace(QUICK, **fields)


@pytest.mark.parametrize("working", ["mean", "best", "fresh"])
def test_the_loop_against_a_plain_one(working: str) -> None:
    """Written out step by step: candidates, fitness, working prompt, one epoch of the refinement."""
    task = prompted(shots=4)
    assert task.support is not None
    method = changed(working=working, until=2, weight=0.3)
    found = method.fit(task)
    box, support = task.access, task.support
    assert isinstance(box, BlackBox)
    start = box.context("a photo of a").double()
    std = float(start.square().mean().sqrt()) / 20**0.5
    matrix = projection_matrix(start.numel(), 20, std=std, seed=0)
    search = CSA(20, 0.3, 8, seed=0, key=("craft", "search"))
    net = initial_network(task.class_names, 256, seed=0, random_output=False, dtype=torch.float64)
    net = Network(*(p.clone().requires_grad_() for p in net))
    adam = torch.optim.Adam(list(net), lr=1e-3)
    x = unit(support.x)

    def logits(point: np.ndarray) -> torch.Tensor:
        context = start + (matrix @ torch.from_numpy(point)).view(start.shape)
        return 100 * x @ unit(box.prompt_features(context.float()[None])[0]).T

    for turn in range(10):
        values = []
        for u in search.ask():
            z = logits(u)
            better = refined(z, *(p.detach() for p in net))
            target = better.softmax(1)
            kl = (target * (target.log() - z.log_softmax(1))).sum(1).mean()
            values.append(float(torch.nn.functional.cross_entropy(z, support.labels) + 0.3 * kl))
        search.tell(np.array(values))
        point = {"mean": search.mean, "best": search.best, "fresh": search.fresh().mean(0)}[working]
        z = logits(point)
        better = refined(z, *net)
        loss = torch.nn.functional.cross_entropy(better, support.labels)
        if 8 * (turn + 1) <= 40:
            loss = loss + 0.3 * (z.softmax(1) * (z.log_softmax(1) - better.log_softmax(1))).sum(1).mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        adam.step()
    expected = refined(logits(point), *(p.detach() for p in net))
    torch.testing.assert_close(found(support), expected, rtol=1e-8, atol=1e-8)
    assert found.trace.spent["prompts"] == 10 * 8 + 10 + 1
    assert found.trace.notes == [f"80 prompts were judged on 20 labelled images each: {80 * 20:,} scorings."]


def test_ablations() -> None:
    task = prompted()
    prompt = changed(parts="prompt").fit(task)
    assert isinstance(prompt.head, LinearHead)
    head = CraFT(parts="head", budget=80).fit(dataclasses.replace(task, access=None))
    assert isinstance(head.head, ChainHead)
    assert isinstance(head.head.first, LinearHead)
    assert head.trace.spent == {}
    assert prompt.trace.losses
    assert head.trace.losses[-1] < head.trace.losses[0]


def test_the_budget_may_count_generations() -> None:
    method = changed(budget=3, parallel=True, parts="prompt")
    assert method.fit(prompted()).trace.spent["prompts"] == 3 * 8 + 1


def test_released_behaviour() -> None:
    made = example({Need.LABELS, Need.TEXT, Need.VIEWS}, soft_prompts=True).task
    plain = QUICK.fit(made)(made.support)  # type: ignore[arg-type] # there is one
    for change in (
        {"legacy_random_head": True},
        {"legacy_unnormalised_head": True},
        {"legacy_augmented_fitness": True},
        {"projection": "uniform"},
        {"bound": 0.5},
    ):
        other = changed(**change).fit(made)(made.support)  # type: ignore[arg-type]
        assert bool(torch.isfinite(other).all())
        assert not torch.allclose(other, plain), change
    unit_task = dataclasses.replace(made, support=dataclasses.replace(made.support, unit=True))  # type: ignore[type-var]
    with pytest.raises(NeedsError, match="norms were kept"):
        changed(legacy_unnormalised_head=True).fit(unit_task)


@pytest.mark.parametrize("optimizer", ["csa", "pycma"])
@pytest.mark.parametrize("parts", ["both", "prompt", "head"])
def test_killed_it_goes_on_from_its_last_generation(tmp_path: Path, optimizer: str, parts: str) -> None:
    task = prompted()
    method = changed(optimizer=optimizer, parts=parts)
    whole = method.fit(task)(task.support)  # type: ignore[arg-type] # there is one
    stopped = dataclasses.replace(task, workspace=tmp_path)
    turns = 0

    class Killed(BaseException):
        pass

    def kill(loop: Collaboration, *rest: Any) -> None:
        nonlocal turns
        keep(loop, *rest)
        turns += 1
        if turns == 4:
            raise Killed

    keep = Collaboration._keep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collaboration, "_keep", kill)
        with pytest.raises(Killed):
            method.fit(stopped)
    assert (tmp_path / "craft.safetensors").is_file()
    again = method.fit(stopped)
    torch.testing.assert_close(again(task.support), whole, rtol=0, atol=0)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    if parts != "head":
        per_turn = 8 + (parts == "both")
        assert again.trace.spent["prompts"] == 6 * per_turn + 1


def test_the_state_of_another_fit_is_left_alone(tmp_path: Path) -> None:
    task = dataclasses.replace(prompted(), workspace=tmp_path)
    (tmp_path / "craft.safetensors").write_bytes(b"")
    with pytest.raises(Exception, match="damaged: remove it"):
        QUICK.fit(task)


class Silent:
    """A box of the example that keeps its features: scores alone."""

    def __init__(self, task: Task, rows: Features) -> None:
        assert isinstance(task.access, BlackBox)
        self.inner = task.access
        self.access = frozenset({Access.SOFT_PROMPT, Access.SCORES})
        self.spent = task.access.spent
        self.rows = {f"image {i}": x for i, x in enumerate(unit(rows.x))}

    def context(self, words: str) -> torch.Tensor:
        return self.inner.context(words)

    def prompt_features(self, contexts: torch.Tensor) -> torch.Tensor:
        raise AssertionError("this box grants no features")

    def prompt_scores(self, contexts: torch.Tensor, handles: Sequence[str]) -> torch.Tensor:
        x = torch.stack([self.rows[handle] for handle in handles])
        return 100 * x @ unit(self.inner.prompt_features(contexts)).transpose(1, 2)


@pytest.mark.parametrize("parts", ["both", "prompt"])
def test_behind_scores_it_answers_the_same(parts: str) -> None:
    task = prompted()
    assert task.support is not None
    method = changed(parts=parts)
    visible = method.fit(task)
    hidden = Features(
        torch.zeros(len(task.support), 0),
        task.support.y,
        handles=tuple(f"image {i}" for i in range(len(task.support))),
    )
    box = Silent(task, task.support)
    found = method.fit(dataclasses.replace(task, text=None, support=hidden, access=box))
    assert found.prompt is not None
    assert found.head.inputs == ("scores",)
    ours, theirs = found(hidden).softmax(1), visible(task.support).softmax(1)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-3, atol=1e-3)
    without = dataclasses.replace(found, box=None)
    with pytest.raises(NeedsError, match="with its endpoint at hand"):
        without(hidden)


def test_without_soft_prompts_it_says_what_runs() -> None:
    task = example({Need.LABELS, Need.TEXT}).task
    with pytest.raises(NeedsError, match=r"CraFT needs a model that takes soft prompts.*TaskRes"):
        CraFT().fit(task)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
def test_on_the_embedded_model_it_learns() -> None:
    from clipwright.fitting import fit_run

    run = fit_run("digits", backbone="tiny", method="CraFT", shots=4, hyper_parameters={"budget": 1200}, quiet=True)
    assert run.evaluation is not None
    assert run.names_alone is not None
    assert run.evaluation.top1 > run.names_alone.top1 + 0.03
    assert resolve("tiny").load().access >= {Access.SOFT_PROMPT}
