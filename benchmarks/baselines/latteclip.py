"""A LatteCLIP step in the shape of its released code: labels are strings, prototypes lie in a table by class name.

The values are those of the published method, without the released code's two mistakes. `by_sample` makes each image's
mix and target by itself. `by_batch` is as fast as that shape allows: similarities, margins and mixes of the whole batch
at once, and only what goes by a class's name, one sample at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

Table = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """What a step looks at.

    Attributes:
        images: (B, D) unit rows.
        once: B class names that the zero-shot classifier gave.
        captions: (B, D) unit rows of image captions, and of group captions.
    """

    images: torch.Tensor
    once: Sequence[str]
    captions: Sequence[torch.Tensor]


def _margins(texts: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """(n,) largest less second largest similarity, plus 1e-6."""
    best = (texts @ prototypes.T).topk(2, dim=1).values
    return best[:, 0] - best[:, 1] + 1e-6


def _now(images: torch.Tensor, prototypes: Table) -> list[str]:
    """The name of the nearest prototype of each image."""
    names = list(prototypes)
    found = (images @ torch.stack([prototypes[name] for name in names]).T).argmax(1)
    return [names[i] for i in found.tolist()]


def _means(prototypes: Table, collected: dict[str, list[torch.Tensor]]) -> Table:
    new = dict(prototypes)
    for name, targets in collected.items():
        new[name] = normalize(torch.stack(targets).mean(0), dim=0)
    return new


def by_sample(
    batch: Batch, class_texts: Table, prototypes: Table, snapshot: Table, alpha: float = 0.01
) -> tuple[Table, torch.Tensor]:
    """The prototypes after a step, and the (2, B, D) targets of both branches; gradients reach the texts.

    Args:
        batch: images, labels and captions.
        class_texts: (D,) unit text of each class name.
        prototypes: (D,) of each class name.
        snapshot: the prototypes at the start of the epoch.
        alpha: how far prototypes move.
    """
    reference = torch.stack(list(snapshot.values()))
    collected: dict[str, list[torch.Tensor]] = {}
    targets: list[torch.Tensor] = []
    for labels in (_now(batch.images, prototypes), batch.once):
        for i, name in enumerate(labels):
            texts = torch.stack([class_texts[name], *(caption[i] for caption in batch.captions)])
            with torch.no_grad():
                weights = _margins(texts, reference)
            mixed = (weights / weights.sum()) @ texts
            targets.append(torch.lerp(prototypes[name], mixed, alpha))
            collected.setdefault(name, []).append(targets[-1].detach())
    return _means(prototypes, collected), torch.stack(targets).view(2, len(batch.once), -1)


def by_batch(
    batch: Batch, class_texts: Table, prototypes: Table, snapshot: Table, alpha: float = 0.01
) -> tuple[Table, torch.Tensor]:
    """As `by_sample`, with the whole batch at once wherever no class name is looked up."""
    reference = torch.stack(list(snapshot.values()))
    with torch.no_grad():
        of_captions = [_margins(caption, reference) for caption in batch.captions]
    collected: dict[str, list[torch.Tensor]] = {}
    targets: list[torch.Tensor] = []
    for labels in (_now(batch.images, prototypes), batch.once):
        own = torch.stack([class_texts[name] for name in labels])
        with torch.no_grad():
            weights = [_margins(own, reference), *of_captions]
        total = sum(w[:, None] * text for w, text in zip(weights, (own, *batch.captions), strict=True))
        mixed = total / torch.stack(weights).sum(0)[:, None]
        for row, name in zip(mixed.unbind(), labels, strict=True):
            targets.append(torch.lerp(prototypes[name], row, alpha))
            collected.setdefault(name, []).append(targets[-1].detach())
    return _means(prototypes, collected), torch.stack(targets).view(2, len(batch.once), -1)
