"""Tip-Adapter against the published code's arrays, its recorded runs on real features, and an independent reference."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.fitted import Fitted
from clipwright.methods.example import example
from clipwright.methods.tip_adapter import (
    ANCHOR,
    ONE_SHOT,
    Memory,
    TipAdapter,
    pick_pair,
    published_grid,
    right_on_grid,
)
from clipwright.task import Features, Need, Task, TextFeatures

Arrays = dict[str, Any]


@pytest.fixture(params=[np.float64, np.float32], ids=["float64", "float32"])
def arrays(golden: Path, request: pytest.FixtureRequest) -> Arrays:
    """The golden arrays in both precisions."""
    with np.load(golden / "tip_adapter.npz") as file:
        return {n: file[n].astype(request.param) if file[n].dtype == np.float64 else file[n] for n in file.files}


def golden_task(arrays: Arrays) -> Task:
    views = torch.from_numpy(arrays["support_views"]).transpose(0, 1)
    support = Features(views[:, 0], arrays["support_labels"], views=views)
    names = tuple(f"class {c}" for c in range(8))
    validation = Features(arrays["val_features"], arrays["val_labels"])
    return Task(names, TextFeatures(arrays["text"]), support, validation)


def test_golden_keys_and_logits(arrays: Arrays) -> None:
    method = TipAdapter(beta=float(arrays["beta"]), alpha=float(arrays["alpha"]))
    fitted = method.fit(golden_task(arrays))
    tolerance = 1e-10 if arrays["keys"].dtype == np.float64 else 1e-4
    np.testing.assert_allclose(fitted.head.state_dict()["keys"], arrays["keys"], rtol=0, atol=tolerance)
    logits = fitted(Features(arrays["test_features"]))
    np.testing.assert_allclose(logits, arrays["test_logits"], rtol=0, atol=tolerance)


def test_golden_grid_and_pair(arrays: Arrays) -> None:
    task = golden_task(arrays)
    fitted = TipAdapter(choice="first", search_scale=(12.0, 10.0)).fit(task)
    found = fitted.trace.chosen["beta"], fitted.trace.chosen["alpha"]
    assert found == pytest.approx((float(arrays["best_beta"]), float(arrays["best_alpha"])))
    assert fitted.trace.how["beta"] == fitted.trace.how["alpha"] == "validation"
    assert fitted.trace.labels_per_class == tuple(4 + n for n in np.bincount(arrays["val_labels"]))
    test = Features(arrays["test_features"])
    right = float((fitted(test).argmax(1).numpy() == arrays["test_labels"]).mean())
    assert 100 * right == pytest.approx(float(arrays["test_acc_at_best"]))
    counts = grid_of(task, fitted)
    np.testing.assert_allclose(100 * counts.numpy() / 72, arrays["val_acc_grid"], rtol=1e-6)


def grid_of(task: Task, fitted: Fitted, scale: tuple[float, float] = (12.0, 10.0)) -> torch.Tensor:
    assert task.validation is not None
    state = fitted.head.state_dict()
    memory = Memory(state["weight"], state["keys"], state["key_class"], task.logit_scale)
    x = task.validation.unit_x().to(memory.weight.dtype)
    betas, alphas = published_grid(scale[0], 200), published_grid(scale[1], 20)
    return right_on_grid(memory, x, task.validation.labels, betas, alphas)


# ---- recorded runs of the published code on real features -------------------------------------------------------

ENCODERS = ("clip_rn50", "clip_vitb32", "remoteclip_vitb32", "georsclip_vitl14")


class Recorded:
    """One encoder's bundle, and the recorded runs on it."""

    def __init__(self, shared: Path, encoder: str) -> None:
        with np.load(shared / "realdata" / f"whurs19_{encoder}.npz") as bundle:
            self.features = Features(torch.from_numpy(bundle["image_features"]).float(), bundle["labels"])
            self.text = TextFeatures(bundle["text_features"])
            self.names = tuple(map(str, bundle["class_names"]))
        folder = shared / "golden" / "real"
        runs = json.loads((folder / "whurs19_results.json").read_text())
        self.runs = [r for r in runs if r["dataset"] == f"whurs19_{encoder}" and r["method"].startswith("tip_adapter")]
        with np.load(folder / "splits_whurs19.npz") as splits:
            self.splits = {name: splits[name] for name in splits.files}

    def task(self, run: dict[str, Any]) -> Task:
        seed = run["split_seed"]
        rows = self.splits[f"seed{seed}_train"][:, : run["shots"]].ravel()
        validation = self.splits[f"seed{seed}_val"].ravel()
        return Task(self.names, self.text, self.features[rows], self.features[validation], seed=seed)

    def right(self, run: dict[str, Any], fitted: Fitted) -> int:
        test = self.features[self.splits[f"seed{run['split_seed']}_test"]]
        return int((fitted(test).argmax(1) == test.labels).sum())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs(shared: Path, encoder: str) -> None:
    """At the stored pair, and with our own search: a plateau of equal counts may have another first point."""
    recorded = Recorded(shared, encoder)
    assert len(recorded.runs) == 10
    for run in recorded.runs:
        task = recorded.task(run)
        fitted = TipAdapter(beta=run["beta"], alpha=run["alpha"]).fit(task)
        assert abs(recorded.right(run, fitted) - run["correct"]) <= 2, run
        if run["method"] != "tip_adapter":
            continue
        searched = TipAdapter(choice="first", search_scale=tuple(run["search_scale"])).fit(task)
        found = searched.trace.chosen
        if (found["beta"], found["alpha"]) == pytest.approx((run["beta"], run["alpha"])):
            assert abs(recorded.right(run, searched) - run["correct"]) <= 2, run
        counts = grid_of(task, fitted, tuple(run["search_scale"]))
        betas, alphas = published_grid(run["search_scale"][0], 200), published_grid(run["search_scale"][1], 20)
        place = int((betas - run["beta"]).abs().argmin()), int((alphas - run["alpha"]).abs().argmin())
        assert int(counts[place]) >= int(counts.max()) - 1, "the stored pair is not among the best"


