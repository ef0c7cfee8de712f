"""Means over data sets and backbones: what is shared, paired, clustered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipwright.protocol.means import means
from clipwright.protocol.results import Results

N = 300


def cell(group: tuple[str, str], method: str, shots: int, draw: int, right: np.ndarray) -> dict[str, Any]:
    dataset, backbone = group
    return {
        "dataset": dataset,
        "backbone": backbone,
        "method": method,
        "shots": shots,
        "draw": draw,
        "top1": float(right.mean()),
        "macro": 0.5,
        "nll": 1.0,
        "ece": 0.1,
        "brier": 0.1,
        "seconds_fit": 0.1,
        "seconds_predict": 0.1,
        "n_test": N,
        "right": np.packbits(right).tobytes(),
        "labels_per_class": [shots],
    }


def results(groups: dict[tuple[str, str], float], gap: float = 0.03, draws: int = 4) -> Results:
    rng = np.random.default_rng(0)
    rows = []
    for group, share in groups.items():
        for draw in range(draws):
            luck = rng.random(N)
            rows.append(cell(group, "A", 4, draw, luck < share + gap))
            rows.append(cell(group, "B", 4, draw, luck < share))
        rows.append(cell(group, "names", 0, 0, rng.random(N) < share - 0.1))
    runs = [{"dataset": d, "backbone": b, "test_rule": "split"} for d, b in groups]
    return Results.from_rows(rows, runs)


GROUPS = {("x", "tiny"): 0.6, ("x", "big"): 0.7, ("y", "tiny"): 0.8, ("z", "tiny"): 0.85}


def test_the_mean_is_the_mean_over_tasks_and_best_and_ties_are_marked() -> None:
    made = results(GROUPS)
    found = {row.method: row for row in means(made).rows}
    for method, row in found.items():
        shots = 0 if method == "names" else 4
        expected = np.mean([np.mean([*made.values(method, shots, g).values()]) for g in GROUPS])
        assert row.mean == pytest.approx(expected)
        assert row.low <= row.mean <= row.high
        assert (row.shots, row.tasks) == (4, 4)
    assert [row.standing for row in found.values()] == ["best", "", ""]
    assert found["A"].difference is None
    gap = found["B"].difference
    assert gap is not None
    assert gap.high < 0
    assert (gap.high - gap.low) < (found["B"].high - found["B"].low)
    tied = {row.method: row.standing for row in means(results(GROUPS, gap=0.0)).rows}
    assert tied["A"] in {"best", "tied"}
    assert tied["B"] in {"best", "tied"}


@pytest.mark.parametrize(
    ("groups", "kind", "clusters"),
    [
        (GROUPS, "data set", 3),
        ({("x", "tiny"): 0.6, ("x", "big"): 0.7}, "backbone", 2),
        ({("x", "tiny"): 0.6}, "none", 1),
    ],
)
def test_clusters_are_data_sets_where_there_are_several(groups: Any, kind: str, clusters: int) -> None:
    found = means(results(groups))
    assert (found.cluster_kind, found.clusters) == (kind, clusters)


def test_only_what_all_tasks_share_counts() -> None:
    made = results(GROUPS)
    extra = cell(("x", "tiny"), "only here", 4, 0, np.ones(N, dtype=bool))
    found = means(Results.from_rows([*made.cells.to_pylist(), extra], made.runs))
    assert "only here" not in found.methods
    assert found.left_out == ("only here",)
