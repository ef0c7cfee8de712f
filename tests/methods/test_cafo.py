"""CaFo against independent references: the formula, the search by re-evaluation, and training written out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.fitted import Fitted
from clipwright.heads.fusion import FusionHead
from clipwright.methods import make
from clipwright.methods.cafo import EXPECTED, NAMES_ONLY, ONE_SHOT, CaFo
from clipwright.methods.example import example
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task

BETA, ALPHA = 3.0, 1.5


def case(*needs: Need, shots: int = 3, made: int = 0, **options: Any) -> tuple[Task, Features]:
    """A task whose last `made` images of each class are generated, and rows to predict."""
    found = example({Need.TEXT, Need.LABELS, *needs}, shots=shots + made, **options)
    support = found.task.support
    assert support is not None
    generated = torch.arange(len(support)) % (shots + made) >= shots
    support = dataclasses.replace(support, generated=generated if made else None)
    return dataclasses.replace(found.task, support=support, logit_scale=20.0), found.test


def parts(task: Task) -> tuple[Features, np.ndarray]:
    assert task.support is not None
    assert task.text is not None
    return task.support, task.text.classifier().numpy()


# ---- an independent reference -----------------------------------------------------------------------------------


def z(p: torch.Tensor) -> torch.Tensor:
    centred: torch.Tensor = p - p.mean(1, keepdim=True)
    return centred / p.std(1, keepdim=True)


def by_hand(text: torch.Tensor, towers: list[tuple[torch.Tensor, torch.Tensor]], onehot: torch.Tensor) -> torch.Tensor:
    """Logits as published: one-hot labels, sums of votes, a softmax over the towers."""
    shapes = [z(torch.exp(-BETA * (1 - f @ keys.T)) @ onehot) for f, keys in towers]
    pi = torch.stack([(s * z(text)).sum(1) for s in shapes]).softmax(0)
    fused = torch.stack([w[:, None] * s for w, s in zip(pi, shapes, strict=True)]).sum(0)
    return text + ALPHA * fused


def unit(x: torch.Tensor | None) -> torch.Tensor:
    assert x is not None
    length: torch.Tensor = x.norm(dim=1, keepdim=True)
    return x / length


def logits_by_hand(task: Task, test: Features, *, second: bool, onehot: torch.Tensor | None = None) -> torch.Tensor:
    support, texts = parts(task)
    onehot = torch.eye(task.n_classes, dtype=torch.float64)[support.labels] if onehot is None else onehot
    towers = [(unit(test.x), unit(support.x))] + ([(unit(test.second), unit(support.second))] if second else [])
    return by_hand(20 * unit(test.x) @ torch.from_numpy(texts).T, towers, onehot)


@pytest.mark.parametrize("second", [False, True])
def test_it_is_the_published_formula(second: bool) -> None:
    task, test = case(*([Need.SECOND] if second else []), made=2)
    fitted = CaFo(train=False, beta=BETA, alpha=ALPHA).fit(task)
    assert fitted.head.inputs == (("image", "second") if second else ("image",))
    torch.testing.assert_close(fitted(test), logits_by_hand(task, test, second=second))
    assert fitted.trace.how["beta"] == "user"


def test_the_second_tower_can_be_left_out_and_must_come_with_the_images() -> None:
    task, test = case(Need.SECOND)
    alone = CaFo(train=False, beta=BETA, alpha=ALPHA, use_second=False).fit(task)
    torch.testing.assert_close(alone(test), logits_by_hand(task, test, second=False))
    with pytest.raises(NeedsError, match="needs second features"):
        CaFo(train=False, beta=1, alpha=1).fit(task)(dataclasses.replace(test, second=None))


def test_validation_rows_without_the_second_tower_leave_it_out() -> None:
    task, _ = case(Need.SECOND, Need.VALIDATION)
    assert task.validation is not None
    bare = dataclasses.replace(task, validation=dataclasses.replace(task.validation, second=None))
    assert CaFo(train=False).fit(bare).head.inputs == ("image",)


def test_classes_with_more_images_have_no_more_to_say_unless_as_released() -> None:
    task, test = case(made=2)
    support = parts(task)[0]
    task = dataclasses.replace(task, support=support[torch.arange(len(support)) != 3])  # class 0 has four
    support = parts(task)[0]
    plain = torch.eye(5, dtype=torch.float64)[support.labels]
    for legacy, onehot in ((True, plain), (False, plain / plain.sum(0))):
        found = CaFo(train=False, beta=BETA, alpha=ALPHA, legacy_votes=legacy).fit(task)(test)
        torch.testing.assert_close(found, logits_by_hand(task, test, second=False, onehot=onehot))


def test_keys_are_the_means_of_views() -> None:
    task, _ = case(Need.VIEWS, Need.SECOND)
    support = parts(task)[0]
    assert support.views is not None
    state = CaFo(train=False, beta=1, alpha=1).fit(task).head.state_dict()
    torch.testing.assert_close(state["keys"], unit(support.views.mean(1)))
    torch.testing.assert_close(state["second_keys"], unit(support.second))
    clean = CaFo(train=False, beta=1, alpha=1, use_views=False).fit(task).head.state_dict()
    torch.testing.assert_close(clean["keys"], unit(support.x))


# ---- the search --------------------------------------------------------------------------------------------------


def refitted(task: Task, beta: float, alpha: float) -> int:
    """Real images that a fit on all others gets right."""
    support, right = parts(task)[0], 0
    method = CaFo(train=False, beta=beta, alpha=alpha)
    for i in torch.nonzero(~support.is_generated)[:, 0].tolist():
        others = dataclasses.replace(task, support=support[torch.arange(len(support)) != i])
        right += int(method.fit(others)(support[[i]]).argmax(1) == support.labels[i])
    return right


@pytest.mark.parametrize("made", [0, 2])
def test_leaving_out_is_refitting_and_the_first_best_is_released(made: int) -> None:
    task, _ = case(Need.SECOND, shots=2, made=made, classes=6, dim=4)
    found = CaFo(train=False, search_scale=(40.1, 6.1), search_steps=(4, 3), choice="first").fit(task).trace
    pairs = [(0.1 + 10 * i, 0.1 + 2 * j) for i in range(4) for j in range(3)]
    counts = [refitted(task, *pair) for pair in pairs]
    assert len(set(counts)) > 1
    assert (found.chosen["beta"], found.chosen["alpha"]) == pytest.approx(pairs[counts.index(max(counts))])
    assert found.how["beta"] == found.how["alpha"] == "cross-validation"
    assert found.labels_per_class == (2,) * 6


def test_validation_rows_are_scored_where_there_are_any() -> None:
    task, _ = case(Need.SECOND, Need.VALIDATION, classes=6, dim=4)
    rows = task.validation
    assert rows is not None
    found = CaFo(train=False, search_scale=(40.1, 6.1), search_steps=(4, 3), choice="first").fit(task).trace
    pairs = [(0.1 + 10 * i, 0.1 + 2 * j) for i in range(4) for j in range(3)]
    heads = [CaFo(train=False, beta=b, alpha=a).fit(task) for b, a in pairs]
    counts = [int((head(rows).argmax(1) == rows.labels).sum()) for head in heads]
    assert (found.chosen["beta"], found.chosen["alpha"]) == pytest.approx(pairs[counts.index(max(counts))])
    assert found.how["beta"] == "validation"
    assert found.labels_per_class == (5,) * 6


def test_held_rows_need_a_reason_to_leave_the_expected_pair() -> None:
    task, _ = case(shots=4, dim=40)  # far apart: every pair is right
    found = CaFo(train=False).fit(task).trace.chosen
    assert math.log10(found["beta"] / EXPECTED[0]) ** 2 + math.log10(found["alpha"] / EXPECTED[1]) ** 2 < 0.01


def test_a_given_value_stays() -> None:
    task, _ = case()
    trace = CaFo(train=False, beta=2.5).fit(task).trace
    assert trace.chosen["beta"] == 2.5
    assert (trace.how["beta"], trace.how["alpha"]) == ("user", "cross-validation")


@pytest.mark.parametrize(("shots", "made", "pair"), [(1, 0, ONE_SHOT), (1, 3, ONE_SHOT), (0, 3, NAMES_ONLY)])
def test_nothing_real_to_hold_out_means_fixed_values(shots: int, made: int, pair: tuple[float, float]) -> None:
    task, test = case(shots=shots, made=made)
    fitted = CaFo().fit(task)
    assert (fitted.trace.chosen["beta"], fitted.trace.chosen["alpha"]) == pair
    assert fitted.trace.how["alpha"] == "rule"
    assert fitted.trace.labels_per_class == (shots,) * 5
    assert bool(torch.isfinite(fitted(test)).all())


# ---- generated images ----------------------------------------------------------------------------------------------


def test_so_many_generated_keys_of_a_class_are_used() -> None:
    task, _ = case(shots=2, made=4)
    for most, keys in ((None, 30), (3, 25), (0, 10)):
        fitted = CaFo(train=False, generated_keys=most).fit(task)
        assert torch.bincount(fitted.head.state_dict()["key_class"]).tolist() == [keys // 5] * 5
        assert fitted.trace.notes == (
            [f"{keys - 10} of the {keys} images remembered are generated."] if most != 0 else []
        )
    other = CaFo(train=False, generated_keys=1)
    drawn = [other.fit(dataclasses.replace(task, seed=seed)).head.state_dict()["keys"] for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_class_left_without_images_is_named() -> None:
    task, _ = case(shots=0, made=2)
    with pytest.raises(NeedsError):
        CaFo(generated_keys=0).fit(task)
    support = parts(task)[0]
    mixed = dataclasses.replace(support, generated=support.labels == 2)
    with pytest.raises(DataError, match="'class 2' has no labelled image"):
        CaFo(generated_keys=0).fit(dataclasses.replace(task, support=mixed))


# ---- training ------------------------------------------------------------------------------------------------------


def trained_by_hand(task: Task, epochs: int, batches: list[list[int]], period: int) -> list[torch.Tensor]:
    """The keys after AdamW on the published logits."""
    support, texts = parts(task)
    x = [unit(support.x), unit(support.second)]
    keys = [rows.clone().requires_grad_() for rows in x]
    onehot = torch.eye(task.n_classes, dtype=torch.float64)[support.labels]
    adam = torch.optim.AdamW(keys, eps=1e-4, weight_decay=0.01)
    for step in range(epochs * len(batches)):
        adam.param_groups[0]["lr"] = 1e-2 / 2 * (1 + math.cos(math.pi * step / period))
        rows = batches[step % len(batches)]
        text = 20 * x[0][rows] @ torch.from_numpy(texts).T
        logits = by_hand(text, [(f[rows], k) for f, k in zip(x, keys, strict=True)], onehot)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(logits, support.labels[rows]).backward()  # type: ignore[no-untyped-call]
        adam.step()
    return [k.detach() for k in keys]


@pytest.mark.parametrize("legacy", [False, True])
def test_keys_are_tuned_on_real_batches_and_then_on_generated_ones(legacy: bool) -> None:
    task, _ = case(Need.SECOND, made=2)
    made = parts(task)[0].is_generated
    batches = [torch.nonzero(rows)[:, 0].tolist() for rows in (~made, made)]
    method = CaFo(beta=BETA, alpha=ALPHA, epochs=4, learning_rate=1e-2, legacy_overrunning_schedule=legacy)
    fitted = method.fit(task)
    keys = trained_by_hand(task, 4, batches, 4 if legacy else 8)
    for name, expected in zip(("keys", "second_keys"), keys, strict=True):
        torch.testing.assert_close(fitted.head.state_dict()[name], expected, rtol=0, atol=1e-10)
    assert len(fitted.trace.losses) == 4
    assert fitted.trace.losses[-1] < fitted.trace.losses[0]


def test_the_epoch_that_is_best_on_validation_is_kept() -> None:
    task, _ = case(Need.VALIDATION, classes=6, dim=4, seed=2)
    rows = task.validation
    assert rows is not None

    def right(fitted: Fitted) -> int:
        return int((fitted(rows).argmax(1) == rows.labels).sum())

    fitted = CaFo(beta=BETA, alpha=ALPHA, learning_rate=0.1, epochs=6).fit(task)
    note = next(n for n in fitted.trace.notes if "was kept" in n)
    kept = int(note.split()[1])
    bare = dataclasses.replace(task, validation=None)
    last = CaFo(beta=BETA, alpha=ALPHA, learning_rate=0.1, epochs=6).fit(bare)
    assert right(fitted) >= right(last)
    assert 1 <= kept <= 6
    assert fitted.trace.labels_per_class == (5,) * 6


def test_views_are_trained_on() -> None:
    task, _ = case(Need.VIEWS)
    states = [CaFo(use_views=use).fit(task).head.state_dict()["keys"] for use in (True, False)]
    assert not torch.allclose(*states)


# ---- what gives the text logits ----------------------------------------------------------------------------------


def test_another_classifier_can_give_the_text_logits() -> None:
    task, test = case()
    weight = torch.randn(5, 16, dtype=torch.float64) * torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    fitted = CaFo(train=False, beta=BETA, alpha=ALPHA, classifier=weight).fit(task)
    support = parts(task)[0]
    onehot = torch.eye(5, dtype=torch.float64)[support.labels]
    expected = by_hand(20 * unit(test.x) @ unit(weight).T, [(unit(test.x), unit(support.x))], onehot)
    torch.testing.assert_close(fitted(test), expected)
    assert str(fitted.trace.chosen["classifier"]).startswith("text_features 5 x 16 #")


def test_a_classifier_is_read_from_a_file(tmp_path: Any) -> None:
    task, test = case()
    weight = np.random.default_rng(0).standard_normal((5, 16))
    np.savez(tmp_path / "tuned.npz", text_features=weight)
    method = make("CaFo", classifier=str(tmp_path / "tuned.npz"), train="false")
    same = CaFo(train=False, classifier=weight).fit(task)
    assert torch.equal(method.fit(task)(test), same(test))
    with pytest.raises(UsageError, match="classifier = 3 is not allowed"):
        make("CaFo", classifier=3)


def test_zero_images_and_an_alpha_near_zero_give_the_texts() -> None:
    task, test = case(Need.SECOND)
    nothing = Features(torch.zeros(2, 16), second=torch.zeros(2, 6))
    assert bool((CaFo(train=False).fit(task)(nothing) == 0).all())
    found, plain = CaFo(train=False, beta=1, alpha=1e-12).fit(task)(test), ZeroShot().fit(task)(test)
    torch.testing.assert_close(found, plain)


def test_a_fit_on_some_classes_is_the_restricted_head_where_nothing_is_tuned() -> None:
    task, test = case(Need.SECOND)
    support, _ = parts(task)
    assert task.text is not None
    index = torch.tensor([3, 1])
    part = support[torch.isin(support.labels, index)]
    part = dataclasses.replace(part, y=torch.tensor([-1, 1, -1, 0, -1])[part.labels])
    few = dataclasses.replace(
        task, class_names=("class 3", "class 1"), text=task.text.of_classes([3, 1]), support=part, validation=None
    )
    method = CaFo(train=False, beta=BETA, alpha=ALPHA)
    whole = method.fit(task).head
    assert isinstance(whole, FusionHead)
    small = Fitted(whole.restrict(index))
    torch.testing.assert_close(small(test), method.fit(few)(test))


def test_validation_rows_that_nothing_is_chosen_on_decide_nothing() -> None:
    task, test = case(Need.SECOND, Need.VALIDATION)
    assert task.validation is not None
    bare = dataclasses.replace(task, validation=dataclasses.replace(task.validation, second=None))
    method = CaFo(train=False, beta=BETA, alpha=ALPHA)
    assert torch.equal(method.fit(bare)(test), method.fit(task)(test))


def test_it_can_be_fitted_where_gradients_are_off() -> None:
    with torch.inference_mode():
        task, test = case(Need.SECOND, Need.VIEWS, made=1)
        inside = CaFo().fit(task)(test)
    task, test = case(Need.SECOND, Need.VIEWS, made=1)
    assert torch.equal(CaFo().fit(task)(test), inside)
