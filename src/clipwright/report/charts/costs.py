"""Accuracy against the seconds of one fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from clipwright.report.charts.labels import Box, Place, placed
from clipwright.report.charts.svg import LEFT, LETTER, MUTED, POINT, REST, RULE, bare, canvas, element
from clipwright.report.elements import Cost
from clipwright.report.text import clean, duration, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RIGHT, _TOP, _BOTTOM = 14, 14, 52  # CSS pixels around the axes
_LEAST = 1e-4  # seconds: what a clock can tell
_MINUTES = (10, 60, 600, 3600, 36_000, 360_000)
_TICKS = (  # seconds that may stand under the axis, from the densest set to the sparsest
    (*(f * 10.0**e for e in range(-4, 1) for f in (1, 2, 5)), 10, 20, 60, 120, 300, 600, 1800, 3600, 7200),
    (*(f * 10.0**e for e in range(-4, 1) for f in (1, 3)), 10, 30, *_MINUTES[1:]),
    (*(10.0**e for e in range(-4, 1)), *_MINUTES),
    (1e-4, 1e-2, 1, 600, 360_000),
)
_APART = 58  # CSS pixels from one tick to the next
_EDGE = 24  # and from the first and last to the end of the axis


def drawable(costs: Sequence[Cost]) -> list[Cost]:
    """Those whose seconds are known, leaders first."""
    known = [c for c in costs if c.seconds_fit is not None]
    return sorted(known, key=lambda c: (not c.score.standing, -c.score.mean))


def cost_chart(
    costs: Sequence[Cost],
    styles: Mapping[str, tuple[str, str]],
    *,
    key: str,
    width: int = 780,
    height: int = 380,
) -> str:
    """Accuracy against the seconds of one fit, each method named; leaders are filled.

    Args:
        costs: at least one with known seconds.
        styles: colour and marker of each method, as in the other charts.
        key: prefix of the ids inside the picture, unique on the page.
        width: in CSS pixels.
        height: in CSS pixels.

    Returns:
        an ``<svg>`` element without fixed size.
    """
    drawn = drawable(costs)
    names = [_label(c, width) for c in drawn]
    with canvas(width, height) as figure:
        inner = width - LEFT - _RIGHT, height - _TOP - _BOTTOM
        axes = figure.add_axes((LEFT / width, _BOTTOM / height, inner[0] / width, inner[1] / height))
        room = max(LETTER * len(name) for name in names) / inner[0]
        _frame(axes, drawn, room, inner[0])
        for cost in drawn:
            _draw(axes, cost, styles.get(cost.score.method, (REST, "o")))
        at = [_pixels(axes, c, inner) for c in drawn]
        bars = [_bar(axes, c, inner) for c in drawn]
        places = placed(at, [LETTER * len(name) for name in names], Box(0, 0, *inner), bars)
        for cost, name, place in zip(drawn, names, places, strict=True):
            _name(axes, cost, name, styles.get(cost.score.method, (REST, "o"))[0], place=place, inner=inner)
        return element(figure, key, _described(drawn))


def _seconds(cost: Cost) -> float:
    return max(_LEAST, cost.seconds_fit or 0.0)


def _label(cost: Cost, width: int) -> str:
    name = shortened(clean(cost.score.method), 22 if width > 500 else 12)
    said = cost.score.standing or ("names only" if not cost.score.shots and width > 500 else "")
    return f"{name}, {said}" if said else name


def _frame(axes: Axes, costs: Sequence[Cost], room: float, inner: int) -> None:
    """Axes that hold all points and, on either side, the names of the outermost."""
    from matplotlib.ticker import MaxNLocator

    low, high = 100 * min(c.score.low for c in costs), 100 * max(c.score.high for c in costs)
    margin = max(1.0, 0.06 * (high - low))
    axes.set_ylim(max(-0.5, low - margin), min(100.5, high + margin))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    places = [math.log10(_seconds(c)) for c in costs]
    first, last = min(places), max(places)
    if last - first < 1:
        first, last = (first + last - 1) / 2, (first + last + 1) / 2
    share = min(0.4, 0.55 * room + 0.03)
    span = (last - first) / (1 - 2 * share)
    axes.set_xlim(first - share * span, last + share * span)
    shown = ticks(axes.get_xlim(), inner)
    axes.set_xticks([math.log10(t) for t in shown], [tick(t) for t in shown])
    axes.set_xlabel("time of one fit", loc="left", color=MUTED, labelpad=8)
    bare(axes)
    axes.grid(axis="x", color=RULE, linewidth=1 * POINT)


def ticks(limits: tuple[float, float], width: int) -> list[float]:
    """Seconds to write under an axis: the densest set whose lettering has room.

    Args:
        limits: left and right end, as decimal logarithms of seconds.
        width: of the axis in CSS pixels.
    """
    left, right = limits
    pixels = width / (right - left)
    for choice in _TICKS:
        inside = [t for t in choice if left + _EDGE / pixels <= math.log10(t) <= right - _EDGE / pixels]
        if all(math.log10(b / a) * pixels >= _APART for a, b in pairwise(inside)):
            break
    return inside


def tick(seconds: float) -> str:
    """Wall time at a tick."""
    if seconds < 1:
        return f"{1000 * seconds:g} ms"
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"


def _draw(axes: Axes, cost: Cost, style: tuple[str, str]) -> None:
    colour, marker = style
    x, s = math.log10(_seconds(cost)), cost.score
    axes.vlines([x], [100 * s.low], [100 * s.high], color=colour, linewidth=3 * POINT, alpha=0.3, zorder=2)
    axes.plot(
        [x],
        [100 * s.mean],
        marker=marker,
        markersize=9 * POINT,
        markeredgewidth=2 * POINT,
        markeredgecolor=colour,
        markerfacecolor=colour if s.standing else "none",
        linestyle="none",
        zorder=4,
        clip_on=False,
    )


def _pixels(axes: Axes, cost: Cost, inner: tuple[int, int], share: float | None = None) -> tuple[float, float]:
    """A point in CSS pixels from the corner of the axes; its height is that of `share`, by default the accuracy."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x = (math.log10(_seconds(cost)) - left) / (right - left)
    y = 100 * (cost.score.mean if share is None else share)
    return x * inner[0], (y - bottom) / (top - bottom) * inner[1]


