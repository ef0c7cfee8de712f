"""Accuracy against labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipwright.report.charts.svg import LEFT, MUTED, POINT, bare, canvas, element, styles
from clipwright.report.elements import Curve, CurvePoint
from clipwright.report.text import clean, count, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def accuracy_curves(curves: Sequence[Curve], *, key: str, width: int = 760, height: int = 400) -> str:
    """Accuracy against labels per class, each method named at its end, with bands for the 95 % intervals.

    Args:
        curves: the methods; of more than four, the lesser ones are grey.
        key: prefix of the ids inside the picture, unique on the page.
        width: in CSS pixels.
        height: in CSS pixels.

    Returns:
        an ``<svg>`` element without fixed size.
    """
    drawn = [curve for curve in curves if curve.points]
    with canvas(width, height) as figure:
        axes = figure.add_axes(_box(drawn, width, height))
        places = _places({p.shots for curve in drawn for p in curve.points})
        _frame(axes, places, [p for curve in drawn for p in curve.points], width)
        shade = 0.16 if len(drawn) <= 2 else 0.09  # bands of many methods lie over each other
        style = styles(drawn)
        ends = [(_draw(axes, c, style[c.method], places, shade), _label(c, width), style[c.method][0]) for c in drawn]
        _name_ends(axes, ends, height)
        return element(figure, key, _described(drawn))


def _label(curve: Curve, width: int) -> str:
    """What stands at a curve's end; on a narrow chart names leave room for the curves."""
    return f"{shortened(clean(curve.method), 16 if width > 500 else 12)} {100 * curve.points[-1].mean:.1f}"


def _box(curves: Sequence[Curve], width: int, height: int) -> tuple[float, float, float, float]:
    """Axes inside the figure, leaving room at the right for the longest name."""
    longest = max((len(_label(curve, width)) for curve in curves), default=0)
    left, right, top, bottom = LEFT, 18 + 8.2 * longest, 14, 52
    return left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height


def _places(shots: set[int]) -> dict[int, float]:
    """Where each number of labels stands: doubling is one step, and "none" is one step before the first."""
    labelled = sorted(s for s in shots if s > 0)
    places = {s: math.log2(s) for s in labelled}
    if 0 in shots:
        steps = [b - a for a, b in zip(places.values(), list(places.values())[1:], strict=False)]
        places[0] = (places[labelled[0]] if labelled else 0.0) - (min(steps) if steps else 1.0)
    return places


def _frame(axes: Axes, places: dict[int, float], points: Sequence[CurvePoint], width: int) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = 100 * min(p.low for p in points), 100 * max(p.high for p in points)
    room = max(1.0, 0.06 * (high - low))
    axes.set_ylim(max(-0.5, low - room), min(100.5, high + room))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    span = max(places.values()) - min(places.values()) or 1.0
    axes.set_xlim(min(places.values()) - 0.05 * span, max(places.values()) + 0.03 * span)
    shown = thinned(places, 1.1 * span * 24 / (axes.get_position().width * width))
    axes.set_xticks([places[s] for s in shown], [str(s) for s in shown])
    label = "labelled images per class" + (" (0 = names only)" if 0 in places else "")
    axes.set_xlabel(label, loc="left", color=MUTED, labelpad=8)
    bare(axes)


def thinned(places: dict[int, float], gap: float) -> list[int]:
    """Those to write under the axis so that no two stand closer than `gap`: none and powers of two before others."""
    kept: list[int] = []
    for shots in sorted(places, key=lambda s: (s.bit_count() > 1, s)):
        if all(abs(places[shots] - places[other]) >= gap for other in kept):
            kept.append(shots)
    return sorted(kept)


def _draw(axes: Axes, curve: Curve, style: tuple[str, str], places: dict[int, float], shade: float) -> float:
    """Draw one curve; returns its last value."""
    colour, marker = style
    x = [places[p.shots] for p in curve.points]
    mean = [100 * p.mean for p in curve.points]
    low, high = [100 * p.low for p in curve.points], [100 * p.high for p in curve.points]
    if len(x) == 1:
        # A single point still has to be compared with the others: a level line carries it across.
        axes.axhline(mean[0], color=colour, linewidth=1.5 * POINT, dashes=(4, 3), zorder=2)
        axes.vlines(x, low, high, color=colour, linewidth=5 * POINT, alpha=0.3, zorder=2)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=shade, linewidth=0, zorder=2)
        axes.plot(x, mean, color=colour, linewidth=2.25 * POINT, zorder=3)
    axes.plot(x, mean, color=colour, marker=marker, markersize=7 * POINT, linestyle="none", zorder=4, clip_on=False)
    return mean[-1]


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], height: int) -> None:
    """Write each name at its curve's end, moved apart where two would touch."""
    bottom, top = axes.get_ylim()
    gap = 17 * (top - bottom) / (axes.get_position().height * height)
    order = sorted(range(len(ends)), key=lambda i: ends[i][0])
    heights = spread([ends[i][0] for i in order], gap, bottom, top)
    for i, y in zip(order, heights, strict=True):
        _, text, colour = ends[i]
        axes.annotate(
            text,
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(9 * POINT, 0),
            textcoords="offset points",
            va="center_baseline",
            color=colour,
            weight="bold",
            annotation_clip=False,
        )


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Ascending values moved apart by at least `gap`, as little as possible, within low..high where they fit.

    Neighbours that touch are joined into a block about their mean (the pool-adjacent-violators rule).
    """
    blocks: list[tuple[float, int]] = []  # (mean of value minus own offset, members)
    for i, value in enumerate(values):
        mean, size = value - i * gap, 1
        while blocks and blocks[-1][0] >= mean:
            other, members = blocks.pop()
            mean, size = (other * members + mean * size) / (members + size), members + size
        blocks.append((mean, size))
    found = [mean for mean, size in blocks for _ in range(size)]
    ceiling = high - (len(values) - 1) * gap
    return [max(low, min(base, ceiling)) + i * gap for i, base in enumerate(found)]


def _described(curves: Sequence[Curve]) -> str:
    parts = [
        f"{clean(curve.method)}: "
        + ", ".join(
            f"{100 * p.mean:.1f} % from {count(p.shots, 'label') if p.shots else 'names only'}" for p in curve.points
        )
        for curve in curves
    ]
    return "Accuracy against labelled images per class. " + ". ".join(parts) + "."
