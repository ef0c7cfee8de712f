"""From a Page to one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from clipwright import __version__
from clipwright.core.atomic import write_bytes
from clipwright.report.charts import accuracy_curves, series_colours
from clipwright.report.page import Page, Score
from clipwright.report.text import clean, count, duration, percent

WORST, BEST = 24, 6  # classes shown before the rest is folded away


def write(path: Path, page: Page) -> None:
    """Write a page to one file, atomically; its folder is made where it is missing."""
    write_bytes(path, render(page).encode())


def render(page: Page) -> str:
    """The page as HTML: no script, no address outside the file, every text escaped."""
    html: str = _template().render(
        page=page,
        version=__version__,
        curves=_charts(page),
        scale=_scale(page.scores),
        colours=series_colours(page.curves),
        classes=sorted(page.classes, key=lambda c: (c.share, c.name)),
        worst=WORST,
        best=BEST,
        n_skipped=max(page.n_skipped, len(page.skipped)),
    )
    return html


def _charts(page: Page) -> dict[str, Markup]:
    """The accuracy chart for wide and for narrow screens: lettering must not shrink with the picture."""
    shots = {p.shots for curve in page.curves for p in curve.points}
    if len(shots) < 2:
        return {}
    sizes = {"wide": (780, 400), "narrow": (360, 330)}
    return {
        name: Markup(accuracy_curves(page.curves, key=name, width=w, height=h))  # noqa: S704 - escaped where it is made
        for name, (w, h) in sizes.items()
    }


def _scale(scores: Sequence[Score]) -> tuple[float, float]:
    """Left and right end of the axis that the table's intervals are drawn on, rounded out to 5 %."""
    if not scores:
        return 0.0, 1.0
    low, high = min(s.low for s in scores), max(s.high for s in scores)
    return max(0.0, int(low * 20) / 20), min(1.0, -int(-high * 20 // 1) / 20)


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _finalize
    environment.filters |= {"percent": percent, "duration": duration, "counted": count, "across": _across}
    source = files("clipwright.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _finalize(value: Any) -> Any:
    """Every plain text on its way into the page loses what no escaping makes displayable."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _across(share: float, scale: tuple[float, float]) -> str:
    """Position of a share on an axis, as a CSS percentage."""
    low, high = scale
    return f"{100 * min(1.0, max(0.0, (share - low) / ((high - low) or 1.0))):.2f}%"
