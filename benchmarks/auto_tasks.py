"""The task generator that automatic choice is judged on: encoders, classes, prompts, wrong or missing names, imbalance.

WHU-RS19 with four encoders: 27 tasks each, from three lists of classes (all 19, ten, five) and nine settings of texts,
names and numbers of labels; and every embedded data set. A setting is chosen without regard to how any method does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.evidence import (
    ENCODERS,
    class_subsets,
    dense_texts,
    embedded,
    of_classes,
    weak_prompts,
)

from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.protocol.draws import draw_order
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.task import TextFeatures

Names = Literal["right", "third wrong", "wrong", "missing"]
SUBSETS = ((10, 0), (5, 0))
TAIL = 4  # the rarest class has a quarter of the labels of the commonest


@dataclass(frozen=True)
class Setting:
    """What a task says of its classes, and how many labels it gives of each."""

    prompts: str
    names: Names = "right"
    imbalanced: bool = False

    def __str__(self) -> str:
        return ", ".join([self.prompts, f"{self.names} names", *(["imbalanced"] if self.imbalanced else [])])


SETTINGS = (
    Setting("all prompts"),
    Setting("prompt at 10 %"),
    Setting("prompt at 50 %"),
    Setting("all prompts", imbalanced=True),
    Setting("prompt at 10 %", imbalanced=True),
    Setting("all prompts", "third wrong"),
    Setting("prompt at 10 %", "third wrong"),
    Setting("all prompts", "wrong"),
    Setting("all prompts", "missing"),
)


@dataclass(frozen=True)
class Trial:
    """One task.

    Attributes:
        cluster: encoder, or embedded data set.
        name: what the task is.
        setting: of names and labels.
        prepared: features, texts and labels.
        train: rows that support sets are drawn from.
        test: rows that are scored, or None: those that a draw leaves.
    """

    cluster: str
    name: str
    setting: Setting
    prepared: Prepared
    train: np.ndarray
    test: np.ndarray | None

    def support(self, shots: int, draw: int) -> np.ndarray:
        """Rows of a support set."""
        labels = self.prepared.dataset.labels
        hidden = np.full(len(labels), -1)
        hidden[self.train] = labels[self.train]
        order = draw_order(
            hidden, draw, 0, ids=self.prepared.dataset.ids, class_names=self.prepared.dataset.class_names
        )
        counts = label_counts(shots, len(order.classes), imbalanced=self.setting.imbalanced, seed=draw)
        return np.concatenate([rows[:n] for rows, n in zip(order.classes, counts, strict=True)])

    def scored(self, most: int, draw: int) -> np.ndarray:
        """Rows to score: the test part, or what a draw of `most` labels per class leaves."""
        return self.test if self.test is not None else np.setdiff1d(self.train, self.support(most, draw))


def label_counts(shots: int, classes: int, *, imbalanced: bool, seed: int) -> list[int]:
    """Labels of each class: all `shots`, or falling geometrically to a quarter of it, classes in random order."""
    if not imbalanced:
        return [shots] * classes
    places = generator(seed, "auto", "imbalance").permutation(classes) / max(1, classes - 1)
    return [max(1, round(shots * TAIL**-p)) for p in places.tolist()]


def trials(shared: Path, *, part: Literal["development", "test"] = "development") -> Iterator[Trial]:
    """All tasks."""
    for encoder in ENCODERS:
        yield from whurs19_trials(shared / f"whurs19_{encoder}.npz", encoder)
    yield from embedded_trials(part)


def whurs19_trials(path: Path, encoder: str, settings: Sequence[Setting] = SETTINGS) -> Iterator[Trial]:
    """The 27 tasks of one bundle."""
    whole = prepare(open_data(path), None)
    dense = dense_texts(whole)
    prompts = {"all prompts": [*range(len(dense))], **weak_prompts(whole, dense, (10, 50))}
    for name, classes in class_subsets(len(whole.dataset.class_names), SUBSETS).items():
        part = of_classes(whole, classes)
        rows = np.arange(len(part.dataset))
        for setting in settings:
            texts = renamed(dense[prompts[setting.prompts]][:, classes], setting.names, name)
            prepared = replace(part, text=None if texts is None else TextFeatures(texts))
            yield Trial(encoder, f"{encoder} / {name} / {setting}", setting, prepared, rows, None)


def renamed(texts: torch.Tensor, names: Names, key: str) -> torch.Tensor | None:
    """(P, C, D) texts with some or all classes under the name of another, or none at all."""
    classes = texts.shape[1]
    if names == "missing":
        return None
    if names == "right":
        return texts
    order = generator(0, "auto", "names", key).permutation(classes).tolist()
    moved = order if names == "wrong" else order[: max(2, round(classes / 3))]
    source = list(range(classes))
    for place, other in zip(moved, moved[1:] + moved[:1], strict=True):
        source[place] = other
    return texts[:, source]


def embedded_trials(part: Literal["development", "test"]) -> Iterator[Trial]:
    """Every embedded data set with the embedded model."""
    for trial in embedded(part):
        data = trial.prepared.dataset
        train = np.flatnonzero(data.splits == "train")
        test = np.flatnonzero(data.splits == "test")
        yield Trial(trial.cluster, data.name, Setting("template"), trial.prepared, train, test if len(test) else None)
