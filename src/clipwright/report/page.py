"""What a report says, apart from how it looks. All text is untrusted; shares are fractions."""

from __future__ import annotations

from dataclasses import dataclass, field


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
class CurvePoint:
    """Accuracy at a number of labels per class."""

    shots: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A method's accuracy against labels per class; a method without labels has one point at 0."""

    method: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class Score:
    """A row of the table.

    Attributes:
        shots: labels per class asked for; 0 = names only.
        method: the method's name.
        mean: accuracy, 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end.
        draws: support sets behind it; 1 when labels play no part.
        standing: ``best``, ``tied`` with the best, or empty when it is beaten or has no rival.
        seconds_fit: wall time of one fit, or None.
        macro: mean of the per-class accuracies, or None.
        labels_per_class: labels used on average, validation included, or None.
    """

    shots: int
    method: str
    mean: float
    low: float
    high: float
    draws: int = 1
    standing: str = ""
    seconds_fit: float | None = None
    macro: float | None = None
    labels_per_class: float | None = None


@dataclass(frozen=True)
class Example:
    """One image and what was said of it.

    Attributes:
        id: where the image is, relative to the data.
        label: name of the true class, or None where it isn't known.
        predicted: name of the predicted class.
        confidence: probability of the predicted class, 0 to 1.
        thumbnail: a ``data:image/...;base64,`` address, or None where there is no picture.
        small: whether the picture is so small that it is shown with hard pixels.
    """

    id: str
    label: str | None
    predicted: str
    confidence: float
    thumbnail: str | None = None
    small: bool = False

    @property
    def correct(self) -> bool | None:
        """Whether the prediction is right, or None where that isn't known."""
        return None if self.label is None else self.label == self.predicted


@dataclass(frozen=True)
class Gallery:
    """Examples under a heading."""

    title: str
    lead: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class ClassScore:
    """How many test images of a class were right, and the 95 % interval of the share."""

    name: str
    right: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Fraction right."""
        return self.right / self.total


@dataclass(frozen=True)
class Confusion:
    """A class taken for another: `count` of its `total` test images."""

    label: str
    predicted: str
    count: int
    total: int


@dataclass(frozen=True)
class Fact:
    """Something that was run: a short label and its value; `code` is set in a fixed-width face."""

    label: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class Setting:
    """How a hyper-parameter got its value."""

    method: str
    name: str
    value: str
    how: str


@dataclass(frozen=True)
class Page:
    """A report; empty sections are left out.

    Attributes:
        title: what it is about, such as the data set's name.
        subtitle: one line under the title.
        headline: the one number, or None.
        curves: accuracy against labels per class.
        scores: the table, in the order shown.
        scores_note: what the interval and the marks mean.
        galleries: examples with pictures.
        classes: accuracy of each class.
        classes_note: which predictions the classes and confusions count.
        confusions: the commonest mistakes, most first.
        facts: what was run.
        settings: how hyper-parameters were found.
        notes: what the reader should know, one sentence each.
        skipped: (image, reason) of each image left out.
        n_skipped: how many were left out, where `skipped` lists only some; 0 = as many as `skipped` lists.
    """

    title: str
    subtitle: str = ""
    headline: Headline | None = None
    curves: tuple[Curve, ...] = ()
    scores: tuple[Score, ...] = ()
    scores_note: str = ""
    galleries: tuple[Gallery, ...] = ()
    classes: tuple[ClassScore, ...] = ()
    classes_note: str = ""
    confusions: tuple[Confusion, ...] = ()
    facts: tuple[Fact, ...] = ()
    settings: tuple[Setting, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    n_skipped: int = field(default=0)
