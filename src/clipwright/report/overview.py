"""Several data sets or backbones together: means, the table of all of them, and what was picked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from clipwright.protocol.means import MeanRow, Means, means
from clipwright.protocol.results import Group, Results
from clipwright.report import standings
from clipwright.report.elements import Curve, CurvePoint, Grid, Score
from clipwright.report.page import Overview
from clipwright.report.picks import picks
from clipwright.report.text import count
from clipwright.report.views import Views


def overview(results: Results, split: Views, titles: Mapping[Group, tuple[str, str]]) -> Overview:
    """All groups of a comparison together.

    Args:
        results: all cells.
        split: `views` of them.
        titles: title and key of each group's part.
    """
    found = means(split.ranked)
    nameless = {m for m in found.methods if not _labelled(split.ranked, m)}
    gaps = _scores(found)
    extra = _unranked(split.unranked)
    equal = _scores(means(split.equal)) if _same_groups(split.equal, results) else ()
    return Overview(
        curves=_curves(found, nameless),
        scores=standings.merged(_table(gaps, nameless), extra),
        scores_note=_note(found),
        gaps=gaps,
        equal=equal,
        grids=_grids(split.ranked, titles, gaps),
        picks=picks(results),
    )


def _same_groups(one: Results, other: Results) -> bool:
    return set(one.groups()) == set(other.groups())


def _labelled(results: Results, method: str) -> bool:
    return any(k for group in results.groups() for k in results.shots_of(method, group))


def _scores(found: Means) -> tuple[Score, ...]:
    """Its rows; a method without rivals is not called the best."""
    rivals = Counter(r.shots for r in found.rows)
    return tuple(_score(r, alone=rivals[r.shots] == 1) for r in found.rows)


def _score(row: MeanRow, *, alone: bool) -> Score:
    return Score(
        row.shots,
        row.method,
        row.mean,
        row.low,
        row.high,
        standing="" if alone else row.standing,
        difference=row.difference,
        under=f"mean of {row.tasks}",
    )


def _table(gaps: Sequence[Score], nameless: set[str]) -> tuple[Score, ...]:
    """Names alone once, without labels, rather than at each number of them."""
    once = {s.method: replace(s, shots=0, standing="", difference=None) for s in gaps if s.method in nameless}
    return (*once.values(), *(s for s in gaps if s.method not in nameless))


def _unranked(results: Results) -> tuple[Score, ...]:
    if not len(results):
        return ()
    remark = "further labels to choose on, so not ranked"
    return tuple(replace(s, standing="", difference=None, remark=remark) for s in _scores(means(results)))


def _curves(found: Means, nameless: set[str]) -> tuple[Curve, ...]:
    points: dict[str, dict[int, CurvePoint]] = {}
    for r in found.rows:
        shots = 0 if r.method in nameless else r.shots
        points.setdefault(r.method, {})[shots] = CurvePoint(shots, r.mean, r.low, r.high)
    return tuple(Curve(method, tuple(of[k] for k in sorted(of))) for method, of in points.items())


def _note(found: Means) -> str:
    """What was averaged, and what its intervals cover."""
    tasks = found.rows[0].tasks if found.rows else 0
    text = f"Each of the {tasks} parts below counts the same."
    if found.clusters > 1:
        text += (
            f" The 95 % intervals resample the {count(found.clusters, found.cluster_kind)} (2,000 times), and draws "
            "and test images within them: they say how far the mean depends on which of these were there."
        )
        if found.clusters < 10:
            text += f" With {found.clusters} of them such intervals tend to be too narrow."
    text += " Tied: the interval of the paired difference to the best includes zero."
    if found.left_out:
        text += f" Left out, because some part lacks them: {', '.join(found.left_out)}."
    return text


def _grids(results: Results, titles: Mapping[Group, tuple[str, str]], gaps: Sequence[Score]) -> tuple[Grid, ...]:
    """The table of all groups at each number of labels, names alone at each."""
    standing = {group: standings.scores(results, group) for group in titles}
    full = {group: standings.gaps(results, group, found) for group, found in standing.items()}
    shots = sorted({s.shots for found in full.values() for s in found if s.shots} or {0}, reverse=True)
    return tuple(_grid(k, titles, full, gaps) for k in shots)


def _grid(
    shots: int,
    titles: Mapping[Group, tuple[str, str]],
    found: Mapping[Group, Sequence[Score]],
    gaps: Sequence[Score],
) -> Grid:
    here = {group: {s.method: s for s in scores if s.shots == shots} for group, scores in found.items()}
    names = tuple(dict.fromkeys(name for scores in here.values() for name in scores))
    mean = {s.method: s for s in gaps if s.shots == shots}
    return Grid(
        shots,
        names,
        tuple((*titles[group], tuple(scores.get(name) for name in names)) for group, scores in here.items()),
        tuple(mean.get(name) for name in names),
    )
