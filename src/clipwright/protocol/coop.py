"""CoOp's few-shot draws, image by image as its code makes them.

The convention (Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022, and its released code): Python's
`random`, seeded with 1, 2 or 3, samples each class in the order in which the classes first appear in the split file;
the support set comes first, then min(shots, 4) validation images per class out of the same stream. A class that has
fewer images gives all it has and takes nothing from the stream.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.protocol.draws import VALIDATION_CAP

SHOTS = (1, 2, 4, 8, 16)
SEEDS = (1, 2, 3)

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CoopDraw:
    """Row numbers of one draw, class by class.

    Attributes:
        support: rows of the train split.
        validation: rows of the val split; empty where the data set has none (ImageNet).
    """

    support: Ints
    validation: Ints


def coop_draw(dataset: Dataset, shots: int, seed: int) -> CoopDraw:
    """CoOp's support and validation sets.

    Row order matters: open the whole benchmark, draw, then take a part of the classes.

    Args:
        dataset: a benchmark with its rows in the order of its split file, as `open_data` gives them.
        shots: images per class, at least 1.
        seed: 1, 2 or 3 in the field's habit.

    Raises:
        UsageError: fewer than 1 shot.
        DataError: there is no train split.
    """
    if shots < 1:
        raise UsageError(f"the number of shots must be at least 1; it is {shots}.")
    labels, train, val = dataset.labels, dataset.rows("train"), dataset.rows("val")
    if not (labels[train] >= 0).any():
        raise DataError(f"{dataset.name} has no labelled train split, which CoOp's protocol draws from.")
    stream = random.Random(seed)  # noqa: S311 - the convention, not a secret
    support = _sampled(stream, train, labels, shots)
    return CoopDraw(support, _sampled(stream, val, labels, min(shots, VALIDATION_CAP)))


def _sampled(stream: random.Random, rows: Ints, labels: Ints, count: int) -> Ints:
    members: dict[int, list[int]] = {}
    for row in rows.tolist():
        if labels[row] >= 0:
            members.setdefault(int(labels[row]), []).append(row)
    drawn: list[int] = []
    for of_class in members.values():
        drawn += _few(stream, of_class, count)
    return np.array(drawn, dtype=np.int64)


def _few(stream: random.Random, rows: Sequence[int], count: int) -> list[int]:
    return stream.sample(rows, count) if len(rows) >= count else list(rows)
