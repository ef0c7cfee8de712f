"""GDA against the published code's arrays, its recorded runs on real features, refits, and its rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import ENCODERS, Recorded, close, load_golden

from clipwright.core.choice import near_best
from clipwright.core.errors import DataError, NeedsError
from clipwright.core.gaussian import class_statistics, linear_discriminant, shrunk_covariance
from clipwright.methods.example import example
from clipwright.methods.gda import GDA, GRID, PUBLISHED_GRID, published_precision
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task, TextFeatures

Arrays = dict[str, torch.Tensor]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5}


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def arrays(golden: Path, request: pytest.FixtureRequest) -> Arrays:
    """The golden arrays in both precisions, with the inputs, which lie in Tip-Adapter's file."""
    inputs, outputs = (load_golden(golden / name, request.param) for name in ("tip_adapter.npz", "gda.npz"))
    return inputs | outputs


def golden_task(arrays: Arrays) -> Task:
    views = arrays["support_views"].transpose(0, 1)
    return Task(
        tuple("abcdefgh"),
        TextFeatures(arrays["text"]),
        Features(views[:, 0], arrays["support_labels"], views=views),
        validation=Features(arrays["val_features"], arrays["val_labels"]),
    )


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    close(found.to(expected.dtype), expected, TOLERANCE[expected.dtype])


def test_golden_precision_and_discriminant(arrays: Arrays) -> None:
    views = torch.nn.functional.normalize(arrays["support_views"], dim=-1)
    statistics = class_statistics([(v, arrays["support_labels"]) for v in views], 8)
    same(statistics.means, arrays["class_means"])
    same(published_precision(statistics.within(), 96), arrays["precision"])
    weight, bias = linear_discriminant(statistics.means, shrunk_covariance(statistics.within(), 96))
    scale = 48 / 95
    same(scale * weight.T, arrays["W_DxC"])
    same(scale * bias - np.log(8), arrays["b"])


def test_golden_choice_and_logits(arrays: Arrays) -> None:
    fitted = GDA(legacy_scale=True).fit(golden_task(arrays))
    assert fitted.trace.chosen["alpha"] == pytest.approx(float(arrays["chosen_alpha"]))
    assert fitted.trace.how["alpha"] == "validation"
    found, test = fitted(Features(arrays["test_features"])), arrays["test_logits"]
    same(found - fitted.trace.chosen["alpha"] * np.log(8), test)  # they add the log of the prior, equal for all classes
    assert float((found.argmax(1) == arrays["test_labels"]).double().mean()) == pytest.approx(
        float(arrays["test_acc"]) / (100 if float(arrays["test_acc"]) > 1 else 1)
    )
    one = GDA(legacy_scale=True, alpha=1.0).fit(golden_task(arrays))
    same(one(Features(arrays["test_features"])) - np.log(8), arrays["test_logits_alpha1"])


def test_golden_validation_accuracy_of_every_alpha(arrays: Arrays) -> None:
    task = golden_task(arrays)
    assert task.validation is not None
    assert arrays["alpha_grid"].tolist() == pytest.approx(PUBLISHED_GRID)
    for alpha, expected in zip(PUBLISHED_GRID, arrays["val_acc_per_alpha"].tolist(), strict=True):
        right = GDA(legacy_scale=True, alpha=alpha).fit(task)(task.validation).argmax(1) == task.validation.labels
        assert float(right.double().mean()) == pytest.approx(expected / (100 if expected > 1 else 1), abs=1e-6)


# ---- recorded runs of the published code on real features -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs(shared: Path, encoder: str) -> None:
    recorded = Recorded(shared, encoder, "gda")
    assert len(recorded.runs) == 5
    published = GDA(legacy_scale=True, legacy_one_shot=True)
    for run in recorded.runs:
        task, test = recorded.task(run, validation=True), recorded.test(run)
        fitted = published.fit(task)
        assert fitted.trace.chosen["alpha"] == run["alpha"], run
        assert abs(int((fitted(test).argmax(1) == test.labels).sum()) - run["correct"]) <= 2, run
        assert task.validation is not None
        for alpha, accuracy in zip(PUBLISHED_GRID, run["val_accs_grid"], strict=True):
            logits = replace(published, alpha=alpha).fit(task)(task.validation)
            right = int((logits.argmax(1) == task.validation.labels).sum())
            assert abs(right - accuracy / 100 * len(task.validation)) < 0.01, (run, alpha)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs_without_text(shared: Path, encoder: str) -> None:
    recorded = Recorded(shared, encoder, "gda_no_text")
    assert len(recorded.runs) == 4
    for run in recorded.runs:
        support, test = recorded.task(run).support, recorded.test(run)
        assert support is not None
        statistics = class_statistics([(support.unit_x(), support.labels)], 19)
        weight, bias = linear_discriminant(statistics.means, shrunk_covariance(statistics.within(), len(support)))
        found = (test.unit_x().double() @ weight.T + bias).argmax(1)
        assert abs(int((found == test.labels).sum()) - run["correct"]) <= 2, run


