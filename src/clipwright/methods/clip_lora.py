"""CLIPLoRA: low-rank updates of both towers, learned from the labelled images and the class prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn
from torch.nn.utils import parametrize

from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.rng import generator
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags, class_texts, require_labels
from clipwright.methods.image_batches import ImageBatches
from clipwright.task import Access, AveragingRule, Features, Need, Task, Tower, TowerUpdate
from clipwright.training.batches import Batches, shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.freezing import blocks, freeze_statistics
from clipwright.training.full_batch import Precision, Stream
from clipwright.training.low_rank import LowRank, attach, detach, factors
from clipwright.training.towers import Batch, adamw, train_tower

PER_SHOT = 500
"""Optimiser steps per label of a class; the paper's."""

MOST_PASSES = 500
"""Passes over the labelled images that the default number of steps stops at."""

LOGGED = 100
"""Steps that are told of together, at least: a pass over a few images is a step or two."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def default_iterations(images: int, classes: int, batch_size: int) -> int:
    """``500 * images / classes`` steps, but no more than 500 passes over the images.

    With batches of 32, the passes count where there are fewer than 32 classes.

    Args:
        images: n, labelled images of all classes.
        classes: C.
        batch_size: images per step.
    """
    return max(1, min(round(PER_SHOT * images / classes), MOST_PASSES * math.ceil(images / batch_size)))


def cosine_rates(learning_rate: float, final_rate: float, steps: int) -> list[float]:
    """``final + (rate - final) / 2 * (1 + cos(pi * s / S))`` for each of S steps."""
    span = (learning_rate - final_rate) / 2
    return [final_rate + span * (1 + math.cos(math.pi * s / steps)) for s in range(steps)]


@dataclass(frozen=True)
class CLIPLoRA(Method):
    """Add ``scale * up @ down`` of rank r to query, key and value of every layer, and train nothing else.

    The loss of a batch is the cross-entropy of ``logit_scale * cosine(image, class text)``, both of them by the towers
    as they are at that step. A tower without attention in its blocks (a ResNet, the embedded model's) has all its
    convolutions and linear layers updated instead, which is not in the paper.

    Attributes:
        encoder: which tower is updated: ``both``, ``vision`` or ``text``.
        rank: r, at least 1; 2 in the paper.
        alpha: the updates are multiplied by alpha / r, positive; 1 in the released code.
        dropout: share of the input channels that an update leaves out in training, 0..1; 0.25 in the paper.
        learning_rate: AdamW's first rate, positive; 2e-4 in the paper.
        final_rate: what half a cosine takes it down to, at least 0; 1e-6 in the released code.
        weight_decay: AdamW's, at least 0, on the factors.
        batch_size: images per step, at least 1; 32 in the paper.
        iterations: optimiser steps, at least 1; None = `default_iterations`, of images, classes and batch size.
        recipe: how views are made for training, as extraction has it; None = the clean view.
        averaging: how the prompts of a class become one vector.
        micro_batch_size: images or texts embedded at a time; fewer need less memory. None = all.
        precision: what the towers compute in: ``auto`` (bfloat16 on a GPU that has it), ``fp32`` or ``bf16``.
        legacy_scale: multiply the updates by alpha / sqrt(r) instead, as the released code does.

    Source: Zanella and Ben Ayed 2024, section 3, and its experiments for the values.
    """

    title: ClassVar[str] = "CLIPLoRA"
    summary: ClassVar[str] = "a few labels: low-rank updates of the attention of both towers"
    paper: ClassVar[str] = (
        "Zanella and Ben Ayed, Low-Rank Few-Shot Adaptation of Vision-Language Models, CVPR workshops, 2024"
    )
    tags: ClassVar[Tags] = Tags(exempt={"dtypes": "a tower is trained in float32 whatever the features are"})

    encoder: Literal["both", "vision", "text"] = "both"
    rank: Annotated[int, Field(ge=1)] = 2
    alpha: Positive = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    learning_rate: Positive = 2e-4
    final_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-6
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    batch_size: Annotated[int, Field(ge=1)] = 32
    iterations: Annotated[int, Field(ge=1)] | None = None
    recipe: str | None = "crop(0.08,1)+flip"
    averaging: AveragingRule = "mean_unit_renorm"
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    precision: Precision = "auto"
    legacy_scale: bool = False

    def requires(self) -> Requirements:
        """Texts, labelled images and the model's weights."""
        needs = frozenset({Need.TEXT, Need.LABELS, Need.IMAGES})
        return Requirements(needs, access=frozenset({Access.WEIGHTS, Access.FEATURES}))

    def fit(self, task: Task) -> Fitted:
        """Train the updates; those of the text tower end up in the head.

        Raises:
            NeedsError: the task lacks texts, images, labels or weights, or its text features lack their texts.
            UsageError: the tower to be updated has no such weights.
            DataError: a class has no image or no text, or an image can't be read any more.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        rules = {}
        if self.iterations is None:
            rules["iterations"] = default_iterations(len(support), task.n_classes, self.batch_size)
        trace = self.trace(task, rules)
        with trace.timed():
            tuning = _Tuning(self, task, support)
            trace.losses = tuning.train(int(trace.chosen["iterations"]))
            trace.notes += tuning.notes
            head = LinearHead(tuning.class_vectors().cpu(), scale=task.logit_scale)
            update = tuning.update()
            if (kept := tuning.checkpoint()) is not None:
                kept.clear()
        return Fitted(head, tower=update, trace=trace)


def update_attention(tower: nn.Module, **options: Any) -> bool:
    """Freeze a tower and put updates on query, key and value; elsewhere on all convolutions and linear layers.

    A pool with attention behind blocks without any, as CLIP's ResNets have it, counts as none.

    Args:
        tower: any image or text tower.
        options: those of `clipwright.training.low_rank.attach`, but for ``which`` and ``layers``.

    Returns:
        Whether there is attention.

    Raises:
        UsageError: the tower has neither attention, nor convolutions, nor linear layers.
    """
    inside = tuple(f"{name}." for name in blocks(tower))
    with suppress(UsageError):  # it has no query, key or value
        attach(tower, which=("q", "k", "v"), **options)
        if not inside or any(name.startswith(inside) for name in factors(tower)):
            return True
        detach(tower)
    _update_layers(tower, **options)
    return False


def _update_layers(tower: nn.Module, *, rank: int, alpha: float, dropout: float, stabilised: bool, seed: int) -> None:
    """Updates on all ungrouped convolutions and linear layers, made as `attach` makes them."""
    tower.requires_grad_(False)
    found = False
    for name, module in list(tower.named_modules()):
        if not (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)):
            continue
        order = [own for own, _ in module.named_parameters(recurse=False)]
        update = LowRank(module.weight, ((0, len(module.weight)),), rank=rank)
        bound = 1 / math.sqrt(module.weight[0].numel())
        drawn = generator(seed, "low-rank", f"{name}.weight").uniform(-bound, bound, tuple(update.down.shape))
        with torch.no_grad():
            update.down.copy_(torch.from_numpy(drawn))
        update.scale, update.dropout, update.order = alpha / (math.sqrt(rank) if stabilised else rank), dropout, order
        parametrize.register_parametrization(module, "weight", update.eval())
        found = True
    if not found:
        raise UsageError(f"{type(tower).__name__} has no layer that a low-rank update fits: choose the other encoder.")


class _ClassTexts:
    """The prompts of the classes, each different one once, and how their features become class vectors."""

    def __init__(self, task: Task, tower: Tower, rule: AveragingRule) -> None:
        assert task.text is not None  # noqa: S101 - the method checked
        rows = task.text.describing("template")
        if rows.texts is None:
            raise NeedsError(
                "CLIPLoRA reads the class texts while it tunes the text tower, and these text features come without: "
                "give TextFeatures their texts, or set encoder = vision."
            )
        unique = {text: i for i, text in enumerate(dict.fromkeys(rows.texts))}
        self.tokens = tower.tokens(list(unique))
        self.texts, self._n, self._rule = rows.texts, task.n_classes, rule
        self._place = torch.tensor([unique[text] for text in rows.texts], device=tower.device)
        self._classes = rows.classes.to(tower.device)

    def vectors(self, embedded: torch.Tensor) -> torch.Tensor:
        """(C, D) unit class vectors of (U, D) features of the unique texts."""
        rows = embedded if self._rule == "raw_mean" else nn.functional.normalize(embedded, dim=1)
        sums = rows.new_zeros(self._n, rows.shape[1]).index_add(0, self._classes, rows[self._place])
        return nn.functional.normalize(sums, dim=1)


class _Tuning:
    """One fit: copies of the towers with their updates, and what they are trained on.

    Attributes:
        notes: what the user should know.
    """

    def __init__(self, method: CLIPLoRA, task: Task, support: Features) -> None:
        assert isinstance(task.access, Tower)  # noqa: S101 - the method checked
        self.method, self.task, self.support, self.tower = method, task, support, task.access
        self.notes: list[str] = []
        self._fixed = nn.functional.normalize(class_texts(task, method.averaging).float(), dim=1).to(self.tower.device)
        self.image = self.tower.image_module().requires_grad_(False).eval()
        self.text = None if method.encoder == "vision" else self.tower.text_module().requires_grad_(False).eval()
        updated = {name: self._update(name, module) for name, module in (("image", self.image), ("text", self.text))}
        if not any(updated.values()):
            raise UsageError(f"{self.tower.spec} has no layer that a low-rank update fits: choose another method.")
        self.text = self.text if updated["text"] else None
        self._trained = {n: m for n, m in (("image", self.image), ("text", self.text)) if m is not None}
        self._tunes_image = updated["image"]
        self.texts = None if self.text is None else _ClassTexts(task, self.tower, method.averaging)

    def _update(self, name: str, module: nn.Module | None) -> bool:
        """Put updates on a tower that shall have some; whether it has."""
        method = self.method
        if module is None or (name == "image" and method.encoder == "text"):
            return False
        try:
            attention = update_attention(
                module,
                rank=method.rank,
                alpha=method.alpha,
                dropout=method.dropout,
                stabilised=method.legacy_scale,
                seed=self.task.seed,
            )
        except UsageError:
            if method.encoder != "both":
                raise
            self.notes.append(f"The {name} tower has no layer that a low-rank update fits, so it stays as it is.")
            return False
        if not attention:
            self.notes.append(
                f"The {name} tower has no attention in its blocks, so all its convolutions and linear layers were "
                "updated, which was never published."
            )
        return True

    def train(self, steps: int) -> list[float]:
        """Train the updates; the mean loss of each `LOGGED` steps or more."""
        method, device, labels = self.method, self.tower.device, self.support.labels.to(self.tower.device)
        once = shuffled_batches(
            len(self.support), method.batch_size, drop_last=False, seed=self.task.seed, key=("clip_lora", "order")
        )
        per_pass = len(once(0))

        def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
            vectors = self._fixed if self.texts is None else self.texts.vectors(embeddings[1])
            logits = self.task.logit_scale * nn.functional.normalize(embeddings[0], dim=1) @ vectors.to(embeddings[0]).T
            return {"cross_entropy": nn.functional.cross_entropy(logits, labels[batch.rows.to(device)])}

        release = freeze_statistics(self.image)
        with self._loading(per_pass) as load:
            log = train_tower(
                self._trained,
                load,
                loss,
                batches=_together(once, math.ceil(LOGGED / per_pass)),
                rates=cosine_rates(method.learning_rate, min(method.final_rate, method.learning_rate), steps),
                optimizer=adamw(self._trained, weight_decay=method.weight_decay),
                micro_batch_size=method.micro_batch_size,
                precision=method.precision,
                clip=None,
                seed=self.task.seed,
                checkpoint=self.checkpoint(),
                label="tune",
                quiet=self.task.quiet,
            )
        release()
        return [epoch["loss"] for epoch in log]

    @contextmanager
    def _loading(self, per_pass: int) -> Iterator[Any]:
        with ImageBatches(self.support, self.tower, seed=self.task.seed) as images:

            def load(batch: Batch) -> Sequence[Stream]:
                views = images(batch.share, epoch=batch.step // per_pass, recipe=self.method.recipe)
                streams = [Stream(self.image, views)]
                if self.text is not None and self.texts is not None:
                    streams.append(Stream(self.text, self.texts.tokens, whole=True))
                return streams

            yield load

    def checkpoint(self) -> Checkpoint | None:
        """Where the training is kept, if there is a workspace."""
        if self.task.workspace is None:
            return None
        rows = list(self.support.ids or range(len(self.support)))
        texts = self._fixed.double().sum(1).tolist() if self.texts is None else list(self.texts.texts)
        what = [self.method.hyper_parameters(), self.tower.digest, self.task.seed, list(self.task.class_names), texts]
        seen = self.support.x.double().sum(1).tolist()  # images may change under their names
        digest = digest_json([*what, rows, self.support.labels.tolist(), seen])
        return Checkpoint(self.task.workspace / "clip_lora.safetensors", digest)

    @torch.no_grad()
    def class_vectors(self) -> torch.Tensor:
        """(C, D) unit class texts by the text tower as it is now."""
        if self.text is None or self.texts is None:
            return self._fixed
        size = self.method.micro_batch_size or max(1, len(self.texts.tokens))
        parts = torch.split(self.texts.tokens, size)
        return self.texts.vectors(torch.cat([self.text.eval()(part) for part in parts]))

    def update(self) -> TowerUpdate | None:
        """What became of the image tower; None = it stayed."""
        if not self._tunes_image:
            return None
        pairs = {name: (up.cpu(), down.cpu()) for name, (up, down) in factors(self.image).items()}
        return TowerUpdate(self.tower.spec, self.tower.digest, {}, pairs)


def _together(once: Batches, passes: int) -> Batches:
    """Several passes as one epoch."""
    return lambda epoch: [rows for number in range(epoch * passes, (epoch + 1) * passes) for rows in once(number)]
