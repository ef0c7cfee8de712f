"""LatteCLIP's mathematics: texts mixed by their margins, targets, momentum prototypes, the contrastive loss.

A step looks at a batch of B images with two labels each. Branch F labels an image by the prototypes as they are now,
branch Z by the zero-shot classifier, once and for all. In either branch the texts that speak for the image are mixed,
the label's prototype is moved a little towards the mix, and where it arrives is the image's target.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch.nn.functional import cross_entropy, normalize

from clipwright.core.errors import DataError, UsageError

Snapshot = Literal["epoch", "step"]
GroupLabel = Literal["Z", "branch"]

FLOOR = 1e-6
"""What every margin is raised by, so that weights never sum to 0."""


@dataclass(frozen=True)
class Mixing:
    """How texts are mixed; the defaults are the published method.

    Attributes:
        mixer: weigh texts by their margins; False = all the same.
        mask_wrong_captions: leave out a caption whose nearest prototype isn't the label's.
        renorm_target: scale targets to length 1.
        mixer_legacy_broadcast: the released code's class part: its element (i, j) takes the weight of image j in place
            of that of image i, so B must equal D.
        z_uses_f_weights: the released code's branch Z: its class part takes the weights of branch F, while the sum
            that it is divided by keeps those of Z.
    """

    mixer: bool = True
    mask_wrong_captions: bool = False
    renorm_target: bool = False
    mixer_legacy_broadcast: bool = False
    z_uses_f_weights: bool = False


@dataclass(frozen=True, eq=False)
class Captions:
    """One text for each image of a batch.

    Attributes:
        x: (B, D) unit rows.
        there: (B,) bool, which images have one; None = all. The others' rows count nothing.
    """

    x: torch.Tensor
    there: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class Branch:
    """What one of the two labels makes of a batch.

    Attributes:
        labels: (B,) int64.
        weights: (B, K) of class text and captions, before they are divided by their sum; without gradient.
        class_weight: (B,) what class texts are multiplied by: their weight, unless a switch says otherwise.
        class_texts: (C, D) unit rows.
        captions: K - 1 sets of captions.
        prototypes: (C, D) unit rows, without gradient.
        alpha: how far a prototype moves towards the mix.
        how: the switches.
    """

    labels: torch.Tensor
    weights: torch.Tensor
    class_weight: torch.Tensor
    class_texts: torch.Tensor
    captions: list[Captions]
    prototypes: torch.Tensor
    alpha: float
    how: Mixing

    @cached_property
    def mixed(self) -> torch.Tensor:
        """(B, D) the mix of each image's texts, T; not of length 1."""
        total = self.weights.sum(1, keepdim=True)
        own = self.class_weight if self.how.mixer_legacy_broadcast else self.class_weight[:, None]
        mixed = self.class_texts[self.labels] * own / total
        for caption, share in zip(self.captions, (self.weights / total).unbind(1)[1:], strict=True):
            mixed = torch.addcmul(mixed, caption.x.to(mixed.dtype), share[:, None])
        return mixed

    @cached_property
    def targets(self) -> torch.Tensor:
        """(B, D) the label's prototype moved towards the mix, q: the text side of the loss."""
        moved = torch.lerp(self.prototypes[self.labels], self.mixed, self.alpha)
        return normalize(moved, dim=1) if self.how.renorm_target else moved


