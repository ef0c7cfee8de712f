"""TaskRes against the published code's arrays, its recorded runs on real features, and its rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, NeedsError
from clipwright.methods.conformance import CHECKS, run_check
from clipwright.methods.example import example
from clipwright.methods.taskres import TaskRes, default_rate
from clipwright.methods.taskres_fit import residual_logits, taskres_fit
from clipwright.task import Features, Need, Task, TextFeatures
from clipwright.training.batches import split_batches
from clipwright.training.loop import DivergedError
from clipwright.training.schedules import dassl_schedule

Arrays = dict[str, torch.Tensor]
TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (2e-5, 1e-3)}  # values and gradients; after Adam steps


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def arrays(golden: Path, request: pytest.FixtureRequest) -> Arrays:
    """The golden arrays in both precisions."""
    with np.load(golden / "taskres.npz") as file:
        loaded = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    return {name: a.to(request.param) if a.is_floating_point() else a for name, a in loaded.items()}


def close(found: torch.Tensor, expected: torch.Tensor, *, after_steps: bool = False) -> None:
    tolerance = TOLERANCE[expected.dtype][after_steps]
    assert found.dtype == expected.dtype
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize(("at", "residual"), [("X0", None), ("Xr", "X_random")])
def test_golden_logits_loss_and_gradient(arrays: Arrays, at: str, residual: str | None) -> None:
    base = arrays["base_text"]
    x = (torch.zeros_like(base) if residual is None else arrays[residual].clone()).requires_grad_()
    logits = residual_logits(
        arrays["image_features"], base, x, alpha=float(arrays["alpha"]), logit_scale=float(arrays["logit_scale"])
    )
    close(logits.detach(), arrays[f"logits_{at}"])
    loss = torch.nn.functional.cross_entropy(logits, arrays["labels"])
    close(loss.detach(), arrays[f"loss_{at}"])
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert x.grad is not None
    close(x.grad, arrays[f"grad_{at}"])


def fitted(arrays: Arrays, learning_rates: list[float]) -> tuple[torch.Tensor, list[float]]:
    whole = torch.arange(len(arrays["labels"]))
    return taskres_fit(
        arrays["image_features"],
        arrays["labels"],
        arrays["base_text"],
        batches=[[whole]] * len(learning_rates),
        learning_rates=learning_rates,
        alpha=float(arrays["alpha"]),
        weight_decay=float(arrays["adam_wd"]),
        logit_scale=float(arrays["logit_scale"]),
    )


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_golden_adam_steps(arrays: Arrays, steps: int) -> None:
    residual, losses = fitted(arrays, [2e-3] * steps)
    close(residual, arrays[f"X_after_{steps}"], after_steps=True)
    close(torch.tensor(losses, dtype=residual.dtype), arrays["losses_20steps"][:steps], after_steps=True)


def test_golden_scheduled_epochs(arrays: Arrays) -> None:
    residual, _ = fitted(arrays, dassl_schedule(2e-3, 30))
    close(residual, arrays["X_after_30_scheduled_epochs"], after_steps=True)


# ---- recorded runs of the published code on real features -------------------------------------------------------

ENCODERS = ("clip_rn50", "clip_vitb32", "remoteclip_vitb32", "georsclip_vitl14")
PUBLISHED: dict[str, Any] = {
    "learning_rate": 2e-3,
    "legacy_schedule": True,
    "legacy_weight_decay": True,
    "legacy_drop_last": True,
}
SCALES: dict[str, Any] = {"taskres": 1.0, "taskres_T8": "auto", "taskres_E200": 1.0}


class Recorded:
    """One encoder's bundle, and the recorded runs on it."""

    def __init__(self, shared: Path, encoder: str) -> None:
        with np.load(shared / "realdata" / f"whurs19_{encoder}.npz") as bundle:
            self.features = Features(torch.from_numpy(bundle["image_features"]).float(), bundle["labels"])
            self.text = TextFeatures(bundle["text_features"])
            self.names = tuple(map(str, bundle["class_names"]))
        folder = shared / "golden" / "real"
        runs = json.loads((folder / "whurs19_results.json").read_text())
        self.runs = [r for r in runs if r["dataset"] == f"whurs19_{encoder}" and r["method"] in SCALES]
        with np.load(folder / "splits_whurs19.npz") as splits:
            self.splits = {name: splits[name] for name in splits.files}

    def task(self, run: dict[str, Any]) -> Task:
        rows = self.splits[f"seed{run['split_seed']}_train"][:, : run["shots"]].ravel()
        return Task(self.names, self.text, self.features[rows], seed=run["split_seed"])

    def test(self, run: dict[str, Any]) -> Features:
        return self.features[self.splits[f"seed{run['split_seed']}_test"]]