def _bar(axes: Axes, cost: Cost, inner: tuple[int, int]) -> Box:
    """What the line of an interval covers."""
    (x, low), (_, high) = (_pixels(axes, cost, inner, share) for share in (cost.score.low, cost.score.high))
    return Box(x - 2, low, x + 2, high)


def _name(axes: Axes, cost: Cost, text: str, colour: str, *, place: Place, inner: tuple[int, int]) -> None:
    """Write a name at its place; from further off a line leads to its point."""
    point = _pixels(axes, cost, inner)
    box = place.box
    x, y = (box.left if place.side == "right" else box.right), (box.bottom + box.top) / 2
    if place.tied:
        ends = [(point[0] / inner[0], x / inner[0]), (point[1] / inner[1], y / inner[1])]
        axes.plot(*ends, color=colour, linewidth=1 * POINT, alpha=0.5, transform=axes.transAxes, zorder=1)
    axes.text(
        x / inner[0],
        y / inner[1],
        text,
        transform=axes.transAxes,
        ha="left" if place.side == "right" else "right",
        va="center_baseline",
        color=colour,
        weight="bold" if cost.score.standing else "normal",
        zorder=5,
    )


def _described(costs: Sequence[Cost]) -> str:
    parts = [
        f"{clean(c.score.method)}: {100 * c.score.mean:.1f} % for {duration(_seconds(c))}"
        + (f" ({c.score.standing})" if c.score.standing else "")
        for c in costs
    ]
    return "Accuracy against the wall time of one fit. " + ". ".join(parts) + "."
