"""RegFT: the published loss, merges whose ends are exact, and all the ways to choose and to train."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import load_golden

from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.tensors import unit_rows
from clipwright.heads.linear import LinearHead
from clipwright.methods import regft_fit
from clipwright.methods.conformance import seen
from clipwright.methods.example import Example, example
from clipwright.methods.regft import RegFT
from clipwright.methods.regft_fit import Merging, Tuning, chunks, default_rate, tune
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Need, Task, TextFeatures
from clipwright.training.full_batch import full_batch_backward
from clipwright.training.regularisers import covariance_loss, variance_loss

NEEDS = {Need.TEXT, Need.LABELS, Need.IMAGES}
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2}


def case(*more: Need, **options: Any) -> Example:
    return example(NEEDS | set(more), weights=True, dtype=torch.float32, shots=6, **options)


def half_generated(task: Task) -> Task:
    assert task.support is not None
    flags = torch.arange(len(task.support)) % 2 == 0
    return dataclasses.replace(task, support=dataclasses.replace(task.support, generated=flags))


def start_of(task: Task) -> torch.Tensor:
    assert task.text is not None
    return task.logit_scale * unit_rows(task.text.classifier()).float()


def test_one_step_by_hand() -> None:
    made = case()
    task = made.task
    method = RegFT(epochs=1, batch_size=30, learning_rate=1e-2, warmup=0, recipe=None, embedding_scale=1.0, alpha=1)
    fitted = method.fit(task)
    tower: Any = task.access
    assert task.support is not None
    assert task.support.source is not None
    pixels = torch.from_numpy(np.stack([tower.pixels(task.support.source(i)) for i in range(30)]))
    module = tower.image_module()
    weight, bias = start_of(task).clone().requires_grad_(), torch.zeros(5, requires_grad=True)
    x = module(pixels)
    logits = torch.nn.functional.normalize(x, dim=1) @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, task.support.labels)
    s = torch.cov(x.T)
    d = len(s)
    loss = loss + 0.16 * (1 - (s.diagonal() + 1e-7).sqrt()).clamp_min(0).mean()
    loss = loss + 0.02 * (s.square().sum() - s.diagonal().square().sum()) / (d * (d - 1))
    parameters = [*module.parameters(), weight, bias]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    assert fitted.trace.losses == pytest.approx([float(loss)], rel=1e-5)
    state = fitted.head.state_dict()
    torch.testing.assert_close(state["weight"], weight.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(state["bias"], bias.detach(), rtol=1e-4, atol=1e-5)
    assert fitted.tower is not None
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(fitted.tower.tensors[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_published_loss_and_its_gradients(golden: Path) -> None:
    given = load_golden(golden / "regft.npz", torch.float64)
    x = given["E"].clone().requires_grad_()
    weight, bias = given["head_weight"], given["head_bias"]
    logits = torch.nn.functional.normalize(x, dim=1) @ weight.T + bias
    np.testing.assert_allclose(logits.detach(), given["logits"], rtol=1e-10)
    ce = torch.nn.functional.cross_entropy(logits, given["labels"].long())
    total = ce + float(given["lambda_v"]) * variance_loss(x) + float(given["lambda_c"]) * covariance_loss(x)
    np.testing.assert_allclose(float(total), given["total_loss"], rtol=1e-12)
    torch.autograd.backward(total)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, given["grad_E_total"], rtol=1e-9, atol=1e-12)


def test_alpha_0_is_zero_shot_and_alpha_1_the_tuned_model() -> None:
    made = case()
    method = RegFT(alpha=0, **QUICK)
    fitted = method.fit(made.task)
    assert fitted.tower is None
    expected = ZeroShot().fit(made.task)(made.test)
    torch.testing.assert_close(fitted(made.test), expected, rtol=1e-5, atol=1e-4)
    assert made.task.support is not None
    tuning = Tuning.of(method, made.task, made.task.support)
    tuned = tune(tuning, start_of(made.task))
    update, weight, bias = Merging(tuning, tuned)(1.0)
    assert update is not None
    assert all(torch.equal(update.tensors[n], t) for n, t in tuned.after.items())
    assert torch.equal(weight, tuned.classifiers[1]["weight"])
    assert torch.equal(bias, tuned.classifiers[1]["bias"])
    update, weight, _ = Merging(tuning, tuned)(0.3)
    assert update is not None
    for name, tensor in tuned.after.items():
        torch.testing.assert_close(update.tensors[name], 0.7 * tuned.before[name] + 0.3 * tensor)


def test_tuning_learns_the_labels() -> None:
    made = case()
    fitted = RegFT(epochs=80, batch_size=8, learning_rate=1e-2, alpha=1, weight_decay=0).fit(made.task)
    assert made.task.support is not None
    rows = seen(fitted, made.task.support, made.task)
    assert float((fitted(rows).argmax(1) == made.task.support.labels).double().mean()) > 0.95
    assert fitted.trace.losses[-1] < 0.5 * fitted.trace.losses[0]
    assert set(fitted.trace.loss_parts) == {"cross_entropy", "variance", "covariance", "loss", "gradient_norm"}
    assert isinstance(fitted.head, LinearHead)


@pytest.mark.parametrize("by", ["labels", "unlabeled"])
def test_alpha_is_chosen_and_its_curve_told(by: Any) -> None:
    made = case(Need.UNLABELED)
    task = half_generated(made.task)
    fitted = RegFT(alpha=by, **QUICK).fit(task)
    curve = fitted.trace.curve
    assert curve["by"] == by
    assert curve["alpha"] == [i / 10 for i in range(11)]
    best = max(curve["score"])
    assert curve["score"][curve["alpha"].index(fitted.trace.chosen["alpha"])] == best
    assert fitted.trace.how["alpha"] == ("validation" if by == "labels" else "rule")


def test_real_labels_choose_and_are_not_trained_on() -> None:
    task = half_generated(case().task)
    assert task.support is not None
    hidden = dataclasses.replace(task.support, y=task.support.labels.where(task.support.is_generated, 0))
    one = RegFT(alpha="labels", **QUICK).fit(task)
    other = RegFT(alpha="labels", **QUICK).fit(dataclasses.replace(task, support=hidden))
    ends = [f.trace.losses for f in (one, other)]
    assert ends[0] == ends[1]
    assert one.trace.curve["score"] != other.trace.curve["score"]


def test_labels_that_chose_are_counted() -> None:
    made = case(Need.VALIDATION)
    fitted = RegFT(alpha="labels", **QUICK).fit(made.task)
    assert fitted.trace.labels_per_class == (8,) * 5


def test_pixels_of_a_few_judged_images_are_kept_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    task = half_generated(case().task)
    whole = RegFT(alpha="labels", **QUICK).fit(task).trace.curve
    asked, merge = [], Merging.__call__

    def counted(merging: Merging, alpha: float) -> Any:
        asked.append(alpha)
        return merge(merging, alpha)

    monkeypatch.setattr(regft_fit, "JUDGED", 4)
    monkeypatch.setattr(Merging, "__call__", counted)
    assert RegFT(alpha="labels", **QUICK).fit(task).trace.curve["score"] == whole["score"]
    assert len(asked) == 4 * 11 + 1  # 15 images in parts of at most 4, every alpha in each, and the one that is kept


def test_one_unlabeled_image_is_too_few() -> None:
    task = case(Need.UNLABELED).task
    assert task.unlabeled is not None
    with pytest.raises(NeedsError, match="too few images to choose alpha on"):
        RegFT(alpha="unlabeled", **QUICK).fit(dataclasses.replace(task, unlabeled=task.unlabeled[:1]))


def test_parts_are_as_even_as_can_be() -> None:
    assert [len(part) for part in chunks(65)] == [33, 32]
    assert torch.equal(torch.cat(chunks(200)), torch.arange(200))
    assert chunks(0) == []


def test_a_frozen_tower_gets_no_low_rank_updates() -> None:
    assert RegFT(train="head", low_rank=2, alpha=1, **QUICK).fit(case().task).tower is None


def test_nothing_to_choose_on_is_said() -> None:
    with pytest.raises(NeedsError, match="chooses on real labelled images beside the generated ones"):
        RegFT(alpha="labels", **QUICK).fit(case().task)
    with pytest.raises(NeedsError, match="unlabeled images"):
        RegFT(alpha="unlabeled", **QUICK).fit(case().task)


def test_fisher_weighs_between_the_same_ends() -> None:
    made = case()
    plain, weighed = (RegFT(merge=m, alpha=0.5, **QUICK).fit(made.task) for m in ("mean", "fisher"))
    assert plain.tower is not None
    assert weighed.tower is not None
    assert any(not torch.allclose(plain.tower.tensors[n], t) for n, t in weighed.tower.tensors.items())
    ends = [RegFT(merge="fisher", alpha=a, **QUICK).fit(made.task).head.state_dict()["weight"] for a in (0, 1)]
    middle = weighed.head.state_dict()["weight"]
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    assert bool(((middle >= low - 1e-4) & (middle <= high + 1e-4)).all())


def test_the_head_alone_can_be_trained() -> None:
    fitted = RegFT(train="head", alpha=1, **QUICK).fit(case().task)
    assert fitted.tower is None


def test_low_rank_updates_are_scaled_by_alpha() -> None:
    made = case()
    # The example's tower has a single linear layer, which has no part of attention in its name.
    with pytest.raises(UsageError, match="no weights for"):
        RegFT(low_rank=2, **QUICK).fit(made.task)


def test_batches_of_one() -> None:
    one = example(NEEDS, weights=True, classes=1, shots=1, dtype=torch.float32)
    with pytest.raises(UsageError, match="batch of two images or more"):
        RegFT(**QUICK).fit(one.task)
    fitted = RegFT(variance=0, covariance=0, **QUICK).fit(one.task)
    assert np.isfinite(fitted.trace.losses).all()


def test_descriptions_can_be_the_start() -> None:
    made = case()
    assert made.task.text is not None
    more = dataclasses.replace(made.task.text, kind="description", x=made.task.text.x.flip(1))
    both = TextFeatures(
        torch.cat([made.task.text.x, more.x]),
        torch.cat([made.task.text.classes, more.classes]),
        kind=(*made.task.text.kind, *more.kind),
    )
    task = dataclasses.replace(made.task, text=both)
    fitted = RegFT(kinds=("description",), alpha=0, **QUICK).fit(task)
    weight = fitted.head.state_dict()["weight"]
    torch.testing.assert_close(weight, task.logit_scale * unit_rows(more.classifier()).float())
    plain = RegFT(alpha=0, **QUICK).fit(task).head.state_dict()["weight"]
    torch.testing.assert_close(plain, start_of(made.task))


def test_micro_batches_change_nothing() -> None:
    made = case()
    answers = []
    for size in (None, 3):
        fitted = RegFT(micro_batch_size=size, alpha=1, **QUICK).fit(made.task)
        answers.append(fitted(seen(fitted, made.test, made.task)))
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("at", [1, 3, 5])
def test_killed_and_started_again_it_ends_the_same(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = case()
    method = RegFT(alpha=1, **QUICK)
    expected = method.fit(made.task).head.state_dict()
    task = dataclasses.replace(made.task, workspace=tmp_path)
    real, steps = full_batch_backward, 0

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("clipwright.training.towers.full_batch_backward", dying)
        with pytest.raises(KeyboardInterrupt):
            method.fit(task)
    found = method.fit(task).head.state_dict()
    assert all(torch.equal(found[n], t) for n, t in expected.items())
    assert not list(tmp_path.iterdir())


def test_other_images_of_the_same_names_are_trained_on_anew(tmp_path: Path) -> None:
    made = case()
    assert made.task.support is not None
    first = Tuning.of(RegFT(), dataclasses.replace(made.task, workspace=tmp_path), made.task.support)
    changed = dataclasses.replace(made.task.support, x=made.task.support.x + 0.1)
    second = Tuning.of(RegFT(), dataclasses.replace(made.task, workspace=tmp_path), changed)
    digests = [tuning.checkpoint(start_of(made.task)) for tuning in (first, second)]
    assert digests[0] is not None
    assert digests[1] is not None
    assert digests[0].digest != digests[1].digest


def test_another_fit_does_not_go_on_from_it(tmp_path: Path) -> None:
    task = dataclasses.replace(case().task, workspace=tmp_path)
    first, second = (RegFT(alpha=1, **{**QUICK, "learning_rate": rate}).fit(task) for rate in (1e-2, 2e-2))
    assert not torch.equal(first.head.state_dict()["weight"], second.head.state_dict()["weight"])


def test_the_scale_of_embeddings_follows_their_length() -> None:
    task = case().task
    assert task.support is not None
    bigger = dataclasses.replace(task.support, x=3 * task.support.x)
    scales = [Tuning.of(RegFT(), task, rows).scale for rows in (task.support, bigger)]
    assert scales[0] == pytest.approx(3 * scales[1])
    length = float((scales[0] * task.support.x).norm(dim=1).mean())
    assert length == pytest.approx(10 * (16 / 512) ** 0.5, rel=1e-5)


def test_warm_up_is_a_share_or_the_released_500_steps() -> None:
    task = case().task
    assert task.support is not None
    options: dict[str, Any] = {"epochs": 10, "batch_size": 8, "learning_rate": 3e-5}
    ours = Tuning.of(RegFT(**options), task, task.support).rates()
    legacy = Tuning.of(RegFT(legacy_warmup=True, **options), task, task.support).rates()
    assert max(ours) == pytest.approx(ours[2]) == pytest.approx(3e-5)
    assert legacy[-1] == pytest.approx(3e-5 * 30 / 500)


def test_smaller_towers_take_larger_steps() -> None:
    assert default_rate(86_000_000) == pytest.approx(3e-5)
    assert default_rate(344_000_000) == pytest.approx(1.5e-5)
    assert default_rate(1000) == pytest.approx(3e-4)