# ---- the method's own rules -------------------------------------------------------------------------------------


def case(shots: int = 3, *needs: Need, **options: Any) -> Task:
    return example({Need.TEXT, Need.LABELS, *needs}, shots=shots, **options).task


def reference(task: Task, alpha: float, *, total: bool = False) -> np.ndarray:
    """Class weights and, as a last column, biases, from plain arrays."""
    assert task.support is not None
    assert task.text is not None
    x, y = task.support.unit_x().numpy(), task.support.labels.numpy()
    means = np.array([x[y == c].mean(axis=0) for c in range(task.n_classes)])
    around = x.mean(axis=0) if total else means[y]
    n = len(x)
    spread = sum(np.outer(row, row) for row in x - around) / (n - 1)
    precision = np.linalg.inv(spread + np.trace(spread) / (n - 1) * np.eye(x.shape[1]))
    weights = task.logit_scale * task.text.classifier().numpy() + alpha * means @ precision
    biases = [-alpha / 2 * m @ precision @ m for m in means]
    return np.column_stack([weights, biases])


def parts(task: Task, method: GDA | None = None) -> np.ndarray:
    head = (method or GDA()).fit(task).head.state_dict()
    return np.column_stack([task.logit_scale * head["weight"].numpy(), head["bias"].numpy()])


def test_default_scale_is_the_log_posterior() -> None:
    np.testing.assert_allclose(parts(case(4), GDA(alpha=0.7)), reference(case(4), 0.7), rtol=0, atol=1e-9)


def test_legacy_scale_is_the_same_classifier_at_another_alpha() -> None:
    factor = 16 / 19  # D / (n - 1)
    found = parts(case(4), GDA(alpha=0.7 / factor, legacy_scale=True))
    np.testing.assert_allclose(found, reference(case(4), 0.7), rtol=0, atol=1e-9)


def test_one_shot_uses_the_covariance_of_all_rows() -> None:
    fitted = GDA().fit(case(1))
    assert fitted.trace.chosen["alpha"] == 0.5
    assert fitted.trace.how["alpha"] == "rule"
    np.testing.assert_allclose(parts(case(1)), reference(case(1), 0.5, total=True), rtol=0, atol=1e-9)


def test_one_shot_as_released_is_zero_shot() -> None:
    fitted = GDA(legacy_one_shot=True).fit(case(1))
    test = example({Need.TEXT}).test
    torch.testing.assert_close(fitted(test), ZeroShot().fit(case(1))(test), rtol=0, atol=1e-12)
    assert "zero-shot" in fitted.trace.notes[0]


@pytest.mark.parametrize("views", [2, 5])
def test_alpha_means_the_same_for_any_number_of_views(views: int) -> None:
    """Views that repeat the image add nothing but rows: the log-posterior stays, up to the ridge; as published, not."""
    task = case(40)
    assert task.support is not None
    repeated = Features(task.support.x, task.support.y, views=task.support.x[:, None].repeat(1, views, 1))
    many = replace(task, support=repeated)
    once, again = (parts(t, GDA(alpha=1.0)) - parts(t, GDA(alpha=1e-12)) for t in (task, many))
    assert np.abs(again - once).max() < 0.12 * np.abs(once).max()
    scaled = [parts(t, GDA(alpha=1.0, legacy_scale=True)) - parts(t, GDA(alpha=1e-12)) for t in (task, many)]
    assert np.abs(scaled[1]).max() < 1.2 / views * np.abs(scaled[0]).max()