def cosines(x: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """(n, C) of unit rows, without gradient and never narrower than float32, whatever autocast is on.

    Half precision would round most margins to 0 or to one of a few values.
    """
    with torch.no_grad(), torch.autocast(prototypes.device.type, enabled=False):
        return x.detach().to(prototypes.dtype) @ prototypes.detach().T


def _clearest(similar: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) margins and (n,) nearest prototypes; `similar` is used up."""
    best, nearest = similar.max(1)
    if similar.shape[1] < 2:
        return torch.ones_like(best), nearest
    second = similar.scatter_(1, nearest[:, None], -torch.inf).amax(1)  # a third of what topk takes
    return best - second + FLOOR, nearest


def margins(texts: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """How clearly each text points at one prototype: its largest cosine less its second largest, plus `FLOOR`.

    Args:
        texts: (n, D) unit rows.
        prototypes: (C, D) unit rows.

    Returns:
        (n,) without gradient, in the prototypes' type; 1 where there is a single class.
    """
    return _clearest(cosines(texts, prototypes))[0]


def branches(
    labels: tuple[torch.Tensor, torch.Tensor],
    class_texts: torch.Tensor,
    captions: tuple[list[Captions], list[Captions]],
    prototypes: torch.Tensor,
    *,
    alpha: float,
    snapshot: torch.Tensor | None = None,
    how: Mixing = Mixing(),
) -> tuple[Branch, Branch]:
    """Mixes and targets of the branches F and Z.

    Gradients reach class texts and captions; prototypes and weights are constants.

    Args:
        labels: (B,) int64 of branch F, and of branch Z.
        class_texts: (C, D) unit rows, one for each class: each is encoded once, however many images have its label.
        captions: of branch F, and of branch Z: image captions and group captions, or some of them, or none. The same
            `Captions` may stand in both, and its margins are then computed once.
        prototypes: (C, D) unit rows.
        alpha: how far a prototype moves towards the mix, 0..1.
        snapshot: (C, D) prototypes that margins are taken to; None = `prototypes`.
        how: the switches.

    Returns:
        Branch F, and branch Z.

    Raises:
        UsageError: `mixer_legacy_broadcast` where B differs from D.
    """
    if how.mixer_legacy_broadcast and len(labels[0]) != class_texts.shape[1]:
        raise UsageError(
            f"mixer_legacy_broadcast needs batches of as many images as features have dimensions "
            f"({class_texts.shape[1]}); this one has {len(labels[0])}: set batch_size, or leave the switch off."
        )
    prototypes = prototypes.detach()
    reference = prototypes if snapshot is None else snapshot.detach()
    own = margins(class_texts, reference) if how.mixer else prototypes.new_ones(len(class_texts))
    each = dict.fromkeys((*captions[0], *captions[1]))
    looked_up = {caption: _weighed(caption, reference, mixer=how.mixer) for caption in each}

    def branch(y: torch.Tensor, given: list[Captions], class_weight: torch.Tensor) -> Branch:
        columns = [own[y]]
        for caption in given:
            weight, nearest = looked_up[caption]
            columns.append(torch.where(nearest == y, weight, 0) if how.mask_wrong_captions else weight)
        return Branch(y, torch.stack(columns, 1), class_weight, class_texts, given, prototypes, alpha, how)

    f, z = labels
    return branch(f, captions[0], own[f]), branch(z, captions[1], own[f if how.z_uses_f_weights else z])


def _weighed(caption: Captions, reference: torch.Tensor, *, mixer: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(B,) weights and (B,) nearest prototypes of the captions of a batch."""
    weight, nearest = _clearest(cosines(caption.x, reference))
    if not mixer:
        weight = torch.ones_like(weight)
    return weight if caption.there is None else torch.where(caption.there, weight, 0), nearest


@torch.no_grad()
def sums_and_counts(
    pair: tuple[Branch, Branch], n_classes: int, *, double_count: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets summed over each class of their label. Both parts add up over batches, processes and machines.

    Args:
        pair: branch F, and branch Z.
        n_classes: C.
        double_count: an image counts in each branch; False = an image whose two labels agree counts once.

    Returns:
        (C, D) sums, and (C,) counts in the same type.
    """
    first = pair[0]
    sums = torch.zeros(n_classes, first.prototypes.shape[1], dtype=first.weights.dtype, device=first.weights.device)
    counts, each = sums[:, 0].clone(), torch.ones_like(first.weights[:, 0])
    if not double_count:
        each = torch.where(first.labels == pair[1].labels, 0.5, each)
    by_class = not (first.how.renorm_target or first.how.mixer_legacy_broadcast)
    for branch in pair:
        counts.index_add_(0, branch.labels, each)
        if by_class:
            _add_mixes(sums, branch, each)
        else:
            sums.index_add_(0, branch.labels, branch.targets * each[:, None])
    if by_class:  # the sum of targets, from that of mixes
        sums = torch.lerp(counts[:, None] * first.prototypes, sums, first.alpha)
    return sums, counts


def _add_mixes(sums: torch.Tensor, branch: Branch, each: torch.Tensor) -> None:
    """Add each image's mix, `each` times, to its label's row, without making it: class texts are added once a class."""
    each = each / branch.weights.sum(1)
    own = torch.zeros_like(sums[:, 0]).index_add_(0, branch.labels, branch.class_weight * each)
    sums.addcmul_(branch.class_texts, own[:, None])
    for caption, weight in zip(branch.captions, branch.weights.unbind(1)[1:], strict=True):
        sums.index_add_(0, branch.labels, caption.x * (weight * each)[:, None])


@torch.no_grad()
def moved_prototypes(prototypes: torch.Tensor, sums: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Prototypes after a step: each the mean of its class's targets, scaled to length 1.

    Equal to ``normalise((1 - alpha) p_c + alpha mean(T_i))`` where targets aren't scaled.

    Args:
        prototypes: (C, D) before the step.
        sums: (C, D), see `sums_and_counts`; of all processes.
        counts: (C,).

    Returns:
        (C, D); a class that no image was labelled with keeps its prototype.
    """
    # A mean has the direction of its sum. One of length 0 has none, so the prototype stays.
    here = (counts > 0) & ~(sums == 0).all(1)
    return torch.where(here[:, None], normalize(sums.to(prototypes.dtype), dim=1), prototypes)


def contrastive_loss(
    images: torch.Tensor, texts: torch.Tensor, logit_scale: float | torch.Tensor, labels: torch.Tensor | None = None
) -> torch.Tensor:
    """CLIP's symmetric loss of B images against the B texts that belong to them.

    With the targets of a branch as texts it is half of LatteCLIP's loss; with class texts of labels, FLYP's.

    Args:
        images: (B, D) unit rows.
        texts: (B, D).
        logit_scale: multiplies the products; it may be learned.
        labels: (B,) int64: images and texts of one label are positives of each other, with equal shares. None = each
            image has only its own text, as published, although others of its label are all but the same.

    Returns:
        The mean of both directions' cross-entropies.

    Raises:
        DataError: shapes that differ.
    """
    if images.shape != texts.shape:
        raise DataError(f"images {tuple(images.shape)} and texts {tuple(texts.shape)} must come in pairs.")
    with torch.autocast(images.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(images.dtype, texts.dtype), torch.float32)
        logits = logit_scale * (images.to(wide) @ texts.to(wide).T)
        if labels is None:
            own = torch.arange(len(logits), device=logits.device)
            return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
        same = (labels[:, None] == labels).to(wide)
        same /= same.sum(1, keepdim=True)  # symmetric: rows and columns of a label have the same share
        return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2