def recorded_batches(run: dict[str, Any], n: int) -> Iterator[list[torch.Tensor]]:
    rng = np.random.RandomState(run["split_seed"])  # the recorded order comes from it
    for _ in range(run["epochs"]):
        yield split_batches(torch.from_numpy(rng.permutation(n)), 256, drop_last=True)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs_with_their_batch_order(shared: Path, encoder: str) -> None:
    recorded = Recorded(shared, encoder)
    assert len(recorded.runs) == 13
    for run in recorded.runs:
        task, test = recorded.task(run), recorded.test(run)
        assert task.support is not None
        base = run["T_scale"] * recorded.text.classifier()
        residual, _ = taskres_fit(
            task.support.x,
            task.support.labels,
            base,
            batches=list(recorded_batches(run, len(task.support))),
            learning_rates=dassl_schedule(run["lr"], run["epochs"]),
            alpha=run["alpha"],
            weight_decay=run["wd"],
        )
        correct = int((residual_logits(test.x, base, residual).argmax(1) == test.labels).sum())
        assert abs(correct - run["correct"]) <= 2, run


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs_by_the_method_itself(shared: Path, encoder: str) -> None:
    """The published settings; below 256 rows the batch order can't matter."""
    recorded = Recorded(shared, encoder)
    for run in recorded.runs:
        method = TaskRes(
            text_scale=SCALES[run["method"]], epochs=200 if run["method"] == "taskres_E200" else None, **PUBLISHED
        )
        fit, test = method.fit(recorded.task(run)), recorded.test(run)
        assert fit.trace.chosen["epochs"] == run["epochs"]
        assert fit.trace.chosen["text_scale"] == pytest.approx(run["T_scale"], rel=1e-6)
        correct = int((fit(test).argmax(1) == test.labels).sum())
        assert abs(correct - run["correct"]) <= 2, run


# ---- the method's own rules -------------------------------------------------------------------------------------


def case(shots: int = 3, **options: Any) -> Task:
    return example({Need.TEXT, Need.LABELS}, shots=shots, **options).task


def weights(task: Task, **fields: Any) -> torch.Tensor:
    weight: torch.Tensor = TaskRes(**fields).fit(task).head.state_dict()["weight"]
    return weight


@pytest.mark.parametrize(("shots", "epochs"), [(1, 100), (4, 100), (5, 200), (16, 200)])
def test_epochs_follow_the_shots(shots: int, epochs: int) -> None:
    trace = TaskRes().fit(case(shots)).trace
    assert trace.chosen["epochs"] == epochs
    assert trace.how["epochs"] == "rule"
    assert len(trace.losses) == epochs
    assert trace.losses[-1] < trace.losses[0]
    assert trace.labels_per_class == (shots,) * 5


def test_the_trace_says_where_values_came_from() -> None:
    trace = TaskRes(alpha=1.0, epochs=2).fit(case()).trace
    assert trace.how["alpha"] == trace.how["epochs"] == "user"
    assert trace.how["batch_size"] == "fixed"
    assert trace.how["text_scale"] == trace.how["learning_rate"] == "rule"
    assert TaskRes(learning_rate=2e-3).fit(case()).trace.how["learning_rate"] == "user"


@pytest.mark.parametrize(
    ("dim", "shots", "steps", "rate"),
    [
        (1024, 1, 1, 2e-3),  # the paper's own setting
        (256, 1, 1, 4e-3),
        (1024, 4, 1, 4e-3),
        (1024, 16, 4, 4e-3),
        (1024, 400, 1, 8e-3),  # as at 16
        (1024, 2.25, 0, 3e-3),
    ],
)
def test_the_default_learning_rate(dim: int, shots: float, steps: int, rate: float) -> None:
    assert default_rate(dim, shots, steps) == pytest.approx(rate, rel=1e-12)


def test_the_default_learning_rate_is_that_of_the_task() -> None:
    found = TaskRes(batch_size=4).fit(case(3)).trace  # 15 rows in 4 steps, 16 dimensions
    assert found.chosen["learning_rate"] == pytest.approx(default_rate(16, 3, 4), rel=1e-12)
    dropped = TaskRes(batch_size=4, legacy_drop_last=True).fit(case(3)).trace
    assert dropped.chosen["learning_rate"] == pytest.approx(default_rate(16, 3, 3), rel=1e-12)
    task = case(3)
    assert task.support is not None
    uneven = Task(task.class_names, task.text, task.support[torch.arange(14)])
    assert TaskRes().fit(uneven).trace.chosen["learning_rate"] == pytest.approx(default_rate(16, 14 / 5, 1))