# ---- an independent reference -----------------------------------------------------------------------------------


def by_hand(
    task: Task, x: np.ndarray, beta: float, alpha: float, *, without: int | None = None, boost: bool = False
) -> np.ndarray:
    """Logits of one unit row in plain loops; `without` leaves a support row out and gives its vote to its class."""
    assert task.text is not None
    assert task.support is not None
    texts, support, y = task.text.classifier().numpy(), task.support.x.numpy(), task.support.labels.numpy()
    logits = task.logit_scale * np.array([x @ t for t in texts])
    for c in range(len(texts)):
        votes = [
            np.exp(-beta * (1 - x @ k / np.linalg.norm(k))) for i, k in enumerate(support) if y[i] == c and i != without
        ]
        share = len(votes) + 1 if boost and without is not None and y[without] == c else len(votes)
        logits[c] += alpha * np.sum(votes) * (share / max(1, len(votes)))
    return np.asarray(logits)


def uneven(**options: Any) -> Task:
    """Classes of 1, 2, 3, 3 and 3 images."""
    task = example({Need.TEXT, Need.LABELS}, **options).task
    assert task.support is not None
    return dataclasses.replace(task, support=task.support[[0, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14]], logit_scale=10.0)


def test_logits_with_unequal_classes() -> None:
    task = uneven()
    x = example().test.unit_x()
    found = TipAdapter(beta=3.0, alpha=2.0).fit(task).head(x)
    expected = np.stack([by_hand(task, row, 3.0, 2.0) for row in x.numpy()])
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_leaving_out_is_fitting_without() -> None:
    """Rows of a class with a single image aren't scored: nothing else could speak for them."""
    task = uneven()
    assert task.support is not None
    scale, steps = (9.0, 7.0), (5, 4)
    fitted = TipAdapter(search_scale=scale, search_steps=steps, choice="first").fit(task)
    y = task.support.labels.numpy()
    betas, alphas = published_grid(scale[0], steps[0]).tolist(), published_grid(scale[1], steps[1]).tolist()
    rows = task.support.unit_x().numpy()

    def right(beta: float, alpha: float) -> int:
        held = [i for i in range(len(y)) if (y == y[i]).sum() > 1]
        logits = [by_hand(task, rows[i], beta, alpha, without=i, boost=True) for i in held]
        return sum(int(z.argmax() == y[i]) for z, i in zip(logits, held, strict=True))

    counts = np.array([[right(b, a) for a in alphas] for b in betas])
    i, j = np.unravel_index(counts.argmax(), counts.shape)
    assert fitted.trace.chosen["beta"] == pytest.approx(betas[i])
    assert fitted.trace.chosen["alpha"] == pytest.approx(alphas[j])
    assert fitted.trace.how["beta"] == "cross-validation"
    assert fitted.trace.labels_per_class == (1, 2, 3, 3, 3)


