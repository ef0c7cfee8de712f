"""What methods that choose among others chose, and what that says of the choice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from clipwright.protocol.results import Group, Results
from clipwright.report.elements import Picks
from clipwright.report.text import count, percent

PICKED = "method"  # what the chosen method is called among the chosen values


def picks(results: Results, group: Group | None = None) -> tuple[Picks, ...]:
    """How often each candidate was picked, for each method that picks; of one group, or of all together."""
    found: dict[str, dict[int, Counter[str]]] = {}
    for row in results.cells.select(["dataset", "backbone", "method", "shots", "chosen"]).to_pylist():
        if group is not None and (row["dataset"], row["backbone"]) != group:
            continue
        picked = json.loads(row["chosen"] or "{}").get(PICKED)
        if picked is not None:
            found.setdefault(row["method"], {}).setdefault(row["shots"], Counter())[str(picked)] += 1
    return tuple(_picks(method, counts) for method, counts in found.items())


def _picks(method: str, counts: Mapping[int, Counter[str]]) -> Picks:
    shots = tuple(sorted(counts))
    total: Counter[str] = Counter()
    for found in counts.values():
        total.update(found)
    names = sorted(total, key=lambda name: (-total[name], name))
    return Picks(
        method,
        shots,
        tuple(sum(counts[k].values()) for k in shots),
        tuple((name, tuple(counts[k][name] for k in shots)) for name in names),
        _words(method, counts, total, names),
    )


def _words(method: str, counts: Mapping[int, Counter[str]], total: Counter[str], names: list[str]) -> str:
    fits = sum(total.values())
    if len(names) == 1:
        return (
            f"{method} took {names[0]} in {'its only fit' if fits == 1 else f'all {fits} fits'}: a constant choice. "
            f"{names[0]} by itself would have given the same with less work."
        )
    if len(counts) > 1 and all(len(found) == 1 for found in counts.values()):
        chosen = ", ".join(f"{next(iter(found))} with {_labels(k)}" for k, found in sorted(counts.items()))
        return f"The number of labels alone decided: {chosen}. Draws of the labelled images never changed the choice."
    return f"Over {count(fits, 'fit')} it took {names[0]} most often, in {percent(total[names[0]] / fits, 0)} of them."


def _labels(shots: int) -> str:
    return count(shots, "label") if shots else "names alone"
