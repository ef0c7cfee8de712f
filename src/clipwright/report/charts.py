"""Charts as inline SVG that takes its colours and typeface from the page around it."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clipwright.report.page import Curve, CurvePoint
from clipwright.report.text import clean, count, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that no chart would choose, each to become a CSS variable of the page.
_INK, _MUTED, _RULE = "#010101", "#020202", "#030303"
_SERIES = ("#040401", "#040402", "#040403", "#040404")
_REST = "#040405"
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _RULE: "--rule", _REST: "--rest"} | {
    colour: f"--series-{i}" for i, colour in enumerate(_SERIES, 1)
}
_MARKERS = ("o", "s", "D", "^")
_POINT = 0.75  # points per CSS pixel
_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clipwright",
    "text.parse_math": False,  # names are text, whatever dollar signs they hold
    "font.size": 13 * _POINT,
    "axes.unicode_minus": True,
}


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
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [curve for curve in curves if curve.points]
    with rc_context(_RC):
        figure = Figure(figsize=(width * _POINT / 72, height * _POINT / 72), dpi=72)
        axes = figure.add_axes(_box(drawn, width, height))
        places = _places({p.shots for curve in drawn for p in curve.points})
        _frame(axes, places, [p for curve in drawn for p in curve.points])
        shade = 0.16 if len(drawn) <= 2 else 0.09  # bands of many methods lie over each other
        styled = zip(drawn, _styles(drawn), strict=True)
        ends = [(_draw(axes, c, style, places, shade), _label(c, width), style[0]) for c, style in styled]
        _name_ends(axes, ends, height)
        return _svg(figure, key, _described(drawn))


def series_colours(curves: Sequence[Curve]) -> dict[str, str]:
    """The CSS variable of each method's colour, for whatever else on the page speaks of it."""
    drawn = [curve for curve in curves if curve.points]
    return {curve.method: _VARIABLES[colour] for curve, (colour, _) in zip(drawn, _styles(drawn), strict=True)}


def _styles(curves: Sequence[Curve]) -> list[tuple[str, str]]:
    """Colour and marker by rank: the best ends first; grey from the fifth on."""
    ranked = sorted(range(len(curves)), key=lambda i: -curves[i].points[-1].mean)
    styles = [(_REST, "o")] * len(curves)
    for rank, i in enumerate(ranked[: len(_SERIES)]):
        styles[i] = (_SERIES[rank], _MARKERS[rank])
    return styles


def _label(curve: Curve, width: int) -> str:
    """What stands at a curve's end; on a narrow chart names leave room for the curves."""
    return f"{shortened(clean(curve.method), 16 if width > 500 else 12)} {100 * curve.points[-1].mean:.1f}"


def _box(curves: Sequence[Curve], width: int, height: int) -> tuple[float, float, float, float]:
    """Axes inside the figure, leaving room at the right for the longest name."""
    longest = max((len(_label(curve, width)) for curve in curves), default=0)
    left, right, top, bottom = 44, 18 + 8.2 * longest, 14, 52
    return left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height


def _places(shots: set[int]) -> dict[int, float]:
    """Where each number of labels stands: doubling is one step, and "none" is one step before the first."""
    labelled = sorted(s for s in shots if s > 0)
    places = {s: math.log2(s) for s in labelled}
    if 0 in shots:
        steps = [b - a for a, b in zip(places.values(), list(places.values())[1:], strict=False)]
        places[0] = (places[labelled[0]] if labelled else 0.0) - (min(steps) if steps else 1.0)
    return places


def _frame(axes: Axes, places: dict[int, float], points: Sequence[CurvePoint]) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = 100 * min(p.low for p in points), 100 * max(p.high for p in points)
    room = max(1.0, 0.06 * (high - low))
    axes.set_ylim(max(-0.5, low - room), min(100.5, high + room))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10], integer=True, min_n_ticks=3))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
    span = max(places.values()) - min(places.values()) or 1.0
    axes.set_xlim(min(places.values()) - 0.05 * span, max(places.values()) + 0.03 * span)
    shown = sorted(places, key=lambda s: places[s])
    axes.set_xticks([places[s] for s in shown], [str(s) for s in shown])
    label = "labelled images per class" + (" (0 = names only)" if 0 in places else "")
    axes.set_xlabel(label, loc="left", color=_MUTED, labelpad=8)
    axes.tick_params(length=0, colors=_MUTED, pad=7)
    axes.grid(axis="y", color=_RULE, linewidth=1 * _POINT)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw(axes: Axes, curve: Curve, style: tuple[str, str], places: dict[int, float], shade: float) -> float:
    """Draw one curve; returns its last value."""
    colour, marker = style
    x = [places[p.shots] for p in curve.points]
    mean = [100 * p.mean for p in curve.points]
    low, high = [100 * p.low for p in curve.points], [100 * p.high for p in curve.points]
    if len(x) == 1:
        # A single point still has to be compared with the others: a level line carries it across.
        axes.axhline(mean[0], color=colour, linewidth=1.5 * _POINT, dashes=(4, 3), zorder=2)
        axes.vlines(x, low, high, color=colour, linewidth=5 * _POINT, alpha=0.3, zorder=2)
    else:
        axes.fill_between(x, low, high, color=colour, alpha=shade, linewidth=0, zorder=2)
        axes.plot(x, mean, color=colour, linewidth=2.25 * _POINT, zorder=3)
    axes.plot(x, mean, color=colour, marker=marker, markersize=7 * _POINT, linestyle="none", zorder=4, clip_on=False)
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
            xytext=(9 * _POINT, 0),
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


def _svg(figure: Figure, key: str, description: str) -> str:
    """The figure as an SVG element: page colours, page typeface, ids of its own, no fixed size."""
    from markupsafe import escape

    stream = io.StringIO()
    nothing: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        # The reader's own fonts set the text, so what matplotlib's font lacks doesn't matter.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{key}-", svg)
    head = f'<svg class="chart" role="img" aria-label="{escape(description)}"'
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'{head} viewBox="\1">', svg, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