def test_views_are_fitted_on_unless_switched_off_or_too_few_images() -> None:
    with_views = case(3, Need.VIEWS)
    assert not np.allclose(parts(with_views), parts(case(3)))
    np.testing.assert_array_equal(parts(with_views, GDA(use_views=False)), parts(case(3)))
    np.testing.assert_array_equal(parts(case(1, Need.VIEWS)), parts(case(1)))
    assert not np.allclose(parts(case(1, Need.VIEWS), GDA(legacy_one_shot=True)), parts(case(1)))
    assert Need.VIEWS not in GDA(use_views=False).requires().optional


@pytest.mark.parametrize("needs", [(), (Need.VIEWS,)], ids=["clean", "views"])
def test_alpha_is_chosen_on_images_left_out_in_turn(needs: tuple[Need, ...]) -> None:
    """The choice by the closed form is that of refitting for every image."""
    task = case(3, *needs, seed=4)
    assert task.support is not None
    correct = torch.zeros(len(GRID), dtype=torch.int64)
    for i in range(len(task.support)):
        kept = torch.arange(len(task.support)) != i
        rest = replace(task, support=task.support[kept])
        for k, alpha in enumerate(GRID):
            logits = GDA(alpha=alpha).fit(rest)(task.support[[i]])
            correct[k] += int(logits.argmax()) == int(task.support.labels[i])
    trace = GDA().fit(task).trace
    assert trace.how["alpha"] == "cross-validation"
    assert trace.chosen["alpha"] == near_best(correct.tolist(), GRID, 3 / 8)


def test_validation_images_come_before_leaving_out_and_are_counted() -> None:
    task = case(3)
    held_out = example({Need.TEXT, Need.LABELS}, shots=2, seed=1).task.support
    trace = GDA().fit(replace(task, validation=held_out)).trace
    assert trace.how["alpha"] == "validation"
    assert trace.labels_per_class == (5,) * 5
    assert GDA().fit(task).trace.labels_per_class == (3,) * 5


def test_unequal_counts_leave_out_only_what_can_be() -> None:
    task = case(4)
    assert task.support is not None
    kept = torch.cat([(task.support.labels == c).nonzero()[:n, 0] for c, n in enumerate((1, 4, 4, 3, 1))])
    fitted = GDA().fit(replace(task, support=task.support[kept]))
    assert fitted.trace.how["alpha"] == "cross-validation"
    few = torch.cat([(task.support.labels == c).nonzero()[:n, 0] for c, n in enumerate((1, 1, 1, 3, 1))])
    assert GDA().fit(replace(task, support=task.support[few])).trace.how["alpha"] == "rule"


def test_a_given_alpha_is_the_users() -> None:
    assert GDA(alpha=2.0).fit(case()).trace.how["alpha"] == "user"


def test_images_that_are_all_the_same_give_zero_shot() -> None:
    task = case(2)
    assert task.support is not None
    alike = Features(task.support.x[:1].repeat(10, 1), task.support.y)
    fitted, test = GDA().fit(replace(task, support=alike)), example({Need.TEXT}).test
    torch.testing.assert_close(fitted(test), ZeroShot().fit(task)(test), rtol=0, atol=1e-12)
    assert fitted.trace.how["alpha"] == "rule"


def test_blocks_of_a_large_support_set_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parts(case(6, Need.VIEWS))
    monkeypatch.setattr("clipwright.methods.gda._BLOCK", 100)
    np.testing.assert_allclose(parts(case(6, Need.VIEWS)), whole, rtol=0, atol=1e-10)


def test_a_support_set_may_lie_in_a_mapped_file(tmp_path: Path) -> None:
    task = case(6)
    assert task.support is not None
    x = task.support.x.numpy().astype(np.float16)
    mapped = np.memmap(tmp_path / "x.bin", np.float16, mode="w+", shape=x.shape)
    mapped[:] = x
    mapped.flush()
    read = np.memmap(tmp_path / "x.bin", np.float16, mode="r", shape=x.shape)
    found, expected = (Features(a, task.support.y) for a in (read, x))  # type: ignore[arg-type] # arrays are taken too
    np.testing.assert_array_equal(parts(replace(task, support=found)), parts(replace(task, support=expected)))


def test_a_class_without_labels_is_named() -> None:
    task = case()
    assert task.support is not None
    with pytest.raises(DataError, match="class 'class 3' has no labelled image"):
        GDA().fit(replace(task, support=task.support[task.support.labels != 3]))


def test_no_labels_at_all_is_refused() -> None:
    with pytest.raises(NeedsError, match="GDA needs labelled images"):
        GDA().fit(example({Need.TEXT}).task)
