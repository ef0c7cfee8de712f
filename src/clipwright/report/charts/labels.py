"""Names beside points, placed so that they neither touch each other nor leave the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEIGHT = 16.0  # CSS pixels of a line of lettering
_AWAY = 9.0  # from a point's centre to its label
_FAR = 12.0  # a label further up or down than this gets a line to its point


@dataclass(frozen=True)
class Box:
    """A rectangle in CSS pixels, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Area that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        along = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, across) * max(0.0, along)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.top - self.bottom)


@dataclass(frozen=True)
class Place:
    """Where a label goes.

    Attributes:
        box: what it covers.
        side: where the text starts: ``left`` or ``right`` of its point.
        tied: whether it stands so far off that a line should lead to it.
    """

    box: Box
    side: str
    tied: bool


def placed(
    points: Sequence[tuple[float, float]], widths: Sequence[float], frame: Box, lines: Sequence[Box] = ()
) -> list[Place]:
    """A place for each label, the first choosing first.

    Args:
        points: (x, y) of each point in CSS pixels.
        widths: of each label.
        frame: what no label may leave.
        lines: what else labels should keep clear of.
    """
    marks = [*(Box(x - 6, y - 6, x + 6, y + 6) for x, y in points), *lines]
    found: list[Place] = []
    for (x, y), width in zip(points, widths, strict=True):
        taken = [p.box for p in found] + marks
        candidates = list(_candidates(x, y, width, frame))
        found.append(min(candidates, key=lambda p: _cost(p, taken, frame)))
    return found


def _cost(place: Place, taken: Sequence[Box], frame: Box) -> float:
    """Area that is covered twice or lies outside; `min` takes the first of equals, which is the nearest."""
    outside = place.box.area - place.box.overlap(frame)
    return round(10 * outside + sum(place.box.overlap(other) for other in taken), 3)


def _candidates(x: float, y: float, width: float, frame: Box) -> Iterator[Place]:
    rows = int((frame.top - frame.bottom) / HEIGHT)
    for step in range(rows):
        for shift in {step * HEIGHT, -step * HEIGHT}:
            bottom = y + shift - HEIGHT / 2
            for side in ("right", "left"):
                start = x + _AWAY if side == "right" else x - _AWAY - width
                yield Place(Box(start, bottom, start + width, bottom + HEIGHT), side, abs(shift) > _FAR)
