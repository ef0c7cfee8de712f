"""What the sections of a report are made of, apart from how they look. All text is untrusted; shares are fractions."""

from __future__ import annotations

from dataclasses import dataclass

from clipwright.core.intervals import Interval


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
    """A method at a number of labels: a row of a table.

    Attributes:
        shots: labels per class; 0 = names only.
        method: the method's name.
        mean: accuracy, 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end.
        standing: ``best``, ``tied`` with the best, or empty when it is beaten or has no rival.
        difference: paired difference to the best at these labels, or None: it is the best, or nothing can be said.
        seconds_fit: wall time of one fit, or None.
        under: small words under the number of labels, such as ``10 draws``.
        remark: small words under the method's name.
    """

    shots: int
    method: str
    mean: float
    low: float
    high: float
    standing: str = ""
    difference: Interval | None = None
    seconds_fit: float | None = None
    under: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Evidence:
    """A text that had a part in an answer.

    Attributes:
        text: what it says.
        kind: of the text, such as ``attribute``.
        share: what it adds to the lead of the class that was named, in cosines.
    """

    text: str
    kind: str
    share: float


@dataclass(frozen=True)
class Reason:
    """What texts say for an answer.

    Attributes:
        named: the class that was named.
        against: the class that the texts put second, or empty.
        lead: how far they put the named class before it, in cosines; below 0 = they would have named the other.
        spoke_for: texts of the named class that the image is like, the most telling first.
        spoke_against: texts of the other class, those that the image is most like first.
        under: small words: how many images, or which one.
        thumbnail: the image as a ``data:`` address, or None.
        small: whether it wants hard pixels.
        truth: the true class where it is known, or empty.
    """

    named: str
    against: str
    lead: float
    spoke_for: tuple[Evidence, ...] = ()
    spoke_against: tuple[Evidence, ...] = ()
    under: str = ""
    thumbnail: str | None = None
    small: bool = False
    truth: str = ""


@dataclass(frozen=True)
class Grid:
    """Methods as columns, one row per data set and backbone, all at one number of labels.

    Attributes:
        shots: labels per class.
        methods: names, one per column.
        rows: title of a part of the page, its key, and one score or None per method.
        means: the mean of each column, or None where some row lacks it.
    """

    shots: int
    methods: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Score | None, ...]], ...]
    means: tuple[Score | None, ...]


@dataclass(frozen=True)
class Cost:
    """What one method took, and what it gave for it; None = not known.

    Attributes:
        score: its accuracy at these labels.
        seconds_fit: median wall time of one fit.
        seconds_predict: median wall time of scoring the test images.
        peak_mib: highest memory of the process during a fit, in MiB.
        images: image encodings that a fit rests on.
        texts: text encodings.
        calls: requests to an endpoint.
        tokens: their tokens.
    """

    score: Score
    seconds_fit: float | None = None
    seconds_predict: float | None = None
    peak_mib: float | None = None
    images: float | None = None
    texts: float | None = None
    calls: float | None = None
    tokens: float | None = None


@dataclass(frozen=True)
class Picks:
    """How often a method that chooses among others took each of them.

    Attributes:
        method: the method that chooses.
        shots: labels per class, one per column.
        fits: how many fits there were at each.
        candidates: name, and how often it was taken at each number of labels; the commonest first.
        words: what that comes to, in a sentence or two.
    """

    method: str
    shots: tuple[int, ...]
    fits: tuple[int, ...]
    candidates: tuple[tuple[str, tuple[int, ...]], ...]
    words: str


@dataclass(frozen=True)
class Candidate:
    """One of the methods among which a fit chose, as it did on labelled images that were held out; None = not known.

    Attributes:
        method: its name.
        right: how many of them it named right.
        of: how many there were.
        log_loss: mean negative log-likelihood on them, in nats.
        error: standard error of the log-loss.
        seconds: wall time that scoring it took.
        picked: whether it was taken.
    """

    method: str
    right: float | None = None
    of: float | None = None
    log_loss: float | None = None
    error: float | None = None
    seconds: float | None = None
    picked: bool = False


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
class Matrix:
    """Which classes are taken for which.

    Attributes:
        names: C classes shown.
        counts: for each as the true class, how many of its images were named each of them.
        elsewhere: for each, how many were named a class that isn't shown.
        classes: how many classes there are in all.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    elsewhere: tuple[int, ...]
    classes: int

    @property
    def whole(self) -> bool:
        """Whether all classes are shown."""
        return len(self.names) == self.classes


@dataclass(frozen=True)
class Bin:
    """Images of about one confidence: how sure the classifier was, and how often it was right.

    Attributes:
        confidence: their mean confidence.
        accuracy: share of them named right.
        low: lower end of its 95 % interval (Wilson).
        high: upper end.
        share: how many of all images they are, 0 to 1.
    """

    confidence: float
    accuracy: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Figures:
    """How far a method's probabilities can be believed; (before, after) the temperature, None = not known.

    Attributes:
        method: its name.
        ece: expected calibration error.
        nll: mean negative log-likelihood, in nats.
        brier: mean squared distance between probabilities and the one-hot label.
        aurc: area under the risk-coverage curve.
        temperature: median temperature.
    """

    method: str
    ece: tuple[float | None, float | None] = (None, None)
    nll: tuple[float | None, float | None] = (None, None)
    brier: tuple[float | None, float | None] = (None, None)
    aurc: float | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy.

    Attributes:
        before: bins before the temperature.
        after: bins after it; empty where none was fitted.
        figures: of one or more methods.
        note: what was counted, and why there is no temperature where there is none.
    """

    before: tuple[Bin, ...]
    after: tuple[Bin, ...] = ()
    figures: tuple[Figures, ...] = ()
    note: str = ""


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
