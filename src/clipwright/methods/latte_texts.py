"""The texts about a task's images as tokens, each different one once, and what a text tower makes of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn.functional import normalize

from clipwright.core.errors import NeedsError
from clipwright.task import Features, Task, TextFeatures, Tower


@dataclass(frozen=True, eq=False)
class Texts:
    """Class prompts, image captions and group captions, as rows of one table of tokens.

    Attributes:
        table: the T different texts.
        prompts: (P,) int64 rows of the class prompts.
        prompt_classes: (P,) int64 their classes.
        captions: (n,) int64 row of each image's caption, -1 where it has none.
        pool: (M,) int64 rows of group captions, class by class.
        counts: (C,) int64 how many of them each class has.
    """

    table: TokenTable
    prompts: torch.Tensor
    prompt_classes: torch.Tensor
    captions: torch.Tensor
    pool: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def of(
        cls, task: Task, tower: Tower, captions: Sequence[str] | None, groups: TextFeatures | None, *, n: int
    ) -> Texts:
        """The texts of a task.

        Args:
            task: has the class prompts.
            tower: says what tokens are.
            captions: of each of n images, "" where it has none; None = of none.
            groups: captions of groups by class, or None.
            n: number of images.

        Raises:
            NeedsError: features are given without the texts that they are of.
        """
        assert task.text is not None  # noqa: S101 - the method checked
        prompts = task.text.describing("template")
        given = _texts(prompts, "class names")
        group_texts = [] if groups is None else _texts(groups, "group captions")
        order = [] if groups is None else [i for i in groups.classes.argsort(stable=True).tolist() if group_texts[i]]
        spoken = [group_texts[i] for i in order]
        table = TokenTable(tower, [*given, *(text for text in captions or () if text), *spoken])
        of_classes = torch.zeros(0, dtype=torch.int64) if groups is None else groups.classes[order]
        return cls(
            table,
            table.rows(given),
            prompts.classes,
            torch.full((n,), -1) if captions is None else table.rows(captions),
            table.rows(spoken),
            torch.bincount(of_classes, minlength=task.n_classes),
        )

    def to(self, device: torch.device) -> Texts:
        """The same with numbers of rows on a device; tokens stay where they are."""
        names = ("prompts", "prompt_classes", "captions", "pool", "counts")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def said(self) -> list[object]:
        """All texts and whose they are, for a digest."""
        rows = [getattr(self, n).tolist() for n in ("prompts", "prompt_classes", "captions", "pool", "counts")]
        return [list(self.table.texts), *rows]

    @cached_property
    def kinds(self) -> list[str]:
        """What is mixed: class texts, and the kinds of captions that there are."""
        captions = {"image captions": bool((self.captions >= 0).any()), "group captions": len(self.pool) > 0}
        return ["class texts", *(kind for kind, there in captions.items() if there)]

    def groups(self, labels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """(B,) row of a caption out of each label's own, the one that a draw in [0, 1) falls on; -1 where it has none.

        Args:
            labels: (B,) int64.
            draws: (B,) in [0, 1).
        """
        if not len(self.pool):
            return torch.full_like(labels, -1)
        counts = self.counts[labels]
        places = (self.counts.cumsum(0) - self.counts)[labels] + (draws * counts).long()
        return torch.where(counts > 0, self.pool[places.clamp(max=len(self.pool) - 1)], -1)

    def present(self, classes: torch.Tensor) -> torch.Tensor:
        """(P,) bool, which prompts are of one of some classes."""
        return torch.isin(self.prompt_classes, classes)

    def needed(self, classes: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """(K,) sorted different rows: the prompts of some classes, and other rows that aren't -1."""
        rows: torch.Tensor = torch.unique(torch.cat([self.prompts[self.present(classes)], *others]))
        return rows[rows >= 0]

    def tokens(self, rows: torch.Tensor) -> torch.Tensor:
        """(K, l) tokens of some rows, cut at the longest where the tower is causal."""
        return self.table(rows)


class TokenTable:
    """Different texts as tokens.

    Args:
        tower: says what tokens are.
        texts: texts, of which equal ones share a row.
    """

    def __init__(self, tower: Tower, texts: Sequence[str]) -> None:
        self.texts = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        self._tokens = tower.tokens(list(self.texts))
        self._lengths = torch.tensor([tower.tokens([text]).shape[1] for text in self.texts])

    def rows(self, texts: Sequence[str]) -> torch.Tensor:
        """(t,) int64 row of each text, -1 for texts that aren't there."""
        return torch.tensor([self.texts.get(text, -1) for text in texts], dtype=torch.int64)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(K, l) tokens, as the tower gives them for these texts."""
        rows = rows.to(self._tokens.device)
        return self._tokens[rows, : int(self._lengths[rows].max())]


class Found:
    """What a text tower made of some rows of a table.

    Args:
        rows: (K,) int64, sorted.
        embeddings: (K, D).
    """

    def __init__(self, rows: torch.Tensor, embeddings: torch.Tensor) -> None:
        self._rows, self._unit = rows.to(embeddings.device), normalize(embeddings, dim=1)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """(m, D) unit embeddings of (m,) rows; of a row that isn't there those of some other."""
        return self._unit[torch.searchsorted(self._rows, rows).clamp(max=len(self._rows) - 1)]

    def class_texts(self, texts: Texts, classes: torch.Tensor | None = None) -> torch.Tensor:
        """(C, D) unit rows, each the mean of the unit prompts of a class.

        Args:
            texts: says which prompts are whose.
            classes: classes whose prompts are here, None = all; the rows of others are zero.
        """
        here = slice(None) if classes is None else texts.present(classes)
        own = self(texts.prompts[here])
        sums = own.new_zeros(len(texts.counts), own.shape[1])
        return normalize(sums.index_add(0, texts.prompt_classes[here], own), dim=1)


def captions_of(rows: Features) -> tuple[str, ...] | None:
    """A caption of each row, "" where it has none; None where there are none at all.

    Raises:
        NeedsError: captions are given as features alone.
    """
    if rows.caption_texts is None and bool(rows.captioned.any()):
        raise _wordless("captions")
    return rows.caption_texts if any(rows.caption_texts or ()) else None


def _texts(features: TextFeatures, what: str) -> list[str]:
    if features.texts is None:
        raise _wordless(what)
    return list(features.texts)


def _wordless(what: str) -> NeedsError:
    return NeedsError(
        f"this method trains the text tower, so it needs the texts of the {what} and not only their features: "
        "give class names and a backbone, and captions as 'clipwright caption' wrote them."
    )
