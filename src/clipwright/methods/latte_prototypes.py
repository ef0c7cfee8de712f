"""LattePrototypes: LatteCLIP with the encoders left as they are; captions of unlabeled images move the class texts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, working_dtype
from clipwright.methods.latte_mixing import (
    Branch,
    Captions,
    GroupLabel,
    Mixing,
    Snapshot,
    branches,
    cosines,
    moved_prototypes,
    sums_and_counts,
)
from clipwright.task import AveragingRule, Features, Need, Task, TextFeatures
from clipwright.training.batches import shuffled_batches


@dataclass(frozen=True)
class LattePrototypes(Method):
    """``logit_scale * unit(x) . p_c``, each prototype p_c a running mean of texts about the images of class c.

    Prototypes start as the class texts. A step labels a batch of images twice, by the prototypes as they are and by
    the class texts; in either case the class text, the image's caption and a caption of a group of its class are mixed,
    clearer texts counting more, and the label's prototype moves a little towards the mean of its images' mixes. Images
    without a caption count with the texts there are. Without any caption the prototypes stay the class texts.

    Attributes:
        averaging: how the prompts of a class become one vector, see ZeroShot.
        image_captions: whether captions of single images are used.
        group_captions: whether captions of groups of images are used.
        mixer: weigh texts by how clearly they point at one prototype; off = all the same.
        alpha: how far a prototype moves towards the mix in a step, 0..1; 0.01 as published.
        batch_size: images per step, all where there are fewer; 512 as published.
        steps: number of steps, whatever the number of images; 585 to 2115 in the released scripts, 825 in the middle.
        epochs: number of passes over the images, in place of `steps`; None = as many as the steps take.
        snapshot: the prototypes that weights are measured by: those at the start of the ``epoch`` as published, or
            those of each ``step``.
        group_label: which class's group captions branch F takes: that of the class text's label (``Z``) as published,
            or that of its own (``branch``).
        mask_wrong_captions: leave out captions whose nearest prototype isn't the label's.
        renorm_target: scale each image's target to length 1 before targets are averaged.
        double_count: an image whose two labels agree counts twice, as published.
        mixer_legacy_broadcast: mix class texts as the released code does, by mistake; needs as many images per batch
            as features have dimensions.
        z_uses_f_weights: multiply class texts of branch Z by the weights of branch F, as the released code does.
    """

    title: ClassVar[str] = "LattePrototypes"
    summary: ClassVar[str] = (
        "class names and captions of unlabeled images: class texts pulled towards what captions say"
    )
    paper: ClassVar[str] = "Cao et al., LatteCLIP: Unsupervised CLIP Fine-Tuning via LMM-Synthetic Texts, WACV 2025"

    averaging: AveragingRule = "mean_unit_renorm"
    image_captions: bool = True
    group_captions: bool = True
    mixer: bool = True
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.01
    batch_size: Annotated[int, Field(ge=1)] = 512
    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 900
    epochs: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    snapshot: Snapshot = "epoch"
    group_label: GroupLabel = "Z"
    mask_wrong_captions: bool = False
    renorm_target: bool = False
    double_count: bool = True
    mixer_legacy_broadcast: bool = False
    z_uses_f_weights: bool = False

    def requires(self) -> Requirements:
        """Texts and unlabeled images, and captions where there are any."""
        captions = {Need.CAPTIONS} if self.image_captions or self.group_captions else set()
        return Requirements(frozenset({Need.TEXT, Need.UNLABELED}), frozenset(captions))

    def fit(self, task: Task) -> Fitted:
        """Take the steps.

        Raises:
            NeedsError: there are no texts or no unlabeled images.
            DataError: a class has no text, or the prototypes came out as NaN.
            UsageError: `mixer_legacy_broadcast` with batches of another size than the features' width.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed(), torch.no_grad():
            pile = _Pile(task, self)
            steps, per_epoch = self.steps, max(1, len(pile.images) // self.batch_size)
            if self.epochs is not None:
                steps = self.epochs * per_epoch
            trace.chosen |= {"steps": steps, "epochs": math.ceil(steps / per_epoch)}
            trace.how["epochs" if self.epochs is None else "steps"] = "rule"
            prototypes = self._moved(pile, steps, trace) if pile.captioned else pile.class_texts
            trace.notes.extend(pile.notes())
            return Fitted(LinearHead(prototypes, scale=task.logit_scale), trace=trace)

    def _moved(self, pile: _Pile, steps: int, trace: FitTrace) -> torch.Tensor:
        """(C, D) prototypes after all steps."""
        how = Mixing(
            mixer=self.mixer,
            mask_wrong_captions=self.mask_wrong_captions,
            renorm_target=self.renorm_target,
            mixer_legacy_broadcast=self.mixer_legacy_broadcast,
            z_uses_f_weights=self.z_uses_f_weights,
        )
        prototypes, tally = pile.class_texts, _Tally()
        for begins, rows, draws in pile.batches(self.batch_size, steps):
            if begins or self.snapshot == "step":
                reference = prototypes
            if begins:
                tally = _Tally()
            now, once = cosines(pile.images[rows], prototypes).argmax(1), pile.labels[rows]
            singles = pile.singles(rows)
            z = [*singles, *pile.groups(once, draws)]
            f = [*singles, *pile.groups(now, draws)] if self.group_label == "branch" else z
            pair = branches(
                (now, once), pile.class_texts, (f, z), prototypes, alpha=self.alpha, snapshot=reference, how=how
            )
            tally.add(pair)
            sums, counts = sums_and_counts(pair, len(prototypes), double_count=self.double_count)
            prototypes = moved_prototypes(prototypes, sums, counts)
        if tally.images:
            trace.notes.append(tally.says(pile.kinds))
        return prototypes

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """Not possible: other classes need captions of their own."""
        raise NeedsError(
            "LattePrototypes can't score classes that it was not fitted on, since captions of unlabeled images move "
            "every class: fit it anew with the names of all classes, or fit ZeroShot."
        )


class _Pile:
    """The images of a task with their labels by the class texts, and the captions that a method uses.

    Images stand in the order of their ids, so that the order in which they were given changes nothing.
    """

    def __init__(self, task: Task, method: LattePrototypes) -> None:
        assert task.unlabeled is not None  # noqa: S101 - it was checked
        rows, dtype = task.unlabeled, working_dtype(task)
        if rows.ids is not None:
            rows = rows[sorted(range(len(rows)), key=rows.ids.__getitem__)]
        self.seed = task.seed
        self.class_texts = unit_rows(class_texts(task, method.averaging)).to(dtype)
        self.images = rows.unit_x().to(dtype)
        self.labels = cosines(self.images, self.class_texts).argmax(1)
        self._there = rows.captioned & method.image_captions
        self._captions = _unit(rows, dtype) if bool(self._there.any()) else None
        pool = task.group_captions if method.group_captions else None
        self._pool, self._counts = _by_class(pool, task.n_classes, dtype)
        self._starts = self._counts.cumsum(0) - self._counts

    @property
    def kinds(self) -> list[str]:
        """What `singles` and `groups` give, and the class text before them."""
        captions = {"image captions": self._captions is not None, "group captions": len(self._pool) > 0}
        return ["class texts", *(kind for kind, used in captions.items() if used)]

    @property
    def captioned(self) -> bool:
        """Whether there is a caption to use."""
        return len(self.kinds) > 1

    def batches(self, size: int, steps: int) -> Iterator[tuple[bool, torch.Tensor, torch.Tensor]]:
        """Batches of full size: whether an epoch begins, the (B,) rows, and (B,) draws of group captions in [0, 1)."""
        n = len(self.images)
        order = shuffled_batches(n, size, drop_last=True, seed=self.seed, key=("latte", "order"))
        left = steps
        for epoch in itertools.count():
            draws = torch.from_numpy(generator(self.seed, "latte", "groups", epoch).random(n))
            for number, rows in enumerate(order(epoch)):
                if not left:
                    return
                left -= 1
                yield number == 0, rows, draws[rows]

    def singles(self, rows: torch.Tensor) -> list[Captions]:
        """The captions of some images, or nothing where there are none at all."""
        return [] if self._captions is None else [Captions(self._captions[rows], self._there[rows])]

    def groups(self, labels: torch.Tensor, draws: torch.Tensor) -> list[Captions]:
        """A caption out of each label's own, the one that a draw in [0, 1) falls on."""
        if not len(self._pool):
            return []
        counts = self._counts[labels]
        drawn = self._starts[labels] + (draws * counts).long()
        return [Captions(self._pool[drawn.clamp(max=len(self._pool) - 1)], counts > 0)]

    def notes(self) -> list[str]:
        """What the user should know of the captions and labels."""
        if not self.captioned:
            return ["No caption was used, so the classes stay as their texts are: caption the images first."]
        found = []
        missing = len(self.images) - int(self._there.sum())
        if self._captions is not None and missing:
            found.append(f"{missing} of {len(self.images)} images have no caption and count with their other texts.")
        empty = int((torch.bincount(self.labels, minlength=len(self.class_texts)) == 0).sum())
        if empty:
            found.append(f"{empty} of {len(self.class_texts)} classes are no image's label by the class texts.")
        return found


def _unit(rows: Features, dtype: torch.dtype) -> torch.Tensor:
    assert rows.captions is not None  # noqa: S101 - some row has one
    return unit_rows(rows.captions).to(dtype)


def _by_class(pool: TextFeatures | None, n_classes: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """(M, D) unit group captions, class by class, and (C,) how many each class has; rows of zeros are left out."""
    if pool is None:
        return torch.zeros(0, 0, dtype=dtype), torch.zeros(n_classes, dtype=torch.int64)
    kept = pool[(pool.x != 0).any(1)]
    order = kept.classes.argsort(stable=True)
    return unit_rows(kept.x[order]).to(dtype), torch.bincount(kept.classes, minlength=n_classes)


class _Tally:
    """What an epoch's mixes consisted of, and how many images kept their first label."""

    def __init__(self) -> None:
        self.images, self.kept = 0, 0
        self.shares: torch.Tensor | float = 0.0

    def add(self, pair: tuple[Branch, Branch]) -> None:
        """Count a batch."""
        f, z = pair
        self.images += len(f.labels)
        self.kept += int((f.labels == z.labels).sum())
        self.shares = self.shares + sum((b.weights / b.weights.sum(1, keepdim=True)).sum(0) for b in pair) / 2

    def says(self, kinds: list[str]) -> str:
        """The note."""
        shares = torch.as_tensor(self.shares) / self.images
        parts = ", ".join(f"{100 * share:.0f} % {kind}" for share, kind in zip(shares.tolist(), kinds, strict=True))
        return (
            f"In the last epoch mixes were {parts}; "
            f"{100 * self.kept / self.images:.0f} % of images had the label that class texts alone give."
        )