def test_the_search_in_blocks_is_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    task = uneven()
    whole = TipAdapter().fit(task).trace.chosen
    monkeypatch.setattr("clipwright.methods.tip_adapter._BLOCK", 3000)
    assert TipAdapter().fit(task).trace.chosen == whole


# ---- the method's own rules -------------------------------------------------------------------------------------


def test_one_shot_takes_the_fixed_pair() -> None:
    trace = TipAdapter().fit(example({Need.TEXT, Need.LABELS}, shots=1).task).trace
    assert (trace.chosen["beta"], trace.chosen["alpha"]) == ONE_SHOT
    assert trace.how["beta"] == "rule"


@pytest.mark.parametrize("shots", [1, 3])
def test_given_values_stay(shots: int) -> None:
    task = example({Need.TEXT, Need.LABELS}, shots=shots).task
    trace = TipAdapter(beta=2.0).fit(task).trace
    assert trace.chosen["beta"] == 2.0
    assert trace.how["beta"] == "user"
    assert trace.how["alpha"] != "user"
    assert TipAdapter(alpha=1.17).fit(task).trace.chosen["alpha"] == 1.17


def test_equal_pairs_are_decided_by_the_choice() -> None:
    betas, alphas = torch.tensor([1.0, 10.0, 50.0]), torch.tensor([1.0, 9.0, 50.0])
    counts = torch.full((3, 3), 7)
    assert pick_pair(counts, betas, alphas, "first") == (1.0, 1.0)
    assert pick_pair(counts, betas, alphas, "nearest") == (10.0, 9.0)
    counts[0, 2] = 8
    assert pick_pair(counts, betas, alphas, "nearest") == (1.0, 50.0)
    assert ANCHOR == (12.0, 10.0)


def test_keys_are_means_of_raw_views_unless_switched_off() -> None:
    task = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
    assert task.support is not None
    assert task.support.views is not None
    fixed: dict[str, Any] = {"beta": 1.0, "alpha": 1.0}
    keys = TipAdapter(**fixed).fit(task).head.state_dict()["keys"]
    mean = task.support.views.numpy().mean(1)
    np.testing.assert_allclose(keys, mean / np.linalg.norm(mean, axis=1, keepdims=True))
    clean = TipAdapter(**fixed, use_views=False).fit(task).head.state_dict()["keys"]
    assert torch.equal(clean, task.support.unit_x())


def test_a_class_without_labels_is_named() -> None:
    task = example({Need.TEXT, Need.LABELS}).task
    assert task.support is not None
    with pytest.raises(DataError, match="class 'class 3' has no labelled image"):
        TipAdapter().fit(dataclasses.replace(task, support=task.support[task.support.labels != 3]))
