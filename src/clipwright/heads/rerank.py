"""A second look at the leading classes of an ambiguous image, two classes at a time."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, build, checked_classes, describe

_TIE = 1e-3  # share of the leading logits' range that is kept for putting equals into the first head's order


class RerankHead(Head):
    """Another head's logits, the leading ones put into a new order where the first two are nearly equal.

    Where the two largest probabilities, ``softmax`` of the first head's logits, differ by less than `gap`, the `top`
    leading classes are compared pair by pair: ``d_ij = u . v_ij``, u the image feature scaled to length 1, and class i
    gets ``g_i = mean over the other leading classes j of d_ij``. ``v_ji = -v_ij``; a pair without a vector counts 0.
    The leading logits then follow g between the same smallest and largest value, so that the class with the largest g
    wins. Of equal g, the one that the first head puts first; where all are equal, the logits stay as they were.

    Which classes lead depends on which compete: a restricted head compares those left.

    Args:
        head: gives the first order; it takes image features.
        pairs: (P, 2) int64 pairs of classes, the smaller number first, each pair once.
        vectors: (P, D), what speaks for the first class of each pair against the second.
        gap: difference of probabilities, 0..1 (and above: always), below which an image is looked at again.
        top: how many leading classes are compared, at least 2.

    Raises:
        DataError: shapes that don't fit, or pairs that aren't pairs of classes.
    """

    vectors: torch.Tensor
    pairs: torch.Tensor
    rivals: torch.Tensor
    places: torch.Tensor
    gap: torch.Tensor

    def __init__(self, head: Head, pairs: torch.Tensor, vectors: torch.Tensor, *, gap: float, top: int = 5) -> None:
        super().__init__()
        if pairs.ndim != 2 or pairs.shape[1] != 2 or vectors.ndim != 2 or len(vectors) != len(pairs):
            shapes = tuple(pairs.shape), tuple(vectors.shape)
            raise DataError(f"a re-ranking head takes (P, 2) pairs and (P, D) vectors: {shapes[0]} and {shapes[1]}.")
        if top < 2 or head.inputs != ("image",):
            raise DataError("a re-ranking head compares at least 2 classes and stands on a head of image features.")
        _check_pairs(pairs, head.n_classes)
        vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
        self._set(head, pairs.long(), vectors, _table(pairs.long(), head.n_classes), gap=gap, top=top)

    def _set(
        self,
        head: Head,
        pairs: torch.Tensor,
        vectors: torch.Tensor,
        table: tuple[torch.Tensor, torch.Tensor],
        *,
        gap: float,
        top: int,
    ) -> None:
        self.head, self.top = head, top
        self.register_buffer("pairs", pairs)
        self.register_buffer("vectors", vectors.contiguous())
        self.register_buffer("rivals", table[0])  # (C, K) classes that each class has a vector with, -1 = no more
        self.register_buffer("places", table[1])  # (C, K) which vector
        self.register_buffer("gap", torch.tensor(gap, dtype=vectors.dtype, device=vectors.device))

    @property
    def config(self) -> dict[str, Any]:
        """The first head's description, and sizes."""
        return {
            "head": describe(self.head),
            "n_pairs": len(self.pairs),
            "n_rivals": int(self.rivals.shape[1]),
            "dim": int(self.vectors.shape[1]),
            "top": self.top,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RerankHead:
        """The first head, and empty pairs of the given sizes."""
        made = cls.__new__(cls)
        Head.__init__(made)
        head, pairs, dim = build(config["head"]), config["n_pairs"], config["dim"]
        empty = torch.zeros(head.n_classes, config["n_rivals"], dtype=torch.int64)
        pair_list = torch.zeros(pairs, 2, dtype=torch.int64)
        made._set(head, pair_list, torch.zeros(pairs, dim), (empty, empty.clone()), gap=0.0, top=config["top"])
        return made

    @property
    def n_classes(self) -> int:
        """C."""
        return self.head.n_classes

    def verify(self) -> None:
        """Refuse pairs that the first head's classes don't make."""
        super().verify()
        try:
            _check_pairs(self.pairs, self.n_classes)
        except DataError as error:
            raise FormatError(f"the saved head is damaged: {error}") from error
        rivals, places = _table(self.pairs, self.n_classes)
        same = torch.equal(rivals, self.rivals) and torch.equal(places, self.places)
        if not same or self.head.inputs != ("image",) or not isinstance(self.top, int) or self.top < 2:
            raise FormatError("the saved head is damaged: its table of rivals isn't that of its pairs.")

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, which compete among themselves."""
        index = checked_classes(class_index, self.n_classes).to(self.pairs.device)
        if len(torch.unique(index)) < len(index):  # a class asked for twice can't compete with itself
            return super().restrict(class_index)
        place = self.pairs.new_full((self.n_classes,), -1)
        place[index] = torch.arange(len(index), device=index.device)
        pairs = place[self.pairs]
        kept = (pairs >= 0).all(1)
        pairs, vectors = pairs[kept], self.vectors[kept]
        swapped = pairs[:, 0] > pairs[:, 1]
        vectors = torch.where(swapped[:, None], -vectors, vectors)
        return RerankHead(
            self.head.restrict(class_index), pairs.sort(1).values, vectors, gap=float(self.gap), top=self.top
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        logits: torch.Tensor = self.head(x)
        if self.n_classes < 2 or not len(self.pairs):
            return logits
        leading, classes = logits.topk(min(self.top, self.n_classes), dim=1)
        chances = logits.softmax(1).gather(1, classes[:, :2])
        ambiguous = chances[:, :1] - chances[:, 1:] < self.gap
        again = reordered(leading, self.preferences(x, classes))
        return logits.scatter(1, classes, torch.where(ambiguous, again, leading))

    def preferences(self, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """(m, k) g of each of k classes of each image, compared among themselves.

        Args:
            x: (m, D) image features.
            classes: (m, k) int64 different classes, k at least 2.
        """
        u = unit_rows(x).to(self.vectors.dtype)
        known = torch.cat([self.vectors, self.vectors.new_zeros(1, self.vectors.shape[1])])  # the last: no such pair
        columns = [u.new_zeros(u.shape[0]) for _ in range(classes.shape[1])]
        for i, j in combinations(range(classes.shape[1]), 2):
            a, b = classes[:, i], classes[:, j]
            place = torch.where(self.rivals[a] == b[:, None], self.places[a], len(self.vectors)).amin(1)
            d = torch.where(a < b, 1, -1) * (u * known[place]).sum(1)
            columns[i], columns[j] = columns[i] + d, columns[j] - d
        return torch.stack(columns, 1) / (len(columns) - 1)


def reordered(leading: torch.Tensor, preference: torch.Tensor) -> torch.Tensor:
    """(m, k) logits that follow the preference between the smallest and the largest of the leading ones.

    Args:
        leading: (m, k) logits, largest first.
        preference: (m, k); of equal largest ones the first comes first.
    """
    low, span = leading[:, -1:], leading[:, :1] - leading[:, -1:]
    most, least = preference.amax(1, keepdim=True), preference.amin(1, keepdim=True)
    level = most == least
    rank = (preference - least) / torch.where(level, torch.ones_like(most), most - least)
    best = preference == most
    first = leading.gather(1, best.int().argmax(1, keepdim=True))
    value = torch.where(best, leading[:, :1] - _TIE * (first - leading), low + (1 - _TIE) * span * rank)
    return torch.where(level, leading, value)


def _check_pairs(pairs: torch.Tensor, n_classes: int) -> None:
    if not len(pairs):
        return
    low, high = int(pairs.min()), int(pairs.max())
    if low < 0 or high >= n_classes or not bool((pairs[:, 0] < pairs[:, 1]).all()):
        raise DataError(f"pairs must be two different classes in 0..{n_classes - 1}, the smaller number first.")
    if len(torch.unique(pairs[:, 0] * n_classes + pairs[:, 1])) < len(pairs):
        raise DataError("a pair of classes is there twice: give each pair one vector.")


def _table(pairs: torch.Tensor, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(C, K) rivals of each class, -1 where it has fewer than K, and which pair they stand in."""
    owner, rival = torch.cat([pairs[:, 0], pairs[:, 1]]), torch.cat([pairs[:, 1], pairs[:, 0]])
    place = torch.arange(len(pairs), device=pairs.device).repeat(2)
    order = owner.argsort(stable=True)
    owner, rival, place = owner[order], rival[order], place[order]
    counts = torch.bincount(owner, minlength=n_classes)
    column = torch.arange(len(owner), device=pairs.device) - (counts.cumsum(0) - counts)[owner]
    width = max(1, int(counts.max()))
    rivals = pairs.new_full((n_classes, width), -1)
    places = pairs.new_zeros(n_classes, width)
    rivals[owner, column], places[owner, column] = rival, place
    return rivals, places
