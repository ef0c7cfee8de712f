"""How each hyper-parameter of a comparison got its value."""

from __future__ import annotations

import json
from collections.abc import Mapping

from clipwright.protocol.results import Group, Results
from clipwright.report.elements import Setting
from clipwright.report.facts import HOW, shown
from clipwright.report.picks import PICKED


def settings(results: Results, group: Group) -> tuple[Setting, ...]:
    """Each hyper-parameter's value, by shots where it depends on them, and where it came from."""
    values: dict[tuple[str, str], dict[int, list[str]]] = {}
    sources: dict[tuple[str, str], list[str]] = {}
    for row in results.cells.select(["dataset", "backbone", "method", "shots", "chosen", "how"]).to_pylist():
        if (row["dataset"], row["backbone"]) != group:
            continue
        how = json.loads(row["how"] or "{}")
        for name, value in json.loads(row["chosen"] or "{}").items():
            if name == PICKED:
                continue  # a section of its own shows it
            key = (row["method"], name)
            values.setdefault(key, {}).setdefault(row["shots"], []).append(shown(value))
            sources.setdefault(key, []).append(HOW.get(how.get(name, ""), how.get(name, "not recorded")))
    return tuple(
        Setting(method, name, _by_shots(found), ", ".join(dict.fromkeys(sources[method, name])))
        for (method, name), found in values.items()
    )


def _summed_up(values: list[str]) -> str:
    """One value as it is; several by their smallest and largest, or how many where they are no numbers."""
    different = list(dict.fromkeys(values))
    if len(different) == 1:
        return different[0]
    try:
        ordered = sorted(different, key=float)
    except ValueError:
        return f"{len(different)} different"
    return f"{len(different)} values, {ordered[0]} to {ordered[-1]}"


def _by_shots(found: Mapping[int, list[str]]) -> str:
    by_value: dict[str, list[int]] = {}
    for shots, values in found.items():
        by_value.setdefault(_summed_up(values), []).append(shots)
    if len(by_value) == 1:
        return next(iter(by_value))
    return "; ".join(f"{text} at {', '.join(map(str, sorted(shots)))}" for text, shots in by_value.items())
