"""One cell: its metrics before and after the temperature, and what it cost."""

from __future__ import annotations

import numpy as np
import pytest
from tests.protocol.conftest import MakePrepared

from clipwright.core.metrics import score_rows
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.protocol.bench import Bench, Job
from clipwright.protocol.cells import predictions, run_cell
from clipwright.protocol.plan import Arm, make_plan


def bench_of(make_prepared: MakePrepared, method: Method, **more: object) -> tuple[Bench, Job]:
    plan = make_plan({"m": method}, (4,), 1, **more)  # type: ignore[arg-type] # passed on
    bench = Bench(make_prepared((20, 20, 20), test=5), plan)
    return bench, next(iter(bench.jobs()))


def test_metrics_are_those_of_the_logits_and_of_the_tempered_logits(make_prepared: MakePrepared) -> None:
    bench, job = bench_of(make_prepared, make("LinearProbe", C=10.0), calibrate=True)
    cell, fitted = run_cell(bench, job)
    rows, features = bench.test(0)
    logits = fitted(features).double().numpy()
    before, after = (score_rows(logits / t, bench.labels[rows]) for t in (1.0, cell.row["temperature"]))
    for name in ("top1", "macro", "nll", "ece", "brier", "aurc"):
        assert cell.row[name] == pytest.approx(before.summary()[name])
    for name in ("nll", "ece", "brier"):
        assert cell.row[f"{name}_calibrated"] == pytest.approx(after.summary()[name])
    assert cell.row["per_class"] == pytest.approx(before.per_class().tolist())
    np.testing.assert_array_equal(
        np.unpackbits(np.frombuffer(cell.row["right"], np.uint8), count=len(rows)), before.correct
    )
    table = predictions(bench, job, cell)
    np.testing.assert_allclose(table["confidence_calibrated"].to_numpy(), after.confidence)


def test_costs_are_counted(make_prepared: MakePrepared) -> None:
    bench, job = bench_of(make_prepared, make("TaskRes", epochs=2))
    row = run_cell(bench, job)[0].row
    assert (row["images"], row["texts"], row["calls"], row["tokens"]) == (12, 3, 0, 0)
    assert row["peak_mib"] is None or row["peak_mib"] > 10
    assert row["seconds_fit"] > 0
    bench, job = bench_of(make_prepared, make("NearestMean"))
    assert run_cell(bench, job)[0].row["texts"] == 0


def test_what_was_chosen_on_is_stored(make_prepared: MakePrepared) -> None:
    def policy(method: Method) -> str:
        bench, job = bench_of(make_prepared, method)
        return str(run_cell(bench, job)[0].row["validation"])

    assert policy(make("TaskRes", epochs=2)) == "none"
    assert policy(make("LinearProbe")) == "cross-validation"
    bench, _ = bench_of(make_prepared, make("LinearProbe"), validation="few-shot")
    arm = bench.plan.arms[1]
    assert arm.name == "m+val"
    assert run_cell(bench, Job(Arm("m+val", arm.method, "few-shot"), 4, 0))[0].row["validation"] == "few-shot"
