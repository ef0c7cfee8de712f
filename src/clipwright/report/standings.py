"""Who leads at each number of labels, who ties, and by how much the others are behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clipwright.core.errors import DataError
from clipwright.core.intervals import Interval
from clipwright.protocol.plan import VALIDATED
from clipwright.protocol.results import Group, Results, Summary
from clipwright.report.elements import Curve, CurvePoint, Score
from clipwright.report.text import count

ONE_DRAW = "The 95 % interval covers the test images only (Wilson); one draw says nothing about other labelled images."
DRAWS = (
    "The 95 % interval covers both chances: which images were labelled (Student's t over draws) and which were tested "
    "(Wilson)."
)
TIED = (
    "Tied: the 95 % interval of the difference to the best, paired by draw and test image, includes zero, so this "
    "comparison can't tell the two apart."
)


def summaries(results: Results, group: Group) -> tuple[Summary, ...]:
    """The summaries of a group, by shots."""
    return tuple(sorted((s for s in results.summary() if s.group == group), key=lambda s: s.shots))


def scores(results: Results, group: Group) -> tuple[Score, ...]:
    """Every method at every number of shots, from the best down, with its paired difference to the best."""
    rows = summaries(results, group)
    found: list[Score] = []
    for shots in dict.fromkeys(r.shots for r in rows):
        rivals = sorted((r for r in rows if r.shots == shots), key=lambda r: -r.mean)
        found += [_score(results, r, rivals[0], alone=len(rivals) == 1) for r in rivals]
    return tuple(found)


def gaps(results: Results, group: Group, ranked: Sequence[Score]) -> tuple[Score, ...]:
    """The scores, with names alone also beside the best at each number of labels."""
    best = {s.shots: s for s in ranked if s.standing == "best"}
    labelled = dict.fromkeys(s.shots for s in ranked if s.shots)
    only = {m for m in results.methods(group) if not any(results.shots_of(m, group))}
    found = list(ranked)
    for name in (s for s in ranked if s.method in only):
        for shots in labelled:
            leader = best.get(shots) or next(s for s in ranked if s.shots == shots)
            gap = difference(results, (name.method, 0), (leader.method, shots), group)
            found.append(replace(name, shots=shots, difference=gap, standing=_standing(gap)))
            if not leader.standing:  # the only method with labels is the best of those that have some
                found[found.index(leader)] = best[shots] = replace(leader, standing="best")
    return tuple(sorted(found, key=lambda s: s.shots))


def unranked(results: Results, group: Group) -> tuple[Score, ...]:
    """Methods that had further labels which the others lacked: shown, not ranked."""
    return tuple(
        replace(_plain(r), remark=f"{r.labels_per_class:.1f} labels per class used, so not ranked")
        for r in summaries(results, group)
    )


def merged(ranked: Iterable[Score], others: Iterable[Score]) -> tuple[Score, ...]:
    """Both by shots, the ranked first."""
    return tuple(sorted((*ranked, *others), key=lambda s: s.shots))


def equal(results: Results, group: Group, config: Mapping[str, Any]) -> tuple[Score, ...]:
    """Methods with validation labels beside the others at as many labels; says how each divides them."""
    learned = {total: int(shots) for shots, total in config.get("equal_labels", {}).items()}
    found = []
    for s in scores(results, group):
        kept = learned.get(s.shots, s.shots)
        divided = s.method.endswith(VALIDATED) and kept < s.shots
        words = f"{kept} to learn from, {s.shots - kept} to choose on" if divided else "all to learn from"
        found.append(replace(s, remark=words))
    return tuple(found)


def curves(results: Results, group: Group) -> tuple[Curve, ...]:
    """Accuracy against labels, one curve per method."""
    points: dict[str, list[CurvePoint]] = {}
    for r in summaries(results, group):
        points.setdefault(r.method, []).append(CurvePoint(r.shots, r.mean, r.low, r.high))
    return tuple(Curve(method, tuple(found)) for method, found in points.items())


def note(rows: Sequence[Summary]) -> str:
    """What the intervals and marks of a table mean."""
    text = ONE_DRAW if all(r.draws == 1 for r in rows) else DRAWS
    return f"{text} {TIED}" if len({r.shots for r in rows}) < len(rows) else text


def _score(results: Results, row: Summary, best: Summary, *, alone: bool) -> Score:
    if alone or row is best:
        return replace(_plain(row), standing="" if alone else "best")
    gap = difference(results, (row.method, row.shots), (best.method, row.shots), row.group)
    return replace(_plain(row), difference=gap, standing=_standing(gap))


def _plain(row: Summary) -> Score:
    under = count(row.draws, "draw") if row.shots or row.draws > 1 else "names only"
    return Score(row.shots, row.method, row.mean, row.low, row.high, seconds_fit=row.seconds_fit, under=under)


def _standing(gap: Interval | None) -> str:
    return "tied" if gap is not None and 0.0 in gap else ""


def difference(results: Results, one: tuple[str, int], other: tuple[str, int], group: Group) -> Interval | None:
    """None where the two share no draw, or not its test images: joined runs may differ in both."""
    try:
        return results.difference(one, other, group)
    except DataError:
        return None
