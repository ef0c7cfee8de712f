"""What the templates need beyond a page's own words: charts, axes, and which sections there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from clipwright.report.charts.costs import cost_chart, drawable
from clipwright.report.charts.curves import accuracy_curves
from clipwright.report.charts.reliability import reliability_chart, size
from clipwright.report.charts.svg import series_colours, styles
from clipwright.report.elements import ClassScore, Cost, Fact, Score
from clipwright.report.page import Overview, Part
from clipwright.report.text import duration

WIDE, NARROW = 780, 360  # CSS pixels: lettering must not shrink with the picture, so each chart is drawn twice
_LINE = 17  # CSS pixels that a name beside a chart takes

SECTIONS = {
    "accuracy": "Accuracy against labels",
    "numbers": "The numbers",
    "grid": "Data set by data set",
    "gaps": "Behind the best",
    "equal": "At equal numbers of labels",
    "picks": "What was picked",
    "candidates": "How the method was chosen",
    "cost": "What it costs",
    "generated": "Generated images",
    "images": "What it says of single images",
    "why": "Why: what the texts say",
    "classes": "Class by class",
    "confusion": "What is taken for what",
    "reliability": "How far its confidence can be believed",
    "run": "What was run",
    "settings": "How hyper-parameters were found",
    "notes": "Notes and limits",
}


@dataclass(frozen=True)
class Chart:
    """A picture for wide and one for narrow screens, and the width beyond which they are not enlarged."""

    wide: Markup
    narrow: Markup
    limit: tuple[int, int] = (WIDE + 40, 10_000)


@dataclass(frozen=True)
class Line:
    """A method's scores across numbers of labels; None where it has none."""

    method: str
    scores: tuple[Score | None, ...]


@dataclass(frozen=True)
class Column:
    """A column of the cost table: its heading, and one text per method."""

    title: str
    values: tuple[str, ...]


