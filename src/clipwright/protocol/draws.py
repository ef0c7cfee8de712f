"""Which labelled rows a fit may use: draws that depend on row identifiers, the seed and the draw, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.errors import DataError, UsageError
from clipwright.core.folds import class_order, row_keys

Short = Literal["refuse", "all"]
VALIDATION_CAP = 4  # the field's few-shot validation set: min(shots, 4) images per class


@dataclass(frozen=True, eq=False)
class DrawOrder:
    """The rows of every class in the order in which one draw takes them.

    Support sets are taken from the front and validation sets from the back, so k shots are a subset of 2k shots, and
    the two never meet.

    Attributes:
        classes: for each class, its rows in order.
        class_names: C names, for messages.
    """

    classes: tuple[NDArray[np.int64], ...]
    class_names: tuple[str, ...] = field(default=())

    def support(self, shots: int, *, short: Short = "refuse") -> NDArray[np.int64]:
        """Rows of `shots` images per class, class by class.

        Args:
            shots: images per class, at least 0.
            short: what to do with a class that has fewer: ``refuse``, or take ``all`` it has.

        Raises:
            DataError: a class has too few images and `short` is ``refuse``, or has none at all.
            UsageError: a negative number of shots.
        """
        self._check(shots, 0, short)
        return _joined([rows[:shots] for rows in self.classes])

    def validation(self, shots: int, *, short: Short = "refuse") -> NDArray[np.int64]:
        """Rows of ``min(shots, 4)`` images per class that `support(shots)` does not hold.

        With `short` set to ``all`` a small class gives what its support leaves, perhaps nothing.

        Raises:
            DataError: a class has too few images for both and `short` is ``refuse``, or has none at all.
            UsageError: a negative number of shots.
        """
        size = min(shots, VALIDATION_CAP)
        self._check(shots, size, short)
        return _joined([rows[max(shots, len(rows) - size) :] for rows in self.classes]) if size else _joined([])

    def _check(self, shots: int, reserve: int, short: Short) -> None:
        if shots < 0:
            raise UsageError(f"the number of shots can't be negative; it is {shots}.")
        for number, rows in enumerate(self.classes if shots else ()):
            if not len(rows) or (len(rows) < shots + reserve and short == "refuse"):
                raise DataError(self._too_few(number, shots, reserve))

    def _too_few(self, number: int, shots: int, reserve: int) -> str:
        name = repr(self.class_names[number]) if self.class_names else f"number {number}"
        have = len(self.classes[number])
        if not have:
            return f"class {name} has no labelled image to draw: add one, or leave the class out."
        wanted = f"{shots} shots" + (f" and {reserve} for validation" if reserve else "")
        images = "image" if have == 1 else "images"
        return (
            f"class {name} has {have} labelled {images} to draw from but {wanted} were asked for: add images, ask for "
            "fewer shots, or let small classes give all they have (--short all, in Python short='all')."
        )


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def draw_order(
    labels: ArrayLike, draw: int, seed: int, *, ids: Sequence[str] | None = None, class_names: Sequence[str] = ()
) -> DrawOrder:
    """The order in which one draw takes the rows of each class.

    Args:
        labels: (n,) class indices; rows labelled -1 are never drawn.
        draw: number of the draw, from 0.
        seed: the run's seed.
        ids: n unique row identifiers; by default the row numbers.
        class_names: C names; by default there are as many classes as the largest label says.
    """
    y = np.asarray(labels, dtype=np.int64)
    count = len(class_names) or (int(y.max()) + 1 if len(y) else 0)
    keys = row_keys(ids if ids is not None else [str(i) for i in range(len(y))], seed, "support", draw)
    return DrawOrder(tuple(class_order(y, keys, count)), tuple(class_names))


def support_draw(
    labels: ArrayLike,
    shots: int,
    draw: int,
    seed: int,
    *,
    ids: Sequence[str] | None = None,
    class_names: Sequence[str] = (),
    short: Short = "refuse",
) -> NDArray[np.int64]:
    """Rows of a support set with `shots` images per class.

    The draw of a class depends on the identifiers of its rows, the seed and the draw alone: not on the order of the
    rows, not on other classes, and k shots are a subset of 2k shots.

    Args:
        labels: (n,) class indices; rows labelled -1 are never drawn.
        shots: images per class, at least 0.
        draw: number of the draw, from 0.
        seed: the run's seed.
        ids: n unique row identifiers; by default the row numbers.
        class_names: C names; by default there are as many classes as the largest label says.
        short: what to do with a class that has fewer images: ``refuse``, or take ``all`` it has.

    Returns:
        row numbers, class by class.

    Raises:
        DataError: a class has fewer images than shots and `short` is ``refuse``, or none at all.
        UsageError: a negative number of shots.
    """
    return draw_order(labels, draw, seed, ids=ids, class_names=class_names).support(shots, short=short)


def validation_draw(
    labels: ArrayLike,
    shots: int,
    draw: int,
    seed: int,
    *,
    ids: Sequence[str] | None = None,
    class_names: Sequence[str] = (),
    short: Short = "refuse",
) -> NDArray[np.int64]:
    """Rows of ``min(shots, 4)`` images per class, disjoint from `support_draw` of the same draw; arguments as there."""
    return draw_order(labels, draw, seed, ids=ids, class_names=class_names).validation(shots, short=short)
