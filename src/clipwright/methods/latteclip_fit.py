"""How LatteCLIP and FLYP train: both towers, on images that class names alone label and on texts as tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import normalize

from clipwright.core.errors import NeedsError
from clipwright.core.hashing import digest_json
from clipwright.core.rng import generator
from clipwright.fitted import FitTrace
from clipwright.methods.base import class_texts
from clipwright.methods.image_batches import ImageBatches
from clipwright.methods.latte_mixing import cosines
from clipwright.methods.latte_texts import Found, Texts, captions_of
from clipwright.task import Features, Task, Tower, TowerUpdate
from clipwright.training.batches import Batches, shuffled_batches, split_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.freezing import freeze_statistics
from clipwright.training.full_batch import Stream, device_of
from clipwright.training.tower_state import Stateful
from clipwright.training.towers import Batch, adamw, train_tower
from clipwright.training.warmup import warmup_schedule

if TYPE_CHECKING:
    from clipwright.methods.flyp import FLYP
    from clipwright.methods.latteclip import LatteCLIP

Sampler = Literal["permutation", "resample"]
Positives = Literal["own", "label"]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0, le=1_000_000)]

KEPT = 2
"""Checkpoints that are kept: where the last one is damaged, the one before it is taken up."""

REST = 60.0
"""Least seconds between two checkpoints: epochs may be a single step, and towers with their moments are gigabytes."""

_EMBEDDED = 64  # texts embedded at a time where no gradient is needed


class Step(Protocol):
    """What a method makes of a batch."""

    def wanted(self, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(K,) rows of the texts that a batch needs, sorted; `images` are its (B, D) unit embeddings."""

    def loss(self, images: torch.Tensor, texts: Found, batch: Batch) -> dict[str, torch.Tensor]:
        """Named scalars of (B, D) unit embeddings and the texts that were wanted."""

    def after(self, batch: Batch) -> None:
        """The step is taken."""


def in_order(rows: Features) -> Features:
    """Rows in the order of their ids, so that the order in which they were given changes nothing."""
    return rows if rows.ids is None else rows[sorted(range(len(rows)), key=rows.ids.__getitem__)]


def batches_of(n: int, course: LatteCLIP | FLYP, seed: int) -> Batches:
    """Full batches of n images in each epoch, all images in one where there are fewer."""
    if course.sampler == "permutation":
        return shuffled_batches(n, course.batch_size, drop_last=True, seed=seed, key=("latte", "order"))

    def batches(epoch: int) -> list[torch.Tensor]:
        drawn = torch.from_numpy(generator(seed, "latte", "resample", epoch).integers(0, n, n))
        return split_batches(drawn, course.batch_size, drop_last=True)

    return batches


def recompute_layers(module: nn.Module) -> bool:
    """Keep what goes into a tower's layers instead of what goes on inside, where the tower can.

    Returns:
        Whether it can.
    """
    able = False
    for part in module.modules():
        if isinstance(getattr(part, "grad_checkpointing", None), bool):  # open_clip and timm
            part.grad_checkpointing = True  # type: ignore[assignment] # no module of ours
            able = True
            continue
        for name in ("activation_checkpointing_enable", "gradient_checkpointing_enable"):  # transformers, new and old
            if callable(enable := getattr(part, name, None)):
                enable({"use_reentrant": False})
                able = True
                break
    return able


