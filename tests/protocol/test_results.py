"""Results: means, intervals and ties, and files that load as they were saved or say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipwright.core.errors import DataError, FormatError
from clipwright.core.intervals import over_draws_and_samples, paired_shares, wilson
from clipwright.protocol.results import Results
from clipwright.protocol.schema import CELLS, PREDICTIONS

_GROUP = ("data", "tiny")


def _cell(method: str, shots: int, draw: int, right: np.ndarray, **more: Any) -> dict[str, Any]:
    base = {"dataset": "data", "backbone": "tiny", "method": method, "shots": shots, "draw": draw}
    figures = {"top1": float(right.mean()), "macro": 0.5, "nll": 1.0, "ece": 0.1, "brier": 0.2}
    cost = {"seconds_fit": 0.1 * (draw + 1), "seconds_predict": 0.01, "n_test": len(right)}
    bits = {"right": np.packbits(right).tobytes(), "labels_per_class": [shots, shots]}
    return base | figures | cost | bits | {"chosen": "{}", "how": "{}", "notes": [], "seed": 0} | more


def _results(n: int = 203) -> Results:
    rng = np.random.default_rng(0)
    hard = rng.random(n)
    rows = [_cell("Names", 0, 0, hard < 0.6)]
    for draw in range(5):
        luck = rng.normal(0, 0.01)
        rows.append(_cell("Good", 4, draw, hard < 0.9 + luck))
        rows.append(_cell("Alike", 4, draw, (hard < 0.9 + luck) ^ (rng.random(n) < 0.01)))
        rows.append(_cell("Poor", 4, draw, hard < 0.7 + luck))
    return Results.from_rows(rows, [{"dataset": "data", "backbone": "tiny"}])


def test_summary_is_the_mean_and_the_combined_interval() -> None:
    results = _results()
    names, good, *_ = results.summary()
    assert (names.method, names.shots, names.draws) == ("Names", 0, 1)
    expected = wilson(names.mean * 203, 203)
    assert (names.low, names.high) == pytest.approx((expected.low, expected.high))
    shares = list(results.values("Good", 4, _GROUP).values())
    expected = over_draws_and_samples(shares, 203)
    assert (good.mean, good.low, good.high) == pytest.approx((expected.mean, expected.low, expected.high))
    assert (good.draws, good.n_test, good.labels_per_class) == (5, 203, 4.0)
    assert good.seconds_fit == pytest.approx(0.3)


def test_the_best_leads_with_those_it_can_t_be_told_from() -> None:
    assert _results().leaders() == {
        ("data", "tiny", "Names", 0),
        ("data", "tiny", "Good", 4),
        ("data", "tiny", "Alike", 4),
    }


def test_differences_are_paired_by_draw_and_image() -> None:
    results = _results()
    found = results.difference(("Good", 4), ("Poor", 4), _GROUP)
    bits = {
        (r["method"], r["draw"]): np.unpackbits(np.frombuffer(r["right"], np.uint8), count=203)
        for r in results.cells.to_pylist()
    }
    expected = paired_shares([bits["Good", d] for d in range(5)], [bits["Poor", d] for d in range(5)])
    assert found == expected
    assert 0.0 not in found
    # Names alone were scored once and are compared with every draw; the difference turns with the sides.
    gain = results.difference(("Good", 4), ("Names", 0), _GROUP)
    loss = results.difference(("Names", 0), ("Good", 4), _GROUP)
    assert gain.mean == pytest.approx(-loss.mean)
    assert gain.low > 0.15
    with pytest.raises(DataError, match="share no draw"):
        results.difference(("Good", 4), ("Good", 8), _GROUP)


def test_saved_results_load_equal(tmp_path: Path) -> None:
    results = _results()
    kept = pa.table([["data"], ["tiny"], ["Good"], [4], [0], ["a <b>.png"], [1], [0], [0.7], [0.6]], schema=PREDICTIONS)
    results = Results(results.cells, results.runs, kept)
    results.save(tmp_path / "run")
    loaded = Results.load(tmp_path / "run")
    assert loaded.cells.equals(results.cells)
    assert loaded.runs == results.runs
    assert loaded.predictions.equals(kept)
    Results(results.cells, results.runs, PREDICTIONS.empty_table()).save(tmp_path / "run")
    assert not Results.load(tmp_path / "run").predictions.num_rows
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["results.parquet", "runs.json"]


def test_joined_runs_are_summarised_apart() -> None:
    one = _results()
    other = Results(one.cells.set_column(1, "backbone", pa.array(["big"] * len(one))), one.runs, one.predictions)
    both = Results.joined([one, other])
    assert len(both) == 2 * len(one)
    assert {r.group for r in both.summary()} == {("data", "tiny"), ("data", "big")}
    with pytest.raises(DataError, match="same cell"):
        Results.joined([one, one])


def test_columns_that_an_older_version_did_not_write_are_null(tmp_path: Path) -> None:
    results = _results()
    results.save(tmp_path)
    pq.write_table(results.cells.drop_columns(["temperature", "notes"]), tmp_path / "results.parquet")
    assert Results.load(tmp_path).cells.schema == CELLS


def _config(**changes: Any) -> str:
    return json.dumps({"kind": "clipwright-results", "format": 1, "runs": []} | changes)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (None, "holds no results"),
        ("{", "can't be read"),
        ("[]", "not written by clipwright"),
        (_config(kind="other"), "not written by clipwright"),
        (_config(format=99), "newer than 1: update clipwright"),
        (_config(), "lacks results.parquet"),
    ],
)
def test_foreign_damaged_and_newer_folders_are_refused(tmp_path: Path, config: str | None, says: str) -> None:
    if config is not None:
        (tmp_path / "runs.json").write_text(config, encoding="utf-8")
    with pytest.raises(FormatError, match=says):
        Results.load(tmp_path)


def test_a_torn_table_is_refused(tmp_path: Path) -> None:
    _results().save(tmp_path)
    whole = (tmp_path / "results.parquet").read_bytes()
    (tmp_path / "results.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="is damaged"):
        Results.load(tmp_path)