def test_default_settings_against_a_plain_reference() -> None:
    """Adam and the gradient written out, in float64, one class at a time."""
    task = case(3)
    assert task.support is not None
    assert task.text is not None
    x, y = task.support.x.numpy(), task.support.labels.numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    prompts = task.text.x.numpy().reshape(3, 5, 16)
    mean = (prompts / np.linalg.norm(prompts, axis=2, keepdims=True)).mean(0)
    base = 8 * mean / np.linalg.norm(mean, axis=1, keepdims=True)
    residual, first, second = np.zeros_like(base), np.zeros_like(base), np.zeros_like(base)
    rate = 2e-3 * (1024 / 16 * 3) ** 0.5
    for step in range(100):
        w = base + 0.5 * residual
        z = np.stack([100 * (x @ row) / np.sqrt(row @ row) for row in w], axis=1)
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        for c, row in enumerate(w):
            length = np.sqrt(row @ row)
            turn = np.eye(16) / length - np.outer(row, row) / length**3
            gradient = 0.5 * turn @ (100 * (p[:, c] - (y == c)) @ x / len(x))
            first[c] = 0.9 * first[c] + 0.1 * gradient
            second[c] = 0.999 * second[c] + 0.001 * gradient**2
            now = rate / 2 * (1 + np.cos(np.pi * step / 100))
            residual[c] -= (
                now * first[c] / (1 - 0.9 ** (step + 1)) / (np.sqrt(second[c] / (1 - 0.999 ** (step + 1))) + 1e-8)
            )
    w = base + 0.5 * residual
    expected = torch.from_numpy(w / np.linalg.norm(w, axis=1, keepdims=True))
    torch.testing.assert_close(weights(task), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("side", ["text", "image"])
@pytest.mark.parametrize("base", ["regular", "enhanced"])
@pytest.mark.parametrize("check", CHECKS)
def test_every_configuration_conforms(check: str, base: str, side: Any) -> None:
    run_check(check, TaskRes(base=base, side=side, epochs=5))


def test_some_of_the_classes_in_another_order() -> None:
    made = example({Need.TEXT, Need.LABELS})
    for side in ("text", "image"):
        head = TaskRes(side=side, epochs=5).fit(made.task).head
        wanted = torch.tensor([4, 1, 2])
        assert torch.equal(head.restrict(wanted)(made.test.x), head(made.test.x)[:, wanted])


class TestImageSide:
    """One residual for all images."""

    def test_against_autograd_of_the_formula(self) -> None:
        task = case(3)
        assert task.support is not None
        assert task.text is not None
        rows = 8 * torch.nn.functional.normalize(task.support.x, dim=1)
        text = task.text.classifier()
        shift = torch.zeros(16, dtype=torch.float64, requires_grad=True)
        adam = torch.optim.Adam([shift], lr=1e-2)
        for _ in range(20):
            adam.zero_grad()
            z = 100 * torch.nn.functional.normalize(rows + 0.5 * shift, dim=1) @ text.T
            torch.nn.functional.cross_entropy(z, task.support.labels).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            adam.step()
        fit = TaskRes(side="image", epochs=20, learning_rate=1e-2, schedule="constant").fit(task)
        torch.testing.assert_close(fit.head.state_dict()["shift"], 0.5 * shift.detach(), rtol=0, atol=1e-9)
        expected = 100 * torch.nn.functional.normalize(rows + 0.5 * shift.detach(), dim=1) @ text.T
        torch.testing.assert_close(fit(task.support), expected, rtol=0, atol=1e-7)

    def test_raw_scale_adds_to_the_rows_as_they_come(self) -> None:
        task = case(3)
        assert task.support is not None
        head = TaskRes(side="image", epochs=5, legacy_raw_scale=True).fit(task).head
        state, x = head.state_dict(), task.support.x
        assert float(state["length"]) == 0
        expected = 100 * torch.nn.functional.normalize(x + state["shift"], dim=1) @ state["weight"].T
        torch.testing.assert_close(head(x), expected, rtol=0, atol=1e-9)
        assert not torch.allclose(head(2 * x), head(x))


def test_raw_and_unit_texts_give_one_classifier_by_default() -> None:
    task = case()
    assert task.text is not None
    rows = task.text.x / task.text.x.norm(dim=1, keepdim=True)
    unit = Task(task.class_names, TextFeatures(rows, task.text.classes), task.support)
    torch.testing.assert_close(weights(unit), weights(task), rtol=0, atol=1e-12)
    assert float((weights(unit, text_scale=1) - weights(task, text_scale=8)).abs().max()) > 1e-3


def test_texts_as_given_are_the_papers_own() -> None:
    task = case()
    assert task.text is not None
    assert task.support is not None
    base = task.text.x.reshape(3, 5, -1).mean(0)
    batches = [[torch.arange(len(task.support))]] * 100
    residual, losses = taskres_fit(
        task.support.x, task.support.labels, base, batches=batches, learning_rates=dassl_schedule(2e-3, 100)
    )
    fit = TaskRes(legacy_raw_scale=True, **PUBLISHED).fit(task)
    expected = torch.nn.functional.normalize(base + 0.5 * residual, dim=1)
    torch.testing.assert_close(fit.head.state_dict()["weight"], expected, rtol=0, atol=1e-12)
    assert fit.trace.losses == losses
    assert fit.trace.chosen["text_scale"] == 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"weight_decay": 0.01},
        {"schedule": "constant"},
        {"base": "enhanced"},
        {"legacy_schedule": True},
        {"legacy_weight_decay": True},
        {"legacy_raw_scale": True},
        {"alpha": 1.0},
        {"learning_rate": 1e-2},
        {"epochs": 7},
        {"batch_size": 4},
        {"batch_size": 4, "legacy_drop_last": True, "learning_rate": 2e-3},
        {"averaging": "raw_mean"},
    ],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    task = case()
    others = {name: value for name, value in fields.items() if name != "legacy_drop_last"}
    baseline = others if "legacy_drop_last" in fields else {}
    assert not torch.equal(weights(task, **fields), weights(task, **baseline))


