"""A small made-up task that meets every data need, for checks of methods and for trying out a new one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from clipwright.core.errors import DataError
from clipwright.core.rng import generator
from clipwright.task import Access, BlackBox, Features, Need, Spent, Task, TextFeatures, Tower

_PROMPTS, _VIEWS, _SECOND = 3, 4, 6
_SIDE, _CONTRAST = 8, 10.0  # of the images: their sides, and grey levels for one unit of a feature
_CONTEXT = (4, 8)  # vectors of a soft prompt, and their width


@dataclass(frozen=True)
class Example:
    """A task, and rows to predict that it doesn't hold, with their labels."""

    task: Task
    test: Features


class ExamplePrompts:
    """A black box of a few lines: a prompt stretches the dimensions of the class texts.

    Args:
        texts: (C, D) class texts.
        seed: other seeds stretch otherwise.
    """

    def __init__(self, texts: torch.Tensor, seed: int = 0) -> None:
        self.access = frozenset({Access.SOFT_PROMPT, Access.FEATURES, Access.SCORES})
        self.spent = Spent()
        self.texts, self.seed = texts, seed
        matrix = generator(seed, "example", "prompts").standard_normal((_CONTEXT[1], texts.shape[1]))
        self._matrix = torch.from_numpy(matrix)

    def context(self, words: str) -> torch.Tensor:
        """(4, 8) embeddings, small as those of words are."""
        return torch.from_numpy(generator(self.seed, "example", words).standard_normal(_CONTEXT) / 50).float()

    def prompt_features(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) stretched texts."""
        self.spent.prompts += len(contexts)
        stretch = 1 + 0.5 * torch.tanh(10 * contexts.double().mean(1) @ self._matrix)
        return self.texts.double() * stretch[:, None]

    def prompt_scores(self, contexts: torch.Tensor, handles: Sequence[str]) -> torch.Tensor:
        """No image is known here.

        Raises:
            DataError: always.
        """
        raise DataError(f"{len(handles)} images are not known here: use their features.")

    def of_classes(self, numbers: Sequence[int]) -> ExamplePrompts:
        """The box of some classes, in the order given; a class may be given twice."""
        return ExamplePrompts(self.texts[list(numbers)], self.seed)


class ExampleTower:
    """A vision-language model of a few lines: features are a linear map of 8 x 8 pixels, and of counted letters.

    Args:
        dim: D.
        seed: other seeds map otherwise.
    """

    def __init__(self, dim: int, seed: int = 0) -> None:
        self.spec, self.digest = "example", f"example-{dim}-{seed}"
        self.device, self.logit_scale = torch.device("cpu"), 100.0
        drawn = generator(seed, "example", "tower").standard_normal((_SIDE * _SIDE * 3, dim))
        self.matrix = np.linalg.qr(drawn)[0]
        self.letters = generator(seed, "example", "letters").standard_normal((128, dim))

    @property
    def access(self) -> frozenset[Access]:
        """Its weights."""
        return frozenset({Access.WEIGHTS, Access.FEATURES, Access.SCORES})

    def images(self, x: np.ndarray) -> np.ndarray:
        """(n, 3, 8, 8) uint8 pixels whose features are near to (n, D)."""
        pixels = 128 + _CONTRAST * x @ self.matrix.T
        found: np.ndarray = np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(-1, 3, _SIDE, _SIDE)
        return found

    def features(self, pixels: np.ndarray) -> np.ndarray:
        """(n, D) features of pixels."""
        with torch.no_grad():
            x: torch.Tensor = self.image_module()(torch.from_numpy(pixels))
        return x.double().numpy()

    def pixels(self, image: Any, recipe: str | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        """(3, 8, 8) pixels; a view of any recipe is the image shifted by a few grey levels."""
        found = np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
        if recipe is None or rng is None:
            return np.ascontiguousarray(found)
        shifted: np.ndarray = np.clip(found.astype(int) + int(rng.integers(-3, 4)), 0, 255).astype(np.uint8)
        return shifted

    def image_module(self) -> nn.Module:
        """The linear map, ready to be trained."""
        layer: nn.Linear = nn.utils.skip_init(nn.Linear, *self.matrix.shape)  # type: ignore[no-untyped-call] # draws nothing
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(self.matrix.T) / _CONTRAST)
            layer.bias.copy_(-128 / _CONTRAST * torch.from_numpy(self.matrix.sum(0)))
        return nn.Sequential(_Flat(), layer)

    def text_module(self) -> nn.Module:
        """An embedding of letters, averaged."""
        return nn.EmbeddingBag.from_pretrained(torch.from_numpy(self.letters).float(), freeze=False)

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, l) numbers of letters, repeated to the length of the longest text."""
        longest = max((len(text) for text in texts), default=1)
        return torch.tensor(
            [[ord((text or " ")[i % max(1, len(text))]) % 128 for i in range(longest)] for text in texts]
        )


