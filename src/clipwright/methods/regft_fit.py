"""RegFT's work: tuning a copy of the tower with its classifier, merging it with where it began, and judging merges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.rng import generator
from clipwright.methods.image_batches import ImageBatches
from clipwright.methods.merge_choice import mutual_information
from clipwright.task import Features, Task, Tower, TowerUpdate
from clipwright.training.batches import Batches, shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.freezing import choose_trainable, freeze_statistics
from clipwright.training.full_batch import Stream
from clipwright.training.low_rank import attach, detach, factors
from clipwright.training.regularisers import covariance_loss, variance_loss
from clipwright.training.towers import Batch, adamw, train_tower
from clipwright.training.warmup import warmup_schedule
from clipwright.training.weight_space import diagonal_fisher, fisher_merge, interpolate, reestimate_batch_norm

if TYPE_CHECKING:
    from clipwright.methods.regft import RegFT

RATE, RATE_PARAMETERS = 3e-5, 86e6
"""AdamW's peak learning rate in WiSE-FT's recipe, and the weights of the ViT-B that it is a recipe for."""

FASTEST = 3e-4
"""The default learning rate of smaller towers ends here."""


def default_rate(parameters: int) -> float:
    """``3e-5 * sqrt(86e6 / parameters)``, at most 3e-4: smaller towers take larger steps.

    The recipe of WiSE-FT is 3e-5 for ViT-B and 1e-5 for few images; large towers are known to want less.

    Args:
        parameters: weights of the image tower, at least 1.
    """
    return min(FASTEST, RATE * math.sqrt(RATE_PARAMETERS / parameters))


RAW_LENGTH, RAW_DIM = 10.0, 512
"""About the length of the raw image features of CLIP's ViT-B, which the published weights refer to, and their width."""

LEGACY_WARMUP = 500
JUDGED = 1000
"""Images that merges are judged on at a time, and unlabeled ones at most."""

FISHER_IMAGES = 512
"""Training images that Fisher information is taken of, at most."""

_EMBEDDED = 64  # images embedded at a time where no gradient is needed


class CosineClassifier(nn.Module):
    """``unit(x) @ weight.T + bias``, both trained."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.bias = nn.Parameter(weight.new_zeros(len(weight)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, C) logits of (b, D) raw embeddings."""
        return nn.functional.normalize(x, dim=1) @ self.weight.T + self.bias


@dataclass(eq=False)
class Tuning:
    """What is tuned, and on what.

    Attributes:
        method: hyper-parameters.
        task: where rows, texts and tower come from.
        rows: labelled rows with images.
        tower: the model.
        module: the copy of its image tower that is trained.
        rate: peak learning rate.
        scale: what embeddings are multiplied by in V and Cv.
        notes: what the user should know.
    """

    method: RegFT
    task: Task
    rows: Features
    tower: Tower
    module: nn.Module
    rate: float
    scale: float
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, method: RegFT, task: Task, rows: Features) -> Tuning:
        """The tuning that a method asks for on some rows of a task.

        Raises:
            UsageError: batches of one with variance or covariance.
        """
        tower = task.access
        assert isinstance(tower, Tower)  # noqa: S101 - the method checked
        size = min(method.batch_size, len(rows))
        if size < 2 and (method.variance or method.covariance):
            raise UsageError(
                "variance and covariance are those of a batch of two images or more: train on more images, with a "
                "larger batch_size, or set variance and covariance to 0."
            )
        scale = method.embedding_scale
        if scale == "auto":
            length = float(rows.x.double().norm(dim=1).mean())
            scale = RAW_LENGTH * (rows.dim / RAW_DIM) ** 0.5 / length if length > 0 and not rows.unit else 1.0
        rate, module = method.learning_rate, tower.image_module()
        if rate is None:
            rate = default_rate(sum(p.numel() for p in module.parameters()))
        return cls(method, task, rows, tower, module, rate, scale)

    @cached_property
    def images(self) -> ImageBatches:
        """The training images."""
        return ImageBatches(self.rows, self.tower, seed=self.task.seed)

    @cached_property
    def batches(self) -> Batches:
        """Rows of each batch."""
        size, seed = self.method.batch_size, self.task.seed
        return shuffled_batches(len(self.rows), size, drop_last=True, seed=seed, key=("regft", "order"))

    def rates(self) -> list[float]:
        """A learning rate per step."""
        steps = self.method.epochs * len(self.batches(0))
        warmup = LEGACY_WARMUP if self.method.legacy_warmup else round(self.method.warmup * steps)
        return warmup_schedule(self.rate, steps, warmup_steps=warmup)

    def clean(self, most: int | None = None) -> Iterator[torch.Tensor]:
        """Clean views of the training images, the same ones each time where there are more than `most`."""
        order = torch.arange(len(self.rows))
        if most is not None and len(order) > most:
            drawn = generator(self.task.seed, "regft", "some").permutation(len(order))[:most]
            order = torch.from_numpy(drawn).sort().values
        for part in chunks(len(order)):
            yield self.images(order[part])

    def close(self, start: torch.Tensor) -> None:
        """Let go of images, and of the checkpoint of a training that is done."""
        self.images.close()
        if (checkpoint := self.checkpoint(start)) is not None:
            checkpoint.clear()

    def checkpoint(self, start: torch.Tensor) -> Checkpoint | None:
        """Where the training is kept, if there is a workspace."""
        if self.task.workspace is None:
            return None
        given = list(self.rows.ids or range(len(self.rows)))
        what = [self.method.hyper_parameters(), self.tower.digest, self.task.seed, list(self.task.class_names)]
        seen = self.rows.x.double().sum(1).tolist()  # images may change under their names
        rows = [given, self.rows.labels.tolist(), start.double().sum(1).tolist(), seen]
        return Checkpoint(self.task.workspace / "regft.safetensors", digest_json([*what, *rows]))


