"""A report as a whole: an overview where there is more than one data set or backbone, and one part for each."""

from __future__ import annotations

from dataclasses import dataclass

from clipwright.report.elements import (
    Calibration,
    Candidate,
    ClassScore,
    Confusion,
    Cost,
    Curve,
    Fact,
    Gallery,
    Grid,
    Matrix,
    Picks,
    Reason,
    Score,
    Setting,
)
from clipwright.report.generated import Made


@dataclass(frozen=True)
class Headline:
    """The one number, and one honest sentence around it.

    Attributes:
        share: accuracy, 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end.
        sentence: what was measured, on what, from how many labels.
        aside: a second sentence for comparison, or empty.
    """

    share: float
    low: float
    high: float
    sentence: str
    aside: str = ""


@dataclass(frozen=True)
class Part:
    """What there is to say of one data set and backbone; empty sections are left out.

    Attributes:
        title: what it is about; shown where the page has several parts.
        headline: the one number, or None.
        curves: accuracy against labels per class.
        curves_note: what else the chart shows.
        scores: the table, in the order shown.
        scores_note: what the interval and the marks mean.
        gaps: paired differences to the best at each number of labels, names alone among them.
        equal: the same at equal numbers of labels, those for validation counted.
        picks: what methods that choose among others chose.
        candidates: among what a fit chose.
        choice: why it chose so.
        costs: what each method took.
        costs_note: which fits that counts.
        made: generated images that a fit was given, or None.
        galleries: examples with pictures.
        why_classes: what texts say for the classes that were named.
        why_images: the same for some images.
        classes: accuracy of each class.
        counted: which predictions the pictures, classes, mistakes and confidences count.
        confusions: the commonest mistakes, most first.
        matrix: which classes are taken for which, or None.
        calibration: confidence against accuracy, or None.
        facts: what was run.
        settings: how hyper-parameters were found.
        notes: what the reader should know, one sentence each.
        skipped: (image, reason) of each image left out.
        n_skipped: how many were left out, where `skipped` lists only some; 0 = as many as `skipped` lists.
    """

    title: str = ""
    headline: Headline | None = None
    curves: tuple[Curve, ...] = ()
    curves_note: str = ""
    scores: tuple[Score, ...] = ()
    scores_note: str = ""
    gaps: tuple[Score, ...] = ()
    equal: tuple[Score, ...] = ()
    picks: tuple[Picks, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    choice: str = ""
    costs: tuple[Cost, ...] = ()
    costs_note: str = ""
    made: Made | None = None
    galleries: tuple[Gallery, ...] = ()
    why_classes: tuple[Reason, ...] = ()
    why_images: tuple[Reason, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    counted: str = ""
    confusions: tuple[Confusion, ...] = ()
    matrix: Matrix | None = None
    calibration: Calibration | None = None
    facts: tuple[Fact, ...] = ()
    settings: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    n_skipped: int = 0


@dataclass(frozen=True)
class Overview:
    """Several data sets or backbones together.

    Attributes:
        curves: mean accuracy against labels per class.
        scores: mean accuracy of each method at each number of labels.
        scores_note: what was averaged, and what the intervals cover.
        gaps: differences of the means to the best.
        equal: means at equal numbers of labels, those for validation counted.
        grids: accuracy of each data set and backbone, one grid for each number of labels, the largest first.
        picks: what methods that choose among others chose.
    """

    curves: tuple[Curve, ...] = ()
    scores: tuple[Score, ...] = ()
    scores_note: str = ""
    gaps: tuple[Score, ...] = ()
    equal: tuple[Score, ...] = ()
    grids: tuple[Grid, ...] = ()
    picks: tuple[Picks, ...] = ()


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: what it is about, such as the data set's name.
        subtitle: one line under the title.
        parts: one for each data set and backbone.
        overview: all of them together, or None.
        facts: what was run, of the page as a whole.
        notes: what the reader should know of the page as a whole.
    """

    title: str
    subtitle: str = ""
    parts: tuple[Part, ...] = ()
    overview: Overview | None = None
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
