"""What a comparison of one data set and backbone found, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clipwright.core.intervals import Interval
from clipwright.protocol.results import Group, Results
from clipwright.report import standings
from clipwright.report.elements import Score
from clipwright.report.page import Headline
from clipwright.report.text import count, percent
from clipwright.report.views import Views


@dataclass(frozen=True, eq=False)
class Case:
    """One data set and backbone of a comparison.

    Attributes:
        results: all cells.
        split: `views` of them.
        group: which of them.
        config: what was run, or empty.
    """

    results: Results
    split: Views
    group: Group
    config: Mapping[str, Any]

    @cached_property
    def ranked(self) -> tuple[Score, ...]:
        """Methods without validation labels at the shots asked for, from the best down."""
        return standings.scores(self.split.ranked, self.group)

    @cached_property
    def best(self) -> Score:
        """The best at the largest number of labels."""
        return max((s for s in self.ranked if s.shots == self.ranked[-1].shots), key=lambda s: s.mean)

    @cached_property
    def names(self) -> Score | None:
        """The best from names alone, or None."""
        return max((s for s in self.ranked if s.shots == 0), key=lambda s: s.mean, default=None)

    def gain(self, score: Score) -> Interval | None:
        """What the labels of a score add to names alone, paired; None where that can't be said."""
        if self.names is None or not score.shots:
            return None
        sides = (score.method, score.shots), (self.names.method, 0)
        return standings.difference(self.split.ranked, *sides, self.group)


def labels(shots: int) -> str:
    """How a number of labels is said."""
    return f"{count(shots, 'label')} per class" if shots else "names alone"


def headline(case: Case) -> Headline:
    """The best at most labels, and who ties with it."""
    best = case.best
    summary = next(
        s
        for s in standings.summaries(case.split.ranked, case.group)
        if (s.method, s.shots) == (best.method, best.shots)
    )
    where = "images that each draw leaves" if case.config.get("test_rule") == "rest of each draw" else "test images"
    over = f", on average over {summary.draws} draws of the labelled images" if summary.draws > 1 else ""
    sentence = (
        f"{best.method} names {percent(best.mean)} of {summary.n_test:,} {where} right from {labels(best.shots)}{over}."
    )
    if tied := [s.method for s in case.ranked if s.shots == best.shots and s.standing == "tied"]:
        sentence += f" {', '.join(tied)} {'ties' if len(tied) == 1 else 'tie'} with it."
    return Headline(best.mean, best.low, best.high, sentence, _aside(case))


def notes(case: Case) -> tuple[str, ...]:
    """What the reader should know, each said once."""
    found = [*case.config.get("notes", ()), *_against_names(case)]
    for row in case.results.cells.select(["dataset", "backbone", "method", "notes"]).to_pylist():
        if (row["dataset"], row["backbone"]) == case.group:
            found += [f"{row['method']}: {note}" for note in (row["notes"] or ())]
    if sum(s.shots == case.best.shots for s in case.ranked) > 1:
        found.append(
            "The method in the headline was picked by its test accuracy; its interval does not cover that choice."
        )
    return tuple(dict.fromkeys(found))


def curves_note(split: Views, group: Group) -> str:
    """Where methods with validation labels stand in the chart."""
    found = ""
    if split.equal.methods(group):
        found = "Methods that were given labels to choose on stand at the labels they used, those included."
    if rest := split.unranked.methods(group):
        found += f" Further labels, to choose on, went to {', '.join(rest)}; the axis doesn't count them."
    return found.strip()


def _aside(case: Case) -> str:
    """What labels add to names alone."""
    if case.names is None or case.best.shots == 0:
        return ""
    gain = case.gain(case.best)
    found = f"Names alone give {percent(case.names.mean)} ({case.names.method})"
    return f"{found}; labels {_change(gain)}." if gain is not None else f"{found}."


def _change(gain: Interval) -> str:
    size = f"{abs(100 * gain.mean):.1f} points"
    if 0.0 in gain:
        return f"make no difference that these images and draws could show ({100 * gain.mean:+.1f} points)"
    ends = sorted((abs(100 * gain.low), abs(100 * gain.high)))
    return f"{'add' if gain.mean > 0 else 'cost'} {size} ({ends[0]:.1f} to {ends[1]:.1f})"


def _against_names(case: Case) -> Sequence[str]:
    """Say so where labels did not help."""
    found = []
    for s in case.ranked:
        gain = case.gain(s)
        if gain is None or case.names is None:
            continue
        if gain.high < 0:
            found.append(f"{s.method} with {labels(s.shots)} is worse than names alone: its labels {_change(gain)}.")
        elif 0.0 in gain:
            found.append(f"{s.method} with {labels(s.shots)} can't be told from names alone ({case.names.method}).")
    return found