@dataclass(eq=False)
class Tuning:
    """Both towers of a task, its unlabeled images and its texts.

    Attributes:
        course: the method, whose fields say how training goes.
        task: where everything comes from.
        rows: the unlabeled images, in the order of their ids.
        tower: the model.
        texts: class prompts and captions.
        image: image tower that is trained.
        text: text tower that is trained.
        class_texts: (C, D) unit class texts of the model as it is.
        labels: (n,) int64 class that they give each image: pseudo-labels Z.
        notes: what the user should know.
    """

    course: LatteCLIP | FLYP
    task: Task
    rows: Features
    tower: Tower
    texts: Texts
    image: nn.Module
    text: nn.Module
    class_texts: torch.Tensor
    labels: torch.Tensor
    notes: list[str]

    @classmethod
    def of(
        cls, course: LatteCLIP | FLYP, task: Task, *, image_captions: bool = False, group_captions: bool = False
    ) -> Tuning:
        """What a method trains on a task that it has checked.

        Raises:
            NeedsError: the texts of class prompts or captions aren't known, only their features.
            DataError: a class has no text.
        """
        tower = task.access
        assert isinstance(tower, Tower)  # noqa: S101 - the method checked
        assert task.unlabeled is not None  # noqa: S101 - the same
        rows = in_order(task.unlabeled)
        image, text = tower.image_module(), tower.text_module()
        device = device_of(image)
        weights = [p.dtype for p in image.parameters()]
        dtype = torch.float64 if torch.float64 in weights else torch.float32
        start = class_texts(task, "mean_unit_renorm")
        labels = cosines(rows.unit_x(), start.to(rows.unit_x().dtype)).argmax(1)
        texts = Texts.of(
            task,
            tower,
            captions_of(rows) if image_captions else None,
            task.group_captions if group_captions else None,
            n=len(rows),
        )
        tuning = cls(
            course,
            task,
            rows,
            tower,
            texts.to(device),
            image,
            text,
            start.to(device, dtype),
            labels.to(device),
            [],
        )
        empty = int((torch.bincount(labels, minlength=task.n_classes) == 0).sum())
        if empty:
            tuning.notes.append(f"{empty} of {task.n_classes} classes are no image's label by the class texts.")
        return tuning

    def length(self) -> tuple[int, int]:
        """Steps in all, and in an epoch."""
        per_epoch = max(1, len(self.rows) // self.course.batch_size)
        epochs = self.course.epochs
        return self.course.steps if epochs is None else epochs * per_epoch, per_epoch

    def rates(self) -> list[float]:
        """The learning rate of each step: it rises for an epoch, or for half of fewer steps than two epochs have."""
        steps, per_epoch = self.length()
        return warmup_schedule(self.course.learning_rate, steps, warmup_steps=min(per_epoch, steps // 2))

    def train(
        self,
        step: Step,
        *,
        extra: Stateful | None = None,
        weights: Mapping[str, float] | None = None,
        batches: Batches | None = None,
        rates: Sequence[float] | None = None,
    ) -> list[dict[str, float]]:
        """Train both towers in place.

        Args:
            step: texts and loss of a batch.
            extra: what else a checkpoint must hold.
            weights: of parts of the loss, see `train_tower`.
            batches: rows of each batch of an epoch; None = those that the course says.
            rates: a learning rate per step; None = those that the course says.

        Returns:
            Mean parts of the loss per epoch.

        Raises:
            DivergedError: the loss became NaN or infinite.
            DataError: an image can't be read any more.
        """
        course, needed = self.course, torch.zeros(0, dtype=torch.int64)

        def inputs(batch: Batch) -> Callable[[list[torch.Tensor]], torch.Tensor]:
            def tokens(embeddings: list[torch.Tensor]) -> torch.Tensor:
                nonlocal needed
                needed = step.wanted(normalize(embeddings[0], dim=1), batch)
                return self.texts.tokens(needed)

            return tokens

        def load(batch: Batch) -> Sequence[Stream]:
            share = batch.share
            pixels = images(share, epoch=batch.epoch, recipe=course.recipe) if len(share) else torch.zeros(0)
            return [Stream(self.image, pixels), Stream(self.text, inputs(batch), whole=True)]

        def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
            return step.loss(normalize(embeddings[0], dim=1), Found(needed, embeddings[1]), batch)

        modules = {"image": self.image, "text": self.text}
        with self._ready(), ImageBatches(self.rows, self.tower, seed=self.task.seed) as images:
            return train_tower(
                modules,
                load,
                loss,
                batches=batches_of(len(self.rows), course, self.task.seed) if batches is None else batches,
                rates=self.rates() if rates is None else rates,
                optimizer=adamw(
                    modules, weight_decay=course.weight_decay, decay_vectors=False, betas=(0.9, 0.98), eps=1e-6
                ),
                weights=weights,
                micro_batch_size=course.micro_batch_size,
                precision=course.precision,
                clip=None,
                seed=self.task.seed,
                checkpoint=self.checkpoint(),
                extra=extra,
                after_step=step.after,
                label="tune",
                quiet=self.task.quiet,
            )

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """Towers as training wants them; batch norms keep their statistics."""
        releases = [freeze_statistics(module) for module in (self.image, self.text)]
        if self.course.gradient_checkpointing and not all([*map(recompute_layers, (self.image, self.text))]):
            self.notes.append("Not both towers have layers that can be recomputed: gradient_checkpointing saves less.")
        try:
            yield
        finally:
            for release in releases:
                release()

    @torch.no_grad()
    def tuned_texts(self) -> torch.Tensor:
        """(C, D) unit class texts of the text tower as it is now."""
        rows = self.texts.needed(torch.arange(self.task.n_classes, device=self.labels.device))
        self.text.eval()
        each = [rows[start : start + _EMBEDDED] for start in range(0, len(rows), _EMBEDDED)]
        parts = [self.text(self.texts.tokens(part).to(self.labels.device)) for part in each]
        return Found(rows, torch.cat(parts).to(self.class_texts.dtype)).class_texts(self.texts)

    def update(self) -> TowerUpdate | None:
        """What training changed in the image tower, or None where it changed nothing."""
        before = self.tower.image_module().state_dict()
        after = {name: t.detach().to("cpu", copy=True) for name, t in self.image.state_dict().items()}
        changed = {name: t for name, t in after.items() if not torch.equal(t, before[name].cpu())}
        return TowerUpdate(self.tower.spec, self.tower.digest, changed) if changed else None

    def checkpoint(self) -> Checkpoint | None:
        """Where the training is kept, if there is a workspace."""
        task = self.task
        if task.workspace is None:
            return None
        name = type(self.course).__name__
        what = [name, self.course.hyper_parameters(), self.tower.digest, task.seed, list(task.class_names)]
        rows = [list(self.rows.ids or range(len(self.rows))), self.labels.tolist(), self.texts.said()]
        seen = self.rows.x.double().sum(1).tolist()  # images may change under their names
        digest = digest_json([*what, *rows, self.class_texts.double().sum(1).tolist(), seen])
        return Checkpoint(task.workspace / f"{name.lower()}.safetensors", digest, keep=KEPT, rest=REST)

    def close(self) -> None:
        """Remove the checkpoint of a training that is done."""
        if (checkpoint := self.checkpoint()) is not None:
            checkpoint.clear()

    def say(self, trace: FitTrace, log: list[dict[str, float]], parts: Sequence[str]) -> None:
        """Note how training went."""
        steps, per_epoch = self.length()
        trace.chosen |= {"steps": steps, "epochs": math.ceil(steps / per_epoch)}
        trace.how["epochs" if self.course.epochs is None else "steps"] = "rule"
        trace.losses = [epoch["loss"] for epoch in log]
        trace.loss_parts = {name: [epoch[name] for epoch in log] for name in parts} if log else {}
        trace.notes += self.notes


def other_classes(title: str) -> NeedsError:
    """What `extend` says."""
    return NeedsError(
        f"{title} can't score classes that it was not fitted on, since the towers were tuned towards texts of these "
        "classes: fit it anew with the names of all classes, or fit ZeroShot."
    )