@dataclass(frozen=True, eq=False)
class Tuned:
    """Both ends of a tuning.

    Attributes:
        module: the tower, as it is after it.
        before: tensors of the tower's state that the tuning changed, as they were.
        after: the same as they are.
        factors: low-rank updates in the place of `before` and `after`; may be empty.
        classifiers: (weight, bias) before and after.
        log: mean parts of the loss per epoch.
    """

    module: nn.Module
    before: dict[str, torch.Tensor]
    after: dict[str, torch.Tensor]
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]]
    classifiers: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    log: list[dict[str, float]]


def tune(tuning: Tuning, start: torch.Tensor) -> Tuned:
    """Train a copy of the tower and the classifier.

    Args:
        tuning: what and on what.
        start: (C, D) classifier to begin with.

    Raises:
        DivergedError: the loss became NaN or infinite.
        UsageError: a policy that the tower can't follow.
    """
    method, task = tuning.method, tuning.task
    module = tuning.module
    before = _copied(module.state_dict())
    if method.low_rank and method.train != "head":
        attach(module, rank=method.low_rank, alpha=method.low_rank, dropout=0.0, layers=method.train,
               which=("q", "k", "v", "o", "mlp", "conv"), seed=task.seed)  # fmt: skip
    else:
        choose_trainable(module, method.train)
    release = freeze_statistics(module) if method.freeze_statistics else None
    head = CosineClassifier(start.to(tuning.tower.device))
    labels = tuning.rows.labels.to(tuning.tower.device)
    regular = min(method.batch_size, len(tuning.rows)) > 1

    def load(batch: Batch) -> Sequence[Stream]:
        return [Stream(module, tuning.images(batch.share, epoch=batch.epoch, recipe=method.recipe))]

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        x, y = embeddings[0], labels[batch.rows.to(labels.device)]
        smoothed = nn.functional.cross_entropy(head(x), y, label_smoothing=method.label_smoothing)
        parts = {"cross_entropy": smoothed}
        seen = tuning.scale * x
        return parts | ({"variance": variance_loss(seen), "covariance": covariance_loss(seen)} if regular else {})

    checkpoint = tuning.checkpoint(start)
    weights = {"cross_entropy": method.cross_entropy}
    log = train_tower(
        {"tower": module, "head": head},
        load,
        loss,
        batches=tuning.batches,
        rates=tuning.rates(),
        optimizer=adamw({"tower": module, "head": head}, weight_decay=method.weight_decay),
        weights=weights | ({"variance": method.variance, "covariance": method.covariance} if regular else {}),
        micro_batch_size=method.micro_batch_size,
        precision=method.precision,
        clip=method.clip,
        seed=task.seed,
        checkpoint=checkpoint,
        label="tune",
        quiet=task.quiet,
    )
    updates = {n: (up.cpu(), down.cpu()) for n, (up, down) in factors(module).items()} if method.low_rank else {}
    if method.low_rank:
        detach(module)
    if release is not None:
        release()
    after = _copied(module.state_dict())
    changed = [n for n, t in after.items() if n not in updates and not torch.equal(t, before[n])]
    first = {"weight": start, "bias": torch.zeros(len(start))}
    return Tuned(
        module.eval().requires_grad_(False),
        {n: before[n] for n in changed},
        {n: after[n] for n in changed},
        updates,
        (first, _copied(dict(head.named_parameters()))),
        log,
    )