class _Flat(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().flatten(1)


class _Maker:
    """Draws rows around class centres; a draw depends on seed and name alone."""

    def __init__(self, classes: int, dim: int, dtype: torch.dtype, seed: int, *, seen: bool = False) -> None:
        self.classes, self.dtype, self.seed, self.seen = classes, dtype, seed, seen
        self.tower = ExampleTower(dim, seed)
        self.centres = self.normal("centres", classes, dim) / np.sqrt(dim)
        self.second = self.normal("second centres", classes, _SECOND)
        self.matrix = self.normal("projection", dim + 4, dim) / np.sqrt(dim)

    def normal(self, name: str, *shape: int) -> np.ndarray:
        return generator(self.seed, "example", name).standard_normal(shape)

    def tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.dtype)

    def rows(self, name: str, per_class: int, needs: frozenset[Need]) -> Features:
        y = np.repeat(np.arange(self.classes), per_class)
        n, dim = len(y), self.centres.shape[1]
        x = 10 * (self.centres[y] + 0.9 * self.normal(name, n, dim) / np.sqrt(dim))
        noise = 3 * self.normal(f"{name} views", n, _VIEWS, dim) / np.sqrt(dim)
        pixels = self.tower.images(x)
        captions = 5 * (self.centres[y] + self.normal(f"{name} captions", n, dim) / np.sqrt(dim))
        return Features(
            self.tensor(x if not self.seen else self.tower.features(pixels)),
            torch.from_numpy(y),
            ids=tuple(f"{name}/{i}" for i in range(n)),
            views=self.tensor(x[:, None] + noise) if Need.VIEWS in needs else None,
            pre_projection=self.tensor(x @ np.linalg.pinv(self.matrix)) if Need.PRE_PROJECTION in needs else None,
            second=self.tensor(self.second[y] + self.normal(f"{name} 2", n, _SECOND)) if Need.SECOND in needs else None,
            captions=self.tensor(captions) if Need.CAPTIONS in needs else None,
            caption_texts=tuple(f"{name} {i}" for i in range(n)) if Need.CAPTIONS in needs else None,
            source=(lambda i: Image.fromarray(pixels[i].transpose(1, 2, 0))) if Need.IMAGES in needs else None,
            scores=self.tensor(x @ self.centres.T) if Need.SCORES in needs else None,
        )

    def text(self) -> TextFeatures:
        rows = self.centres + 0.3 * self.normal("texts", _PROMPTS, *self.centres.shape) / np.sqrt(self.centres.shape[1])
        lengths = 7 + self.normal("lengths", _PROMPTS, self.classes, 1) / 2
        texts = tuple(f"class {c} prompt {p}" for p in range(_PROMPTS) for c in range(self.classes))
        return TextFeatures(self.tensor(rows / np.linalg.norm(rows, axis=-1, keepdims=True) * lengths), texts=texts)

    def group_captions(self) -> TextFeatures:
        classes = np.repeat(np.arange(self.classes), 3)
        rows = 5 * (self.centres[classes] + self.normal("groups", len(classes), self.centres.shape[1]) / 8)
        texts = tuple(f"group {i}" for i in range(len(classes)))
        return TextFeatures(self.tensor(rows), torch.from_numpy(classes), kind="group", texts=texts)


def example(
    needs: Iterable[Need] = tuple(Need),
    *,
    classes: int = 5,
    shots: int = 3,
    dim: int = 16,
    dtype: torch.dtype = torch.float64,
    access: Tower | BlackBox | None = None,
    soft_prompts: bool = False,
    weights: bool = False,
    seed: int = 0,
) -> Example:
    """Make a task that meets `needs` and nothing else, and rows to predict.

    Args:
        needs: the data that the task holds.
        classes: C, at least 1.
        shots: labelled rows per class.
        dim: D, at least 3.
        dtype: of all features.
        access: the model behind the features.
        soft_prompts: put a black box behind them that takes soft prompts.
        weights: put a model behind them whose weights can be changed; the features are its features of the images.
        seed: other seeds make other data.
    """
    wanted = frozenset(needs)
    if Need.CAPTIONS in wanted:
        wanted |= {Need.UNLABELED}  # whose captions they are
    maker = _Maker(classes, dim, dtype, seed, seen=weights)
    labelled = bool(wanted & {Need.LABELS, Need.VIEWS})
    if soft_prompts and access is None:
        access = ExamplePrompts(maker.text().classifier(), seed)
    if weights and access is None:
        access = maker.tower
    others = {Need.UNLABELED: "unlabeled", Need.QUERY: "query"}
    if wanted and not labelled and not wanted & set(others) and wanted - {Need.TEXT}:
        labelled = True  # the remaining needs are about rows, so there must be some
    task = Task(
        tuple(f"class {c}" for c in range(classes)),
        maker.text() if Need.TEXT in wanted else None,
        maker.rows("support", shots, wanted) if labelled else None,
        maker.rows("validation", 2, wanted) if Need.VALIDATION in wanted else None,
        **{name: maker.rows(name, 4, wanted) if need in wanted else None for need, name in others.items()},  # type: ignore[arg-type] # the two row fields
        group_captions=maker.group_captions() if Need.CAPTIONS in wanted and Need.UNLABELED in wanted else None,
        projection=maker.tensor(maker.matrix) if Need.PRE_PROJECTION in wanted else None,
        access=access,
        seed=seed,
    )
    return Example(task, maker.rows("test", 4, wanted))