def test_a_vanishing_learning_rate_leaves_zero_shot() -> None:
    task = case()
    found = weights(task, learning_rate=1e-12, schedule="constant")
    assert task.text is not None
    torch.testing.assert_close(found, task.text.classifier(), rtol=0, atol=1e-9)


def test_seed_decides_the_batch_order() -> None:
    same, other = weights(case(), batch_size=4), weights(Task(**{**vars(case()), "seed": 1}), batch_size=4)
    assert torch.equal(same, weights(case(), batch_size=4))
    assert not torch.equal(same, other)


class TestViews:
    """One stored view per image and epoch."""

    def task(self, seed: int = 0) -> Task:
        made = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
        return Task(made.class_names, made.text, made.support, seed=seed)

    def test_views_are_trained_on_unless_switched_off(self) -> None:
        task = self.task()
        assert torch.equal(weights(task, use_views=False), weights(case()))
        assert not torch.equal(weights(task), weights(case()))
        assert Need.VIEWS in TaskRes().requires().optional
        assert Need.VIEWS not in TaskRes(use_views=False).requires().optional

    def test_the_seed_decides_which(self) -> None:
        assert torch.equal(weights(self.task()), weights(self.task()))
        assert not torch.equal(weights(self.task()), weights(self.task(1)))

    def test_a_single_view_that_equals_the_clean_one_changes_nothing(self) -> None:
        task = self.task()
        assert task.support is not None
        support = Features(task.support.x, task.support.y, views=task.support.x[:, None])
        assert torch.equal(weights(Task(task.class_names, task.text, support)), weights(case()))

    def test_the_clean_view_is_used_where_there_are_no_views_in_the_array(self) -> None:
        task = self.task()
        assert task.support is not None
        support = Features(task.support.x, task.support.y, views=task.support.x[:, None][:, :0])
        assert torch.equal(weights(Task(task.class_names, task.text, support)), weights(case()))


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = weights(case())
    with torch.inference_mode():
        assert torch.equal(weights(case()), expected)


def test_a_diverging_fit_says_so() -> None:
    with pytest.raises(DivergedError, match=r"diverged in epoch 1 .*smaller learning rate"):
        weights(case(), learning_rate=1e308, schedule="constant")


def test_a_class_without_labels_is_named() -> None:
    task = case()
    assert task.support is not None
    rows = task.support[task.support.labels != 3]
    with pytest.raises(DataError, match="class 'class 3' has no labelled image"):
        TaskRes().fit(Task(task.class_names, task.text, rows))


def test_no_labels_at_all_names_what_would_run() -> None:
    with pytest.raises(NeedsError, match=r"TaskRes needs labelled images.*these would run: ZeroShot, CODER"):
        TaskRes().fit(example({Need.TEXT}).task)


def test_texts_without_length_are_refused() -> None:
    task = case()
    with pytest.raises(DataError, match="zero vectors"):
        TaskRes().fit(Task(task.class_names, TextFeatures(torch.zeros(5, 16)), task.support))
