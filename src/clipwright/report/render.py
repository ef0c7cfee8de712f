"""From a Page to one HTML file that needs nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clipwright import __version__
from clipwright.core.atomic import write_bytes
from clipwright.report.page import Page
from clipwright.report.text import clean, count, duration, percent, points, shortened
from clipwright.report.view import View

WORST, BEST = 24, 6  # classes shown before the rest is folded away
_OPEN = 3  # parts up to which all are unfolded


def write(path: Path, page: Page) -> None:
    """Write a page to one file, atomically; its folder is made where it is missing."""
    write_bytes(path, render(page).encode())


def render(page: Page) -> str:
    """The page as HTML: no script, no address outside the file, every text escaped."""
    single = len(page.parts) == 1 and page.overview is None
    views = [
        View(part, f"p{i}", 2, page.facts, page.notes) if single else View(part, f"p{i}", 3)
        for i, part in enumerate(page.parts, 1)
    ]
    html: str = (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            version=__version__,
            single=single,
            views=views,
            overview=View(page.overview, "all", 2) if page.overview is not None else None,
            unfolded=len(views) <= _OPEN,
            worst=WORST,
            best=BEST,
        )
    )
    return html


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clipwright.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalize = _finalize
    environment.filters |= {
        "percent": percent,
        "points": points,
        "duration": duration,
        "counted": count,
        "across": _across,
        "shortened": shortened,
    }
    return environment


def _finalize(value: Any) -> Any:
    """Every plain text on its way into the page loses what no escaping makes displayable."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _across(share: float, scale: tuple[float, float]) -> str:
    """Position of a share on an axis, as a CSS percentage."""
    low, high = scale
    return f"{100 * min(1.0, max(0.0, (share - low) / ((high - low) or 1.0))):.2f}%"
