"""The page about one fit: how well it does on images it did not learn from, and what it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clipwright.core.intervals import Interval, paired_shares, wilson
from clipwright.core.metrics import RowScores, score_rows
from clipwright.fitted import Fitted
from clipwright.protocol.calibrate import OutOfFold
from clipwright.protocol.runner import versions as versions_here
from clipwright.report.facts import HOW, identity, prompts, shown, versions
from clipwright.report.outcomes import Outcomes
from clipwright.report.page import Fact, Gallery, Headline, Page, Setting
from clipwright.report.text import count, duration, percent
from clipwright.task import Task

if TYPE_CHECKING:
    from clipwright.protocol.prepare import Prepared

Rows = Sequence[int] | np.ndarray

_LISTED = 200  # skipped images named on the page; the rest is counted
_WIDE = 0.2  # an interval of twenty points says little


def fit_page(
    prepared: Prepared,
    task: Task,
    fitted: Fitted,
    *,
    method: str,
    reason: str = "",
    held_out: Rows = (),
    out_of_fold: OutOfFold | None = None,
    names_alone: Fitted | None = None,
    unlabeled: Rows = (),
    temperature: float = 1.0,
    calibration: str = "",
    title: str | None = None,
    command: str = "",
    facts: Sequence[Fact] = (),
    notes: Sequence[str] = (),
) -> Page:
    """Lay out one fit as a page.

    Accuracy is measured on `held_out` rows where there are any, else on out-of-fold answers, else not at all.

    Args:
        prepared: the data set behind the fit.
        task: what the method saw.
        fitted: what it made.
        method: its name.
        reason: why this method, one sentence.
        held_out: labelled rows of `prepared` that the fit did not see.
        out_of_fold: answers to the labelled images by fits that did not see them.
        names_alone: a fit on names alone, for comparison on the same images.
        unlabeled: rows of `prepared` without labels, to show what is said of them.
        temperature: what logits are divided by before the softmax.
        calibration: how the temperature was found, one sentence.
        title: heading; by default the data set's name.
        command: the command that was run.
        facts: further rows of "What was run".
        notes: further notes, shown first.
    """
    basis = _basis(prepared, fitted, np.asarray(held_out, dtype=np.int64), out_of_fold, temperature)
    said = basis.outcomes(task.class_names) if basis else None
    gain = basis.gain(prepared, names_alone) if basis and names_alone is not None else None
    return Page(
        title=title or prepared.dataset.name,
        subtitle=f"{method}, {count(len(task.class_names), 'class', 'classes')}, backbone {prepared.backbone}",
        headline=basis.headline(method, _labels(task), gain) if basis else None,
        galleries=(
            *(said.galleries(prepared.dataset) if said else ()),
            *_guesses(prepared, fitted, np.asarray(unlabeled, dtype=np.int64), temperature),
        ),
        classes=said.class_scores() if said else (),
        classes_note=f"Counted on the {basis.what}." if basis else "",
        confusions=said.confusions() if said else (),
        facts=(*_run(prepared, task, fitted, command), _method(method, reason, temperature), *facts),
        settings=tuple(
            Setting(method, name, shown(value), HOW.get(fitted.trace.how.get(name, ""), "not recorded"))
            for name, value in fitted.trace.chosen.items()
        ),
        notes=_notes(prepared, fitted, basis, gain, [*notes, calibration]),
        skipped=prepared.problems[:_LISTED],
        n_skipped=len(prepared.problems),
    )


@dataclass(frozen=True, eq=False)
class _Basis:
    """Scores of images that no fit saw when it answered them."""

    scores: RowScores
    rows: np.ndarray  # rows of the data set, -1 where a row's identifier isn't known there
    ids: Sequence[str]
    what: str
    caveat: str

    @property
    def interval(self) -> Interval:
        return wilson(float(self.scores.correct.sum()), len(self.scores))

    def outcomes(self, class_names: Sequence[str]) -> Outcomes:
        s = self.scores
        return Outcomes(self.ids, s.label, s.predicted, s.confidence, class_names)

    def gain(self, prepared: Prepared, names_alone: Fitted) -> Interval | None:
        """What the fit adds to names alone on the same images."""
        if (self.rows < 0).any():
            return None
        logits = names_alone(prepared.rows(self.rows)).double().numpy()
        return paired_shares([self.scores.correct], [score_rows(logits, self.scores.label).correct])

    def headline(self, method: str, labels: str, gain: Interval | None) -> Headline:
        found = self.interval
        sentence = f"{method} names {percent(found.mean)} of {len(self.scores):,} {self.what} right {labels}."
        aside = [self.caveat] if self.caveat else []
        if gain is not None:
            verdict = "; these images can't tell the two apart" if 0.0 in gain else ""
            aside.append(f"Names alone give {percent(found.mean - gain.mean)} on the same images{verdict}.")
        return Headline(found.mean, found.low, found.high, sentence, " ".join(aside))


def _basis(
    prepared: Prepared, fitted: Fitted, held_out: np.ndarray, out_of_fold: OutOfFold | None, temperature: float
) -> _Basis | None:
    every = prepared.dataset.ids
    if len(held_out):
        logits = fitted(prepared.rows(held_out)).double().numpy() / temperature
        scores = score_rows(logits, prepared.dataset.labels[held_out])
        return _Basis(scores, held_out, [every[i] for i in held_out], "held-out images", "")
    if out_of_fold is None or out_of_fold.ids is None:
        return None
    scores = score_rows(out_of_fold.logits / temperature, out_of_fold.labels)
    place = {i: row for row, i in enumerate(every)}
    rows = np.array([place.get(i, -1) for i in out_of_fold.ids], dtype=np.int64)
    if out_of_fold.folds == 1:
        return _Basis(scores, rows, out_of_fold.ids, "labelled images", "It looked at none of their labels.")
    caveat = (
        f"Each image was answered by a fit on the {out_of_fold.folds - 1} of {out_of_fold.folds} parts that lack it; "
        "the classifier itself learned from all of them."
    )
    return _Basis(scores, rows, out_of_fold.ids, "labelled images", caveat)


def _guesses(prepared: Prepared, fitted: Fitted, rows: np.ndarray, temperature: float) -> tuple[Gallery, ...]:
    """What is said of images whose class nobody gave."""
    if not len(rows):
        return ()
    # Labels don't matter here; zeros let one function yield predictions and confidences.
    scores = score_rows(fitted(prepared.rows(rows)).double().numpy() / temperature, np.zeros(len(rows), dtype=np.int64))
    every, unknown = prepared.dataset.ids, np.full(len(rows), -1, dtype=np.int64)
    names = prepared.dataset.class_names
    said = Outcomes([every[i] for i in rows], unknown, scores.predicted, scores.confidence, names)
    return said.unlabeled_galleries(prepared.dataset)


def _labels(task: Task) -> str:
    """How many labels the fit had."""
    if task.support is None or not len(task.support):
        return "from names alone"
    fewest, most = min(task.shots), max(task.shots)
    return f"from {count(most, 'label') if fewest == most else f'{fewest} to {most} labels'} per class"


def _run(prepared: Prepared, task: Task, fitted: Fitted, command: str) -> tuple[Fact, ...]:
    sizes = {
        "labelled": len(task.support) if task.support is not None else 0,
        "for validation": len(task.validation) if task.validation is not None else 0,
        "unlabeled": len(task.unlabeled) if task.unlabeled is not None else 0,
    }
    given = ", ".join(f"{n:,} {what}" for what, n in sizes.items() if n)
    return (
        *([Fact("Command", command, code=True)] if command else []),
        Fact("Data", f"{prepared.dataset.name}: {count(len(prepared.dataset), 'image')}"),
        Fact("Given to the method", given or "class names alone"),
        *prompts(list(prepared.templates)),
        *identity(prepared.backbone, prepared.digest, prepared.dataset.digest),
        Fact("Seed", str(task.seed)),
        Fact("Time", f"{duration(prepared.seconds)} features and texts, {duration(fitted.trace.seconds)} the fit"),
        versions(versions_here()),
    )


def _method(method: str, reason: str, temperature: float) -> Fact:
    why = f": {reason}" if reason else ""
    return Fact("Method", f"{method}{why} (temperature {temperature:.3g})")


def _notes(
    prepared: Prepared, fitted: Fitted, basis: _Basis | None, gain: Interval | None, first: Sequence[str]
) -> tuple[str, ...]:
    found = [note for note in first if note]
    if basis is None:
        found.insert(
            0, "No accuracy is stated, as nothing could be scored: label a few images of every class to get one."
        )
    elif basis.interval.high - basis.interval.low > _WIDE:
        found.append("There are few labels to score with, so the interval is wide: label more images to narrow it.")
    if basis is not None:
        found.append("The interval covers the scored images (Wilson), not another choice of labelled images.")
    if gain is not None and gain.high < 0:
        found.insert(0, "Names alone did better than this classifier: consider ZeroShot.")
    return tuple(dict.fromkeys([*found, *prepared.dataset.notes, *prepared.notes, *fitted.trace.notes]))
