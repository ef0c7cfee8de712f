"""LatteCLIP: both encoders tuned without labels, towards class texts that captions of the images have moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.rng import generator
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags
from clipwright.methods.latte_mixing import (
    Branch,
    Captions,
    GroupLabel,
    Mixing,
    Snapshot,
    branches,
    contrastive_loss,
    cosines,
    moved_prototypes,
    sums_and_counts,
)
from clipwright.methods.latte_texts import Found
from clipwright.methods.latteclip_fit import (
    Count,
    Decay,
    Positives,
    Rate,
    Sampler,
    Steps,
    Tuning,
    other_classes,
)
from clipwright.task import Access, Need, Task
from clipwright.training.full_batch import Precision
from clipwright.training.ranks import same_everywhere
from clipwright.training.towers import Batch

Draws = Callable[[Batch], torch.Tensor]
_SAME = "same_label"


def _share(kind: str) -> str:
    return f"share_{kind.split(maxsplit=1)[0]}"


@dataclass(frozen=True)
class LatteCLIP(Method):
    """``logit_scale * unit(x) . p_c`` with features x of a tuned image tower and a prototype p_c for each class.

    Prototypes start as the class texts. A step labels a batch of images twice: F by the prototypes as they are and the
    image tower as it is, Z by the class texts, once and for all. In either case the class text, the image's caption and
    a caption of a group of its class are encoded and mixed, clearer texts counting more; the label's prototype moved a
    little towards the mix is the image's target in CLIP's contrastive loss, which trains both towers, and prototypes
    become the means of their images' targets. Images without a caption count with the texts there are. LattePrototypes
    is the same with both towers left as they are.

    Attributes:
        image_captions: whether captions of single images are used.
        group_captions: whether captions of groups of images are used.
        mixer: weigh texts by how clearly they point at one prototype; off = all the same.
        alpha: how far a prototype moves towards the mix in a step, 0..1; 0.01 as published.
        lambda_f: weight of the loss of labels F, at least 0; 1 as published.
        lambda_z: weight of the loss of labels Z, at least 0; 1 as published.
        batch_size: images per step, all where there are fewer; 512 as published.
        steps: number of steps, whatever the number of images; 585 to 2115 in the released scripts.
        epochs: number of passes over the images, in place of `steps`; None = as many as the steps take.
        learning_rate: AdamW's peak rate, positive, after an epoch of warm-up (half of the steps, where these are fewer
            than two epochs) and before half a cosine to 0; 1e-7 as published.
        weight_decay: AdamW's, at least 0, on matrices alone; 0.2 as published.
        recipe: how views are made for training, as extraction has it; None = the clean view.
        sampler: an epoch is a ``permutation`` of the images, or as many draws with replacement (``resample``, near to
            the released code).
        snapshot: the prototypes that weights are measured by: those at the start of the ``epoch`` as published, or
            those of each ``step``.
        group_label: which class's group captions branch F takes: that of Z as published, or its own (``branch``).
        positives: texts that an image is pulled to: its ``own`` as published, or those of all images of its ``label``.
        mask_wrong_captions: leave out captions whose nearest prototype isn't the label's.
        renorm_target: scale targets to length 1.
        double_count: an image whose two labels agree counts twice in its prototype, as published.
        mixer_legacy_broadcast: mix class texts as the released code does, by mistake; needs as many images per batch
            as features have dimensions.
        z_uses_f_weights: multiply class texts of branch Z by the weights of branch F, as the released code does.
        micro_batch_size: images or texts embedded at a time; fewer need less memory and give the same gradient. None =
            all.
        precision: what the towers compute in: ``auto`` (bfloat16 on a GPU that has it), ``fp32`` or ``bf16``.
        gradient_checkpointing: compute the inside of layers twice, which needs less memory.

    Source: Cao et al., WACV 2025.
    """

    title: ClassVar[str] = "LatteCLIP"
    summary: ClassVar[str] = (
        "class names and captions of unlabeled images: both towers tuned towards what captions say of the classes"
    )
    paper: ClassVar[str] = "Cao et al., LatteCLIP: Unsupervised CLIP Fine-Tuning via LMM-Synthetic Texts, WACV 2025"
    tags: ClassVar[Tags] = Tags(
        exempt={
            "dtypes": "towers are trained in float32 whatever the features are",
            "ties": "an image has one label, so of two classes that look the same the first gets all",
        }
    )

    image_captions: bool = True
    group_captions: bool = True
    mixer: bool = True
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.01
    lambda_f: Decay = 1.0
    lambda_z: Decay = 1.0
    batch_size: Count = 512
    steps: Steps = 900
    epochs: Steps | None = None
    learning_rate: Rate = 1e-7
    weight_decay: Decay = 0.2
    recipe: str | None = "crop(0.9,1)+jitter"
    sampler: Sampler = "permutation"
    snapshot: Snapshot = "epoch"
    group_label: GroupLabel = "Z"
    positives: Positives = "own"
    mask_wrong_captions: bool = False
    renorm_target: bool = False
    double_count: bool = True
    mixer_legacy_broadcast: bool = False
    z_uses_f_weights: bool = False
    micro_batch_size: Count | None = None
    precision: Precision = "auto"
    gradient_checkpointing: bool = False

    def requires(self) -> Requirements:
        """Texts, unlabeled images, the model's weights, and captions where there are any."""
        captions = {Need.CAPTIONS} if self.image_captions or self.group_captions else set()
        needs = frozenset({Need.TEXT, Need.UNLABELED, Need.IMAGES})
        return Requirements(needs, frozenset(captions), frozenset({Access.WEIGHTS, Access.FEATURES}))

    def fit(self, task: Task) -> Fitted:
        """Take the steps.

        Raises:
            NeedsError: the task lacks class texts, unlabeled images or weights.
            DataError: a class has no text, or an image can't be read any more.
            UsageError: `mixer_legacy_broadcast` with batches of another size than the features' width.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            tuning = Tuning.of(self, task, image_captions=self.image_captions, group_captions=self.group_captions)
            step = LatteStep(self, tuning)
            log = tuning.train(step, extra=step, weights=step.weights)
            tuning.say(trace, log, ("loss_F", "loss_Z"))
            trace.notes += step.notes(log)
            head = LinearHead(step.prototypes.cpu(), scale=task.logit_scale)
            fitted = Fitted(head, tower=tuning.update(), trace=trace)
            tuning.close()
        return fitted

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """Not possible: other classes have no prototypes, and the towers were tuned towards these."""
        raise other_classes(self.title)


@plain_dataclass(frozen=True, eq=False)
class _Seen:
    """Labels F and Z of a batch, and rows of its texts."""

    labels: tuple[torch.Tensor, torch.Tensor]
    captions: torch.Tensor
    groups: tuple[torch.Tensor, torch.Tensor]


class LatteStep:
    """LatteCLIP's step, and the prototypes that it moves.

    Attributes:
        prototypes: (C, D) unit rows as they are.
        snapshot: (C, D) those that weights are measured by.

    Args:
        method: the switches.
        tuning: labels Z and texts.
        draws: (B,) numbers in [0, 1) that pick a batch's group captions; None = from the task's seed, a new one for
            each image in each epoch.
    """

    def __init__(self, method: LatteCLIP, tuning: Tuning, draws: Draws | None = None) -> None:
        self._method, self._tuning = method, tuning
        self.prototypes = self.snapshot = tuning.class_texts
        self._epoch, self._drawn = -1, (-1, torch.zeros(0))
        self._draws = draws or self._fresh
        self._seen: _Seen | None = None
        self._pair: tuple[Branch, Branch] | None = None
        self._how = Mixing(
            mixer=method.mixer,
            mask_wrong_captions=method.mask_wrong_captions,
            renorm_target=method.renorm_target,
            mixer_legacy_broadcast=method.mixer_legacy_broadcast,
            z_uses_f_weights=method.z_uses_f_weights,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Of the parts that `loss` gives; those of weight 0 are told and not trained on."""
        told = dict.fromkeys((_SAME, *(_share(kind) for kind in self._tuning.texts.kinds)), 0.0)
        return {"loss_F": self._method.lambda_f, "loss_Z": self._method.lambda_z, **told}

    def _fresh(self, batch: Batch) -> torch.Tensor:
        if self._drawn[0] != batch.epoch:
            drawn = generator(self._tuning.task.seed, "latte", "groups", batch.epoch).random(len(self._tuning.rows))
            self._drawn = batch.epoch, torch.from_numpy(drawn)
        return self._drawn[1][batch.rows]

    def wanted(self, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Label the batch, and say which texts it needs."""
        if batch.epoch != self._epoch or self._method.snapshot == "step":
            self._epoch, self.snapshot = batch.epoch, self.prototypes
        texts, rows = self._tuning.texts, batch.rows.to(images.device)
        now, once = cosines(images, self.prototypes).argmax(1), self._tuning.labels[rows]
        same_everywhere([now])  # an argmax of nearly equal cosines may differ between devices
        draws, captions = self._draws(batch).to(images.device), texts.captions[rows]
        by_z = texts.groups(once, draws)
        by_f = texts.groups(now, draws) if self._method.group_label == "branch" else by_z
        self._seen = _Seen((now, once), captions, (by_f, by_z))
        return texts.needed(torch.cat([now, once]), captions, by_f, by_z)

    def loss(self, images: torch.Tensor, texts: Found, batch: Batch) -> dict[str, torch.Tensor]:
        """Both contrastive losses, how many labels agree, and what was mixed."""
        del batch
        assert self._seen is not None  # noqa: S101 - `wanted` comes first
        seen, method, kinds = self._seen, self._method, self._tuning.texts.kinds

        def spoken(rows: torch.Tensor, kind: str) -> list[Captions]:
            return [Captions(texts(rows), rows >= 0)] if kind in kinds else []

        singles = spoken(seen.captions, "image captions")
        by_z = [*singles, *spoken(seen.groups[1], "group captions")]
        by_f = [*singles, *spoken(seen.groups[0], "group captions")] if method.group_label == "branch" else by_z
        self._pair = branches(
            seen.labels,
            texts.class_texts(self._tuning.texts, torch.cat(seen.labels)),
            (by_f, by_z),
            self.prototypes,
            alpha=method.alpha,
            snapshot=self.snapshot,
            how=self._how,
        )
        scale = self._tuning.task.logit_scale
        parts = {
            f"loss_{name}": contrastive_loss(
                images, branch.targets, scale, branch.labels if method.positives == "label" else None
            )
            for name, branch in zip("FZ", self._pair, strict=True)
        }
        shares = sum((b.weights / b.weights.sum(1, keepdim=True)).mean(0) for b in self._pair) / 2
        told = {_share(kind): share for kind, share in zip(kinds, torch.as_tensor(shares), strict=True)}
        return {**parts, _SAME: (seen.labels[0] == seen.labels[1]).to(images.dtype).mean(), **told}

    def after(self, batch: Batch) -> None:
        """Move the prototypes."""
        del batch
        assert self._pair is not None  # noqa: S101 - a step was taken
        sums = sums_and_counts(self._pair, len(self.prototypes), double_count=self._method.double_count)
        self.prototypes = moved_prototypes(self.prototypes, *sums)
        same_everywhere([self.prototypes])  # sums on a GPU depend on an order that nobody fixes
        self._pair = None

    def state(self) -> dict[str, torch.Tensor]:
        """Prototypes, their snapshot, and its epoch."""
        return {"prototypes": self.prototypes, "snapshot": self.snapshot, "epoch": torch.tensor(self._epoch)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        self.prototypes, self.snapshot = (state[n].to(self.prototypes) for n in ("prototypes", "snapshot"))
        self._epoch = int(state["epoch"])

    def notes(self, log: list[dict[str, float]]) -> list[str]:
        """What the user should know of captions and labels."""
        texts, found = self._tuning.texts, []
        n, missing = len(texts.captions), int((texts.captions < 0).sum())
        if len(texts.kinds) == 1:
            found.append("No caption was used, so class texts alone move prototypes and towers: caption the images.")
        elif "image captions" in texts.kinds and missing:
            found.append(f"{missing} of {n} images have no caption and count with their other texts.")
        if log:
            shares = (f"{100 * log[-1][_share(kind)]:.0f} % {kind}" for kind in texts.kinds)
            kept = [f"{100 * log[place][_SAME]:.0f} %" for place in (0, -1)]
            found.append(
                f"In the last epoch mixes were {', '.join(shares)}; {kept[1]} of images had the label that class "
                f"texts alone give, {kept[0]} in the first."
            )
        return found
