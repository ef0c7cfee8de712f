"""Accuracy against confidence, before and after the temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clipwright.report.charts.svg import INK, LEFT, MUTED, POINT, REST, SERIES, bare, canvas, element
from clipwright.report.elements import Bin

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 300  # CSS pixels of a panel
_RIGHT, _TOP, _BOTTOM = 26, 36, 52
_SMALL, _LARGE = 5.0, 11.0  # CSS pixels across the points of the rarest and of the commonest bin
_SHELF = 0.2  # share of a panel's height that the commonest bin's column takes


def size(panels: int, *, stacked: bool) -> tuple[int, int]:
    """Width and height in CSS pixels of a chart of so many panels."""
    wide, high = (1, panels) if stacked else (panels, 1)
    return wide * (SIDE + LEFT + _RIGHT), high * (SIDE + _TOP + _BOTTOM)


def reliability_chart(panels: Sequence[tuple[str, Sequence[Bin]]], *, key: str, stacked: bool = False) -> str:
    """One square per set of bins: points with their 95 % intervals against the diagonal, columns for how many.

    Args:
        panels: title and bins of each; the last is drawn in colour, earlier ones in grey.
        key: prefix of the ids inside the picture, unique on the page.
        stacked: one under the other rather than side by side.

    Returns:
        an ``<svg>`` element without fixed size.
    """
    width, height = size(len(panels), stacked=stacked)
    with canvas(width, height) as figure:
        for i, (title, bins) in enumerate(panels):
            left = LEFT + (0 if stacked else i * (SIDE + LEFT + _RIGHT))
            bottom = _BOTTOM + ((len(panels) - 1 - i) * (SIDE + _TOP + _BOTTOM) if stacked else 0)
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            _panel(axes, title, bins, SERIES[0] if i == len(panels) - 1 else REST)
        return element(figure, key, _described(panels))


def _panel(axes: Axes, title: str, bins: Sequence[Bin], colour: str) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    ticks = (0, 25, 50, 75, 100)
    axes.set_xticks(ticks, [f"{t} %" for t in ticks])
    axes.set_yticks(ticks, [f"{t} %" for t in ticks])
    axes.set_xlabel("how sure it was", loc="left", color=MUTED, labelpad=8)
    axes.set_title(title, loc="left", color=INK, fontsize=13 * POINT, weight="bold", pad=8)
    bare(axes)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.25 * POINT, dashes=(4, 3), zorder=1)
    x, y = [100 * b.confidence for b in bins], [100 * b.accuracy for b in bins]
    most = max((b.share for b in bins), default=1.0)
    axes.bar(x, [100 * _SHELF * b.share / most for b in bins], width=4.5, color=colour, alpha=0.25, zorder=2)
    axes.vlines(
        x,
        [100 * b.low for b in bins],
        [100 * b.high for b in bins],
        color=colour,
        linewidth=3 * POINT,
        alpha=0.35,
        zorder=3,
    )
    area = [(_SMALL + (_LARGE - _SMALL) * (b.share / most) ** 0.5) ** 2 * POINT**2 for b in bins]
    axes.scatter(x, y, s=area, color=colour, linewidth=0, zorder=4, clip_on=False)


def _described(panels: Sequence[tuple[str, Sequence[Bin]]]) -> str:
    parts = [
        f"{title}: " + ", ".join(f"{100 * b.confidence:.0f} % sure, {100 * b.accuracy:.0f} % right" for b in bins)
        for title, bins in panels
    ]
    return "How often answers of about one confidence are right. " + ". ".join(parts) + "."
