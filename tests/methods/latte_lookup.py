"""A model that is two tables of embeddings, so that a training of it can be followed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from clipwright.core.tensors import unit_rows
from clipwright.task import Access, Features, Task, TextFeatures
from clipwright.training.full_batch import full_batch_backward


class Lookup(nn.Module):
    """The row that the first number of an input names."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Parameter(table.clone())

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.table[numbers.flatten(1)[:, 0].long()]


class LookupTower:
    """Pixels are the number of an image and tokens the number of a text, padded to its length; views change nothing."""

    def __init__(self, images: torch.Tensor, texts: Sequence[str], embeddings: torch.Tensor) -> None:
        self.spec, self.digest, self.device, self.logit_scale = "lookup", "lookup", torch.device("cpu"), 100.0
        self.access = frozenset({Access.WEIGHTS, Access.FEATURES, Access.SCORES})
        self._images, self._texts = images, embeddings
        self.numbers = {text: i for i, text in enumerate(texts)}

    def image_module(self) -> nn.Module:
        return Lookup(self._images)

    def text_module(self) -> nn.Module:
        return Lookup(self._texts)

    def pixels(self, image: Any, recipe: str | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        del recipe, rng
        return np.array([image.getpixel((0, 0))])

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        longest = max(len(text) for text in texts)
        return torch.tensor([[self.numbers[text]] * longest for text in texts])


def lookup_task(
    images: torch.Tensor,
    class_texts: torch.Tensor,
    captions: torch.Tensor,
    groups: torch.Tensor,
    group_classes: torch.Tensor,
    *,
    scale: float = 100.0,
) -> Task:
    """A task whose model knows its images and texts by heart.

    Args:
        images: (n, D).
        class_texts: (P, C, D).
        captions: (n, D), zeros where an image has none.
        groups: (M, D).
        group_classes: (M,) class of each.
        scale: logit scale.
    """
    prompts, classes, _ = class_texts.shape
    said = [f"class {c} prompt {p}" for p in range(prompts) for c in range(classes)]
    singles = [f"caption {i}" if bool((row != 0).any()) else "" for i, row in enumerate(captions)]
    spoken = [f"group {i}" for i in range(len(groups))]
    texts = [*said, *(f"caption {i}" for i in range(len(captions))), *spoken]
    tower = LookupTower(images, texts, torch.cat([class_texts.flatten(0, 1), captions, groups]))
    rows = Features(
        images,
        ids=tuple(f"{i:04}" for i in range(len(images))),
        captions=captions,
        caption_texts=tuple(singles),
        source=lambda i: Image.new("I", (1, 1), i),
    )
    return Task(
        tuple(f"class {c}" for c in range(classes)),
        TextFeatures(class_texts, texts=tuple(said)),
        unlabeled=rows,
        group_captions=TextFeatures(groups, group_classes, texts=tuple(spoken)),
        logit_scale=scale,
        access=tower,
    )


def made_task(n: int = 23, classes: int = 5, dim: int = 7, *, prompts: int = 2, seed: int = 0) -> Task:
    """Such a task in float64; every fourth image has no caption, and the last class no group captions."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dim))

    def near(rows: np.ndarray, noise: float) -> torch.Tensor:
        return torch.from_numpy(rows + noise * rng.standard_normal(rows.shape))

    y = rng.integers(0, classes, n)
    captions = near(centres[y], 0.5)
    captions[::4] = 0
    of = np.arange(classes - 1).repeat(3)
    names = unit_rows(near(np.stack([centres] * prompts), 0.6))
    return lookup_task(near(centres[y], 1.0), names, captions, near(centres[of], 0.4), torch.from_numpy(of), scale=20.0)


def dying(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the training in step `at`."""
    real, steps = full_batch_backward, 0

    def backward(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > at:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr("clipwright.training.towers.full_batch_backward", backward)