def chunks(n: int, most: int = _EMBEDDED) -> list[torch.Tensor]:
    """Numbers from 0 to n - 1 in parts of at most `most`, as even as can be: batch norms count all parts the same."""
    return list(torch.arange(n).tensor_split(-(-n // most))) if n else []


def _copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}


class Merging:
    """The models on the way from before a tuning to after it.

    Args:
        tuning: what was tuned, and on what.
        tuned: both ends.
        fisher: weigh by Fisher information instead of evenly.
    """

    def __init__(self, tuning: Tuning, tuned: Tuned, *, fisher: bool = False) -> None:
        self.tuning, self.tuned, self.fisher = tuning, tuned, fisher

    def __call__(self, alpha: float) -> tuple[TowerUpdate | None, torch.Tensor, torch.Tensor]:
        """What the tower becomes (None = it stays as it was), and the classifier's (C, D) weight and (C,) bias.

        Args:
            alpha: 0 = before the tuning, 1 = after it, to the bit.
        """
        tensors, classifier = self._means(alpha)
        weight, bias = classifier["weight"], classifier["bias"]
        update = self._update(alpha, tensors)
        if update is not None and 0 < alpha < 1 and any("running_" in name for name in tensors):
            module = self.applied(update)
            if reestimate_batch_norm(module, self.tuning.clean()):
                norms = {n: t for n, t in _copied(module.state_dict()).items() if n in tensors and "running_" in n}
                update = self._update(alpha, tensors | norms)
        return update, weight, bias

    def _update(self, alpha: float, tensors: dict[str, torch.Tensor]) -> TowerUpdate | None:
        scaled = {n: (alpha * up, down) for n, (up, down) in self.tuned.factors.items()}
        if alpha == 0 or not (tensors or scaled):
            return None
        return TowerUpdate(self.tuning.tower.spec, self.tuning.tower.digest, tensors, scaled)

    def _means(self, alpha: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        tuned, (first, last) = self.tuned, self.tuned.classifiers
        if not self.fisher or alpha in {0, 1}:
            return interpolate(tuned.before, tuned.after, alpha), interpolate(first, last, alpha)
        (tower0, head0), (tower1, head1) = self.information
        known = [{n: f for n, f in tower.items() if n in tuned.after} for tower in (tower0, tower1)]
        tensors = fisher_merge(tuned.before, tuned.after, known[0], known[1], alpha)
        return tensors, fisher_merge(first, last, head0, head1, alpha)

    @cached_property
    def information(self) -> list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
        """Fisher information of tower and classifier, before and after."""
        ends = []
        for alpha, classifier in zip((0.0, 1.0), self.tuned.classifiers, strict=True):
            module = self.applied(self._update(alpha, self.tuned.after if alpha else {}))
            head = CosineClassifier(classifier["weight"])
            with torch.no_grad():
                head.bias.copy_(classifier["bias"])
            head.to(self.tuning.tower.device)
            tower, classes = diagonal_fisher(module, head, self.tuning.clean(FISHER_IMAGES), self.tuning.task.seed)
            ends.append((_copied(tower), _copied(classes)))
        return ends

    def applied(self, update: TowerUpdate | None) -> nn.Module:
        """A tower of its own with an update."""
        module = self.tuning.tower.image_module().eval().requires_grad_(False)
        if update is not None:
            update.apply(module.state_dict())
        return module


def split_real(task: Task) -> tuple[Features | None, Features | None]:
    """Rows to train on, and real labelled rows to choose on: the validation set, else the real ones of the support.

    Raises:
        NeedsError: all labelled images are real and there is no validation set, so nothing is left to choose on.
    """
    if task.validation is not None and len(task.validation):
        return task.support, task.validation
    assert task.support is not None  # noqa: S101 - the method checked
    made = task.support.is_generated
    if not bool(made.any()) or bool(made.all()):
        raise NeedsError(
            "alpha = labels chooses on real labelled images beside the generated ones: give some (--shots with "
            "--generated, or validation labels), or set alpha."
        )
    return task.support[made.nonzero()[:, 0]], task.support[(~made).nonzero()[:, 0]]


@torch.no_grad()
def held_out_scores(merging: Merging, rows: Features, alphas: Sequence[float], *, by: str) -> dict[float, float]:
    """How well each merge does on rows that it was not trained on.

    Args:
        merging: gives the merges.
        rows: rows with images; at most `JUDGED` unlabeled ones are looked at.
        alphas: which merges.
        by: ``labels`` (accuracy) or ``unlabeled`` (see `mutual_information`).

    Returns:
        score by alpha.
    """
    tuning = merging.tuning
    if by == "unlabeled" and len(rows) > JUDGED:
        rows = rows[torch.from_numpy(generator(tuning.task.seed, "regft", "judged").permutation(len(rows))[:JUDGED])]
    logits: dict[float, list[torch.Tensor]] = {alpha: [] for alpha in alphas}
    with ImageBatches(rows, tuning.tower, seed=tuning.task.seed) as images:
        for group in chunks(len(rows), JUDGED):  # decoded once; no more pixels than these are kept
            pixels = [images(group[part]) for part in chunks(len(group))]
            for alpha in alphas:
                update, weight, bias = merging(alpha)
                module = merging.applied(update)
                x = nn.functional.normalize(torch.cat([module(part).float().cpu() for part in pixels]), dim=1)
                logits[alpha].append(x @ weight.T + bias)
    judged = {alpha: torch.cat(parts) for alpha, parts in logits.items()}
    if by == "labels":
        return {alpha: float((z.argmax(1) == rows.labels).double().mean()) for alpha, z in judged.items()}
    return {alpha: mutual_information(z) for alpha, z in judged.items()}
