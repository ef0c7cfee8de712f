"""The script behind the numbers on methods' pages: its tasks, its intervals, its tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.evidence import (
    ENCODERS,
    Outcome,
    Trial,
    class_subsets,
    clustered,
    main,
    markdown,
    parse_method,
    possible_shots,
    run_trial,
    tables,
    whurs19,
)

from clipwright.core.errors import UsageError
from clipwright.data.dataset import Bundle, Dataset, manifest
from clipwright.methods.example import example
from clipwright.methods.taskres import TaskRes
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.task import TextFeatures


def made_up(name: str, seed: int, *, text: bool = True) -> Prepared:
    """Five classes of 14 rows."""
    made = example(classes=5, shots=14, seed=seed, dtype=torch.float32)
    rows, task = made.task.support, made.task
    assert rows is not None
    table = manifest([str(i) for i in range(len(rows))], rows.labels.numpy())
    return prepare(Dataset(name, task.class_names, table, None, Bundle(rows, task.text if text else None)), None)


def test_methods_are_read_with_their_settings_and_labels() -> None:
    assert parse_method("TaskRes:alpha=1,epochs=3") == ("TaskRes:alpha=1,epochs=3", TaskRes(alpha=1, epochs=3))
    assert parse_method("wide=TaskRes:alpha=1") == ("wide", TaskRes(alpha=1))
    assert parse_method("taskres")[1] == TaskRes()
    with pytest.raises(UsageError, match="no hyper-parameter"):
        parse_method("TaskRes:beta=1")


def test_an_interval_over_clusters_resamples_clusters_not_tasks() -> None:
    # ten equal tasks per cluster tell no more than one
    few = clustered([0.1, 0.2, 0.6, 0.7], list("abcd"))
    many = clustered([0.1, 0.2, 0.6, 0.7] * 10, list("abcd") * 10)
    assert few.mean == pytest.approx(0.4)
    assert (many.low, many.high) == pytest.approx((few.low, few.high))
    assert few.low < 0.25
    assert few.high > 0.55
    assert not clustered([0.1, 0.2], ["a", "a"]).known
    # all 27 equally probable resamples of three clusters with unequal numbers of tasks
    values, sizes = np.array([0.0, 0.5, 1.0]), np.array([1, 2, 3])
    index = np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(-1, 3)
    every = (values * sizes)[index].sum(1) / sizes[index].sum(1)
    found = clustered(np.repeat(values, sizes), np.repeat(["a", "b", "c"], sizes).tolist())
    assert (found.low, found.high) == pytest.approx(np.percentile(np.repeat(every, 100), [2.5, 97.5]))


def test_subsets_of_classes_are_fixed_and_differ() -> None:
    found = class_subsets(19, ((10, 0), (10, 1)))
    assert found == class_subsets(19, ((10, 0), (10, 1)))
    assert [len(set(c)) for c in found.values()] == [19, 10, 10]
    assert found["10 classes, a"] != found["10 classes, b"]


def test_a_table_compares_with_the_first_method_and_leaves_out_what_can_not_run() -> None:
    methods = dict(parse_method(t) for t in ("TaskRes:epochs=2", "ZeroShot"))
    outcomes = [
        Outcome(t, run_trial(t, methods, [1, 4, 16], 3, seed=0))
        for t in (Trial(name, made_up(name, seed)) for seed, name in enumerate("ab"))
    ]
    assert possible_shots(outcomes[0].trial.prepared, [1, 4, 10, 11, 16]) == [1, 4, 10]  # 4 of 14 are left to score
    accuracy, difference = tables(outcomes, list(methods), [1, 4, 16])
    assert [row[0] for row in accuracy] == ["top-1, %", "TaskRes:epochs=2", "ZeroShot"]
    assert accuracy[1][3] == "-"  # no class has 16 labels to give
    # by hand
    cells = [c for o in outcomes for c in o.results.cells.to_pylist()]
    zero = [np.mean([c["top1"] for c in cells if (c["dataset"], c["method"]) == (d, "ZeroShot")]) for d in "ab"]
    assert accuracy[2][1].startswith(f"{100 * np.mean(zero):.1f} (")
    ours = [
        np.mean([c["top1"] for c in cells if (c["dataset"], c["method"], c["shots"]) == (d, "TaskRes:epochs=2", 4)])
        for d in "ab"
    ]
    assert difference[1][2].startswith(f"{100 * (np.mean(zero) - np.mean(ours)):+.1f} (")
    assert sum(map(int, difference[1][2].split(", ")[1].split("/"))) == 2
    assert markdown(difference).splitlines()[1] == "|---|---|---|---|"


def test_a_method_without_its_needs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    trial = Trial("a", replace(made_up("a", 0), text=None))
    methods = dict(parse_method(t) for t in ("TaskRes", "ZeroShot"))
    with pytest.raises(Exception, match="none of the methods"):
        run_trial(trial, methods, [1], 1, seed=0)
    assert "TaskRes left out" in capsys.readouterr().err


def test_the_tasks_of_real_features(shared: Path) -> None:
    trials = list(whurs19(shared / "realdata"))
    assert len(trials) == 60
    assert [t.cluster for t in trials[::15]] == list(ENCODERS)
    by_name = {t.prepared.dataset.name: t.prepared for t in trials}
    for name, prepared in by_name.items():
        assert isinstance(prepared.text, TextFeatures)
        assert prepared.text.n_classes == len(prepared.dataset.class_names), name
        assert prepared.dataset.ids == by_name[name.replace(name.split(" / ")[0], "clip_rn50")].dataset.ids


def zero_shot(prepared: Prepared) -> float:
    assert prepared.text is not None
    found = (prepared.features.unit_x() @ prepared.text.classifier().T).argmax(1)
    return float((found == prepared.features.labels).double().mean())


def test_weak_prompts_are_weak_and_all_prompts_are_the_published_classifier(shared: Path) -> None:
    trials = [t for t in whurs19(shared / "realdata") if " / 19 classes / " in t.prepared.dataset.name]
    accuracy = np.array([zero_shot(t.prepared) for t in trials]).reshape(4, 3)
    assert (100 * accuracy[:, 0]).round(2).tolist() == pytest.approx([71.54, 81.29, 95.22, 88.46], abs=0.11)
    assert (accuracy[:, 1] < accuracy[:, 2]).all()


@pytest.mark.slow
def test_the_command_writes_every_cell(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cells.json"
    arguments = "ZeroShot TaskRes:epochs=1 --group whurs19 --fast --draws 2 --shots 1,2 --markdown"
    main([*arguments.split(), "--shared", str(shared), "--out", str(out)])
    shown = capsys.readouterr().out
    assert "whurs19: 24 tasks (4 encoders), 2 draws each, seed 0." in shown
    assert shown.count("\n| TaskRes:epochs=1 |") == 2
    cells = json.loads(out.read_text())["cells"]
    assert len(cells) == 24 * 2 * (2 + 1)  # zero-shot at 0 shots, on what each draw leaves
