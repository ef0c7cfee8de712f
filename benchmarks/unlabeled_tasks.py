"""The tasks that the choice without labels is judged on: names, and piles of unlabeled images of many kinds.

WHU-RS19 with four encoders: nine tasks each, from three lists of classes (all 19, ten, five) and three settings of
texts (all prompts, two weak single ones); and every embedded data set. Each has a pile of each kind of `PILES`, which
is chosen without regard to how any method does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.auto_tasks import SUBSETS
from benchmarks.evidence import ENCODERS, Part, class_subsets, dense_texts, embedded, weak_prompts

from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.protocol.prepare import prepare
from clipwright.task import Features, Task, TextFeatures

Ints = np.ndarray
PILES = ("complete", "5 per class", "64 images", "20 images", "half missing", "long tail", "strangers", "far strangers")
STRANGERS, UNLISTED = 0.2, 0.25
TAIL = 20


@dataclass(frozen=True)
class Case:
    """Images, classes and texts.

    Attributes:
        cluster: encoder, or embedded data set.
        name: what the task is.
        x: all images; y: (n,) their classes, the truth.
        text: of the classes.
        scale: logit scale.
        parts: rows of the pile and rows to score, or None: halves.
        far: images of other things, by the same model, or None.
    """

    cluster: str
    name: str
    x: Features
    y: Ints
    text: TextFeatures
    scale: float
    parts: tuple[Ints, Ints] | None = None
    far: Features | None = None

    def halves(self, draw: int) -> tuple[Ints, Ints]:
        """Rows of the pile and rows to score."""
        if self.parts is not None:
            return self.parts
        order = generator(draw, "unlabeled", "halves").permutation(len(self.y))
        return np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])

    def task(self, text: TextFeatures, pile: Features, support: Features | None = None, seed: int = 0) -> Task:
        """What a method sees."""
        names = tuple(f"class {c}" for c in range(text.n_classes))
        return Task(names, text, support, unlabeled=pile.without_labels(), logit_scale=self.scale, seed=seed)


@dataclass(frozen=True)
class Pile:
    """Images to look at and images to score, of classes on a list.

    Attributes:
        kind: what it holds.
        text: of the listed classes.
        pile: images.
        scored: images; wanted: (m,) their place on the list.
    """

    kind: str
    text: TextFeatures
    pile: Features
    scored: Features
    wanted: Ints


def joined(one: Features, other: Features) -> Features:
    return Features(torch.cat([one.x, other.x]))


def piles(case: Case, draw: int) -> Iterator[Pile]:
    """One pile of each kind."""
    rng = generator(draw, "unlabeled", "piles")
    pool, scored = case.halves(draw)
    pool, y, classes = rng.permutation(pool), case.y, case.text.n_classes
    order = rng.permutation(classes)
    place = np.empty(classes, dtype=np.int64)
    place[order] = np.arange(classes)
    rank = np.empty(len(pool), dtype=np.int64)  # which image of its class each one is
    for c in range(classes):
        rank[y[pool] == c] = np.arange(int((y[pool] == c).sum()))
    counts = np.bincount(y[pool], minlength=classes)
    left = np.maximum(1, (counts * TAIL ** (-place / max(1, classes - 1))).astype(np.int64))
    chosen = {
        "complete": pool,
        "5 per class": pool[rank < 5],
        "64 images": pool[:64],
        "20 images": pool[:20],
        "half missing": pool[place[y[pool]] < (classes + 1) // 2],
        "long tail": pool[rank < left[y[pool]]],
    }
    for kind, rows in chosen.items():
        yield Pile(kind, case.text, case.x[rows], case.x[scored], y[scored])
    kept = np.sort(order[: classes - max(1, round(UNLISTED * classes))])
    listed = np.full(classes, -1)
    listed[kept] = np.arange(len(kept))
    inside, outside = pool[listed[y[pool]] >= 0], pool[listed[y[pool]] < 0]
    wanted = scored[listed[y[scored]] >= 0]
    some = outside[: round(len(inside) * STRANGERS / (1 - STRANGERS))]
    rows = np.concatenate([inside, some])
    text = case.text.of_classes(kept.tolist())
    yield Pile("strangers", text, case.x[rows], case.x[wanted], listed[y[wanted]])
    if case.far is not None:
        take = rng.permutation(len(case.far))[: round(len(pool) * STRANGERS / (1 - STRANGERS))]
        pile = joined(case.x[pool], case.far[take])
        yield Pile("far strangers", case.text, pile, case.x[scored], y[scored])


# --- tasks ------------------------------------------------------------------------------------------------------------


def whurs19(folder: Path, encoder: str) -> Iterator[Case]:
    """Nine tasks of one bundle."""
    whole = prepare(open_data(folder / f"whurs19_{encoder}.npz"), None)
    dense, labels = dense_texts(whole), whole.dataset.labels
    prompts = {"all prompts": [*range(len(dense))], **weak_prompts(whole, dense, (10, 50))}
    for name, classes in class_subsets(dense.shape[1], SUBSETS).items():
        rows = np.flatnonzero(np.isin(labels, classes))
        y = np.searchsorted(np.array(classes), labels[rows])
        for said, numbers in prompts.items():
            text = TextFeatures(dense[numbers][:, classes])
            yield Case(encoder, f"{encoder} / {name} / {said}", whole.features[rows], y, text, whole.logit_scale)


def embedded_cases(part: Part) -> Iterator[Case]:
    """The embedded data sets, with texts about their classes."""
    trials = [(trial.cluster, trial.prepared) for trial in embedded(part, texts=True)]
    found = dict(trials)
    for name, prepared in trials:
        data = prepared.dataset
        test = np.flatnonzero(data.splits == "test")
        parts = (np.flatnonzero(data.splits == "train"), test) if len(test) else None
        other = "letters" if name.startswith("shapes") else "shapes"
        text = prepared.text
        assert text is not None
        far = found[other].features
        yield Case(name, name, prepared.features, data.labels, text, prepared.logit_scale, parts, far)


def cases(shared: Path, part: Part) -> Iterator[Case]:
    """All tasks."""
    for encoder in ENCODERS:
        yield from whurs19(shared, encoder)
    yield from embedded_cases(part)
