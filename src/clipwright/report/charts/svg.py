"""What all charts share: inline SVG that takes its colours and typeface from the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clipwright.report.elements import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that no chart would choose, each to become a CSS variable of the page.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#040401", "#040402", "#040403", "#040404")
REST = "#040405"
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", REST: "--rest"} | {
    colour: f"--series-{i}" for i, colour in enumerate(SERIES, 1)
}
MARKERS = ("o", "s", "D", "^")
POINT = 0.75  # points per CSS pixel
LEFT = 54  # CSS pixels that the widest tick label of a share and its distance take
LETTER = 7.6  # CSS pixels of an average bold letter at the size that charts use
_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clipwright",
    "text.parse_math": False,  # names are text, whatever dollar signs they hold
    "font.size": 13 * POINT,
    "axes.unicode_minus": True,
}


@contextmanager
def canvas(width: int, height: int) -> Iterator[Figure]:
    """A figure of so many CSS pixels, with the settings that `element` relies on."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_RC):
        yield Figure(figsize=(width * POINT / 72, height * POINT / 72), dpi=72)


def styles(curves: Sequence[Curve]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each method by rank: the best ends first; grey from the fifth on."""
    ranked = sorted((c for c in curves if c.points), key=lambda c: -c.points[-1].mean)
    own = zip(SERIES, MARKERS, strict=True)
    return {c.method: next(own, (REST, "o")) for c in ranked}


def series_colours(curves: Sequence[Curve]) -> dict[str, str]:
    """The CSS variable of each method's colour, for whatever else on the page speaks of it."""
    return {method: VARIABLES[colour] for method, (colour, _) in styles(curves).items()}


def bare(axes: Axes) -> None:
    """No frame, no background, quiet ticks, level lines."""
    axes.tick_params(length=0, colors=MUTED, pad=7)
    axes.grid(axis="y", color=RULE, linewidth=1 * POINT)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def element(figure: Figure, key: str, description: str) -> str:
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
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{key}-", svg)
    head = f'<svg class="chart" role="img" aria-label="{escape(description)}"'
    svg = re.sub(r'^<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'{head} viewBox="\1">', svg, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
