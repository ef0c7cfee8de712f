"""Which cells of a comparison may be set beside each other: those that had equally many labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from clipwright.protocol.plan import VALIDATED
from clipwright.protocol.results import Group, Results

_VALIDATING = frozenset({"few-shot", "full"})


@dataclass(frozen=True, eq=False)
class Views:
    """The same results four times, for four questions.

    Attributes:
        ranked: methods that were given no validation labels, at the numbers of shots that were asked for.
        equal: all methods where some were given few-shot validation labels; shots are the labels used, those for
            validation counted. Empty where no other stands beside them.
        unranked: methods with validation labels that none without stands beside, at the shots asked for.
        by_labels: everything, with the labels used for shots where that number is known.
    """

    ranked: Results
    equal: Results
    unranked: Results
    by_labels: Results


def views(results: Results) -> Views:
    """Split results by the labels that were used."""
    rows = results.cells.select(["dataset", "backbone", "method", "shots", "validation"]).to_pylist()
    configs = {group: merged_config(results, group) for group in results.groups()}
    validated = [_validated(row) for row in rows]
    used = [
        _labels_used(row, configs[_group(row)]) if v else row["shots"] for row, v in zip(rows, validated, strict=True)
    ]
    counted = [v and u is not None for v, u in zip(validated, used, strict=True)]
    places = {(_group(row), u) for row, u, c in zip(rows, used, counted, strict=True) if c}
    asked = [_asked(row, configs[_group(row)]) for row in rows]
    shown = [row["shots"] if u is None else u for row, u in zip(rows, used, strict=True)]
    beside = [
        (_group(row), u) in places and (c or not v) for row, u, c, v in zip(rows, used, counted, validated, strict=True)
    ]
    return Views(
        ranked=_part(results, [a and not v for a, v in zip(asked, validated, strict=True)]),
        equal=_part(results, beside, shown),
        unranked=_part(results, [v and not c for v, c in zip(validated, counted, strict=True)]),
        by_labels=_part(results, [True] * len(rows), shown),
    )


def merged_config(results: Results, group: Group) -> dict[str, Any]:
    """What was run of a group; where several runs hold it, together. Empty where it isn't known."""
    found = [run for run in results.runs if (run.get("dataset"), run.get("backbone")) == group]
    if not found:
        return {}
    merged = dict(found[0])
    for run in found[1:]:
        merged["shots"] = sorted({*merged["shots"], *run["shots"]})
        merged["draws"] = max(merged["draws"], run["draws"])
        merged["equal_labels"] = merged.get("equal_labels", {}) | run.get("equal_labels", {})
        merged["calibrate"] = merged.get("calibrate", False) or run.get("calibrate", False)
        merged["seconds_prepare"] += run["seconds_prepare"]
        for name in ("notes", "skipped"):
            merged[name] = [*merged.get(name, ()), *(x for x in run.get(name, ()) if x not in merged.get(name, ()))]
        if run["versions"] != merged["versions"]:
            merged["versions"] = _both(merged["versions"], run["versions"])
    return merged


def _both(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    return {name: " and ".join(dict.fromkeys(v[name] for v in (one, other) if name in v)) for name in {**one, **other}}


def _group(row: Mapping[str, Any]) -> Group:
    return row["dataset"], row["backbone"]


def _validated(row: Mapping[str, Any]) -> bool:
    return row["validation"] in _VALIDATING and str(row["method"]).endswith(VALIDATED)


def _labels_used(row: Mapping[str, Any], config: Mapping[str, Any]) -> int | None:
    """Labels per class of a method with few-shot validation, where the run set others beside it; else None."""
    found = config.get("equal_labels", {}).get(str(row["shots"])) if row["validation"] == "few-shot" else None
    return None if found is None else int(found)


def _asked(row: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether a cell's shots were asked for, rather than added to stand beside validation."""
    return not row["shots"] or not config or row["shots"] in config["shots"]


def _part(results: Results, mask: Sequence[bool], shots: Sequence[int] | None = None) -> Results:
    """Some of the cells, with other numbers of shots where they are given."""
    cells = results.cells
    if shots is not None:
        place = cells.schema.get_field_index("shots")
        cells = cells.set_column(place, cells.schema.field(place), pa.array(shots, pa.int32()))
    return Results(cells.filter(pa.array(mask, pa.bool_())), results.runs, results.predictions)