class View:
    """A part or an overview as the templates see it.

    Args:
        body: what to show.
        key: prefix of all ids in it, unique on the page.
        level: of its section headings, 2 or 3.
        facts: further rows of "What was run", shown first.
        notes: further notes, shown first.
    """

    def __init__(
        self, body: Part | Overview, key: str, level: int, facts: Sequence[Fact] = (), notes: Sequence[str] = ()
    ) -> None:
        self.body, self.key, self.level = body, key, level
        self.part = body if isinstance(body, Part) else Part()
        self.overview = body if isinstance(body, Overview) else None
        self.facts = (*facts, *self.part.facts)
        self.notes = tuple(dict.fromkeys((*notes, *self.part.notes)))
        self.colours = series_colours(body.curves)
        self.scale = scale(body.scores)

    @cached_property
    def sections(self) -> tuple[tuple[str, str], ...]:
        """Name and title of each section that has something to say, in order."""
        body, part = self.body, self.part
        there = {
            "accuracy": self.curves is not None,
            "numbers": bool(body.scores),
            "grid": self.overview is not None and bool(self.overview.grids),
            "gaps": any(s.difference is not None for s in body.gaps),
            "equal": bool(body.equal),
            "picks": bool(body.picks),
            "candidates": bool(part.candidates),
            "cost": bool(part.costs),
            "generated": part.made is not None,
            "images": bool(part.galleries),
            "why": bool(part.why_classes or part.why_images),
            "classes": bool(part.classes),
            "confusion": part.matrix is not None or bool(part.confusions),
            "reliability": part.calibration is not None,
            "run": bool(self.facts) or self.n_skipped > 0,
            "settings": bool(part.settings),
            "notes": bool(self.notes),
        }
        titles = SECTIONS | ({"numbers": "The number"} if len(body.scores) == 1 else {})
        if self.overview is not None:
            titles |= {
                "accuracy": "Mean accuracy against labels",
                "numbers": "The means",
                "gaps": "Behind the best mean",
            }
        return tuple((name, titles[name]) for name in SECTIONS if there[name])

    @cached_property
    def curves(self) -> Chart | None:
        """Accuracy against labels, where there is more than one number of them."""
        curves = self.body.curves
        if len({p.shots for curve in curves for p in curve.points}) < 2:
            return None
        tall = _LINE * len(curves) + 70
        wide, narrow = (
            Markup(accuracy_curves(curves, key=f"{self.key}-{name}", width=w, height=max(h, tall)))  # noqa: S704 - escaped where it is made
            for name, w, h in (("wide", WIDE, 400), ("narrow", NARROW, 330))
        )
        return Chart(wide, narrow)

    @cached_property
    def cost_chart(self) -> Chart | None:
        """Accuracy against seconds, where there is something to compare."""
        costs = self.part.costs
        if len(drawable(costs)) < 2:
            return None
        tall = _LINE * len(costs) + 110
        wide, narrow = (
            Markup(  # noqa: S704 - escaped where it is made
                cost_chart(costs, styles(self.part.curves), key=f"{self.key}-{name}-cost", width=w, height=max(h, tall))
            )
            for name, w, h in (("wide", WIDE, 380), ("narrow", NARROW, 340))
        )
        return Chart(wide, narrow)

    @cached_property
    def reliability_chart(self) -> Chart | None:
        """Accuracy against confidence."""
        found = self.part.calibration
        if found is None or not found.before:
            return None
        panels = [("Before the temperature", found.before), ("After it", found.after)]
        panels = panels if found.after else [("As it is, without a temperature", found.before)]
        wide, narrow = (
            Markup(reliability_chart(panels, key=f"{self.key}-{name}-sure", stacked=name == "narrow"))  # noqa: S704 - escaped where it is made
            for name in ("wide", "narrow")
        )
        return Chart(wide, narrow, (size(len(panels), stacked=False)[0] + 40, size(1, stacked=True)[0] + 20))

    @cached_property
    def cost_columns(self) -> tuple[Column, ...]:
        """Columns of the cost table without those that say nothing."""
        return tuple(c for c in _columns(self.part.costs) if c is not None)

    @cached_property
    def classes(self) -> list[ClassScore]:
        """The classes, the hardest first."""
        return sorted(self.part.classes, key=lambda c: (c.share, c.name))

    @property
    def n_skipped(self) -> int:
        """How many images were left out."""
        return max(self.part.n_skipped, len(self.part.skipped))

    @cached_property
    def gap_shots(self) -> list[int]:
        """Numbers of labels at which methods compete."""
        return sorted({s.shots for s in self.body.gaps if s.difference is not None})

    @cached_property
    def gap_lines(self) -> list[Line]:
        """Each method across these, the best at most labels first."""
        return lines(self.body.gaps, self.gap_shots)


def lines(scores: Sequence[Score], shots: Sequence[int]) -> list[Line]:
    """Scores by method, ordered by the mean at the most labels that a method has."""
    found: dict[str, dict[int, Score]] = {}
    for s in scores:
        if s.shots in shots:
            found.setdefault(s.method, {})[s.shots] = s
    order = sorted(found, key=lambda m: (-max(found[m]), -found[m][max(found[m])].mean))
    return [Line(m, tuple(found[m].get(k) for k in shots)) for m in order]


def scale(scores: Sequence[Score]) -> tuple[float, float]:
    """Left and right end of the axis that a table's intervals are drawn on, rounded out to 5 %."""
    if not scores:
        return 0.0, 1.0
    low, high = min(s.low for s in scores), max(s.high for s in scores)
    return max(0.0, int(low * 20) / 20), min(1.0, -int(-high * 20 // 1) / 20)


def _columns(costs: Sequence[Cost]) -> list[Column | None]:
    return [
        _column("One fit", [c.seconds_fit for c in costs], duration),
        _column("Scoring", [c.seconds_predict for c in costs], duration),
        _column("Memory", [c.peak_mib for c in costs], lambda v: f"{v:,.0f}\u202fMiB"),
        *(
            _column(title, [getattr(c, title.lower()) for c in costs], lambda v: f"{v:,.0f}")
            for title in ("Images", "Texts", "Calls", "Tokens")
        ),
    ]


def _column(title: str, values: Sequence[float | None], said: Callable[[float], str]) -> Column | None:
    if not any(values):
        return None
    return Column(title, tuple("" if v is None else said(v) for v in values))
