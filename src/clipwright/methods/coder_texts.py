"""What a class's texts are to CODER: some describe it, some name it, some tell it from one other class."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.coder import CoderHead
from clipwright.task import TextFeatures

Kind = Literal["attribute", "analogue", "description", "synonym", "one-vs-one"]

DESCRIBING: tuple[Kind, ...] = ("attribute", "analogue", "description")
"""Kinds whose texts each count as one; the published method has the first two."""

KINDS: tuple[Kind, ...] = (*DESCRIBING, "synonym", "one-vs-one")
"""All kinds that CODER reads, besides those that name a class."""

NAMING = ("name", "template")
"""Kinds that name a class, the better one first."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Unit text rows by the part they play. Rows of a class stand in the order in which they came.

    Attributes:
        described: (A, D) texts that describe a class.
        described_class: (A,) int64.
        described_row: (A,) int64 rows of the texts that they were made from.
        names: (B, D) the name of each class that has one, then synonyms.
        names_class: (B,) int64.
        names_row: (B,) int64, -1 for a name averaged over several rows.
        n_classes: C.
    """

    described: torch.Tensor
    described_class: torch.Tensor
    described_row: torch.Tensor
    names: torch.Tensor
    names_class: torch.Tensor
    names_row: torch.Tensor
    n_classes: int

    def counts(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(C,) describing texts, and (C,) names and synonyms of each class."""
        blocks = (self.described_class, self.names_class)
        described, names = (torch.bincount(b, minlength=self.n_classes) for b in blocks)
        return described, names

    def weight(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(C, D) describing texts summed, over the number of parts, and (C,) the share of the name.

        The parts are the describing texts and, where there is any name or synonym, one more.
        """
        described, names = self.counts()
        named = (names > 0).to(self.described.dtype)
        parts = described + named
        sums = self.described.new_zeros(self.n_classes, self.described.shape[1])
        sums = sums.index_add_(0, self.described_class, self.described)
        return sums / parts[:, None], named / parts

    def padded_names(self) -> torch.Tensor:
        """(C, S, D) names and synonyms of each class, the first one repeated; zeros for a class without."""
        _, counts = self.counts()
        order = self.names_class.argsort(stable=True)
        start = counts.cumsum(0) - counts
        column = torch.arange(max(1, int(counts.max())))
        place = start[:, None] + torch.where(column < counts[:, None], column, 0)
        rows = torch.cat([self.names[order], self.names.new_zeros(1, self.names.shape[1])])
        return rows[torch.where(counts[:, None] > 0, place, len(order))]

    def head(self, scale: float) -> CoderHead:
        """The classifier of stage 1."""
        weight, share = self.weight()
        return CoderHead(weight, self.padded_names(), share, scale=scale)


def text_blocks(
    text: TextFeatures, kinds: Collection[str], dtype: torch.dtype, class_names: Sequence[str] | None = None
) -> Blocks:
    """Sort texts by the part they play.

    The name of a class is the mean of its ``name`` rows scaled to length 1, or of its prompt templates where it has no
    ``name`` row. Kinds that aren't wanted, and captions, are left out.

    Args:
        text: T rows.
        kinds: which of `KINDS` are wanted.
        dtype: to compute in.
        class_names: C names, for messages.

    Raises:
        DataError: a class has no text of these kinds.
    """
    rows = unit_rows(text.x).to(dtype)
    described = _is(text, [k for k in DESCRIBING if k in kinds])
    names, names_class, names_row = _names(text, rows)
    synonyms = _is(text, ["synonym"] if "synonym" in kinds else []).nonzero()[:, 0]
    described_row = described.nonzero()[:, 0]
    blocks = Blocks(
        described=rows[described_row],
        described_class=text.classes[described_row],
        described_row=described_row,
        names=torch.cat([names, rows[synonyms]]),
        names_class=torch.cat([names_class, text.classes[synonyms]]),
        names_row=torch.cat([names_row, synonyms]),
        n_classes=text.n_classes,
    )
    for c, (n, m) in enumerate(zip(*(counts.tolist() for counts in blocks.counts()), strict=True)):
        if n + m == 0:
            name = c if class_names is None else repr(class_names[c])
            raise DataError(f"class {name} has no text that CODER reads: give it a name or a prompt template.")
    return blocks


def first_kind(text: TextFeatures, kinds: Sequence[str]) -> torch.Tensor:
    """(T,) which rows to read: of each class those of the first of `kinds` that it has, none where it has none."""
    chosen = torch.zeros(len(text), dtype=torch.bool)
    for kind in kinds:
        has = torch.bincount(text.classes[chosen], minlength=text.n_classes) > 0
        chosen = chosen | (_is(text, [kind]) & ~has[text.classes])
    return chosen


def prompts(text: TextFeatures) -> TextFeatures:
    """The prompt templates of each class, or its name where it has none, or all that is said of it alone."""
    chosen = first_kind(text, ("template", "name"))
    has = torch.bincount(text.classes[chosen], minlength=text.n_classes) > 0
    return text[chosen | ((text.rivals < 0) & ~has[text.classes])]


def _names(text: TextFeatures, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One unit row for each class that is named, the class, and the row where it is a single one, else -1."""
    own = first_kind(text, NAMING).nonzero()[:, 0]
    classes = text.classes[own]
    counts = torch.bincount(classes, minlength=text.n_classes)
    sums = rows.new_zeros(text.n_classes, rows.shape[1]).index_add_(0, classes, rows[own])
    only = torch.full((text.n_classes,), -1).index_copy_(0, classes, own)
    there = (counts > 0).nonzero()[:, 0]
    return unit_rows(sums[there]), there, torch.where(counts == 1, only, -1)[there]


def _is(text: TextFeatures, kinds: Collection[str]) -> torch.Tensor:
    """(T,) rows of some kinds that speak of their class alone."""
    return torch.tensor([kind in kinds for kind in text.kind], dtype=torch.bool) & (text.rivals < 0)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What tells classes apart two by two.

    Attributes:
        pairs: (P, 2) int64 pairs that have texts in both directions, the smaller class first, ascending.
        vectors: (P, D) mean of the unit texts of the first against the second, minus the other way round; the vector
            of the pair turned round is its negative, which is why one is kept.
        one_sided: pairs with texts in one direction only, which can't be compared.
    """

    pairs: torch.Tensor
    vectors: torch.Tensor
    one_sided: int


def pair_vectors(text: TextFeatures, dtype: torch.dtype) -> Pairs:
    """Sum up one-vs-one texts: ``v_ij = mean(U_ij) - mean(U_ji)`` for each pair of classes that has both.

    Args:
        text: T rows; those with a rival are read.
        dtype: to compute in.
    """
    chosen = ((text.rivals >= 0) & (text.rivals != text.classes) & (text.rivals < text.n_classes)).nonzero()[:, 0]
    rows, n = unit_rows(text.x[chosen]).to(dtype), text.n_classes
    keys, inverse = torch.unique(text.classes[chosen] * n + text.rivals[chosen], return_inverse=True)
    counts = torch.bincount(inverse, minlength=len(keys))
    means = rows.new_zeros(len(keys), text.x.shape[1]).index_add_(0, inverse, rows) / counts[:, None]
    place = {key: i for i, key in enumerate(keys.tolist())}
    both = [(k // n, k % n) for k in place if k // n < k % n and (k % n) * n + k // n in place]
    forth, back = ([place[a * n + b] for a, b in both], [place[b * n + a] for a, b in both])
    return Pairs(
        torch.tensor(both, dtype=torch.int64).reshape(-1, 2), means[forth] - means[back], len(place) - 2 * len(both)
    )
