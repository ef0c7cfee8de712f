"""Only what had equally many labels is set beside each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.report.made import CONFIG, results

from clipwright.protocol.results import Results
from clipwright.report.views import merged_config, views

_SHARES = {
    ("Names", 0): 0.6,
    ("A", 4): 0.8,
    ("A+val", 4): 0.82,
    ("A", 8): 0.85,
    ("A", 16): 0.9,
    ("A+val", 16): 0.92,
    ("A", 20): 0.91,
}
_EQUAL: dict[str, Any] = {"equal_labels": {"4": 8, "16": 20}, "shots": [0, 4, 16]}


def _cells(found: Results) -> list[tuple[str, int]]:
    return [(s.method, s.shots) for s in found.summary()]


def test_few_shot_validation_stands_beside_others_at_the_labels_it_used() -> None:
    split = views(results(_SHARES, **_EQUAL))
    assert _cells(split.ranked) == [("Names", 0), ("A", 4), ("A", 16)]
    assert _cells(split.equal) == [("A+val", 8), ("A", 8), ("A+val", 20), ("A", 20)]
    assert _cells(split.unranked) == []
    assert ("A+val", 20) in _cells(split.by_labels)
    assert len(split.by_labels) == len(results(_SHARES))


@pytest.mark.parametrize("validation", ["few-shot", "full"])
def test_validation_that_nothing_stands_beside_is_not_ranked(validation: str) -> None:
    rows = results({k: v for k, v in _SHARES.items() if k[1] not in {8, 20}})
    cells = [row | {"validation": validation if row["method"] == "A+val" else "none"} for row in rows.cells.to_pylist()]
    split = views(Results.from_rows(cells, rows.runs))
    assert _cells(split.unranked) == [("A+val", 4), ("A+val", 16)]
    assert not len(split.equal)
    assert _cells(split.by_labels) == _cells(rows)


def test_a_method_that_a_user_named_so_is_ranked_when_it_had_no_validation_labels() -> None:
    found = results({("A", 4): 0.8, ("B+val", 4): 0.9}, cell={"validation": "none"})
    assert _cells(views(found).ranked) == [("A", 4), ("B+val", 4)]


def test_runs_of_one_group_are_described_together() -> None:
    more: dict[str, Any] = {
        "shots": [1, 4],
        "draws": 10,
        "versions": {"clipwright": "2", "torch": "3"},
        "notes": ["Another."],
    }
    found = Results.joined([results({("A", 16): 0.9}), results({("B", 4): 0.9}, **more)])
    config = merged_config(found, ("birds", "tiny"))
    assert config["shots"] == [1, 4, 16]
    assert config["draws"] == 10
    assert config["versions"] == {"clipwright": "1 and 2", "torch": "3"}
    assert config["notes"] == ["A note of the data set.", "Another."]
    assert len(config["skipped"]) == len(CONFIG["skipped"])
    assert json.dumps(CONFIG["notes"]) == '["A note of the data set."]', "the runs themselves stay as they are"
    assert merged_config(found, ("bees", "tiny")) == {}
