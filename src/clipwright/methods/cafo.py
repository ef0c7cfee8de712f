"""CaFo: memories of real and generated images in two towers, each believed as far as it agrees with the texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.methods.base import Method, Requirements, Tags, class_texts, require_labels, working_dtype
from clipwright.methods.cafo_fit import (
    BestEpoch,
    Caches,
    Held,
    Rows,
    class_shares,
    cosine_steps,
    held_rows,
    pick,
    right_on_grid,
    step_batches,
    training_rows,
    tune,
    with_generated,
)
from clipwright.methods.taskres_base import GivenBase, as_base, read_base
from clipwright.methods.tip_adapter import Positive, Steps, published_grid, support_keys
from clipwright.task import AveragingRule, Features, Need, Task
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

EXPECTED = (16.0, 1.5)
"""(beta, alpha) from which held-out rows must have reasons to depart."""

ONE_SHOT = (8.0, 0.7)
"""(beta, alpha) where no class has a second real image to hold out."""

NAMES_ONLY = (4.0, 0.5)
"""(beta, alpha) where every image is generated: these say nothing of how far generated images can be trusted."""


def _checked_classifier(value: Any) -> Any:
    if isinstance(value, str | Path):
        return str(value)
    try:
        return as_base(value, directions=True)
    except DataError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class CaFo(Method):
    """Text logits plus alpha times the standardised votes of labelled and generated images in one or two towers.

    Attributes:
        train: tune the keys on the cross-entropy of the images; False = leave them as they are.
        beta: how fast an image's vote falls with its distance, positive; None = searched. 1 in the released settings.
        alpha: how much the memories count, positive; None = searched. 0.2 to 4 in the released settings.
        search_scale: ends of the grid of beta and alpha, positive; from (7, 3) to (50, 50) in the released settings.
        search_steps: how many values of beta and alpha; (200, 20) in the released code.
        choice: which pair of the grid: ``near`` weighs rows right against distance from the expected pair, ``first``
            takes the smallest beta, then the smallest alpha, of those with the most rows right, as released.
        generated_keys: K', generated images of a class that are used, drawn at random, at least 0; None = all.
        classifier: what gives the text logits: ``text`` (the class texts), or one of your own, as the ``base`` of
            `clipwright.methods.taskres.TaskRes`: the path of an ``.npz`` or ``.safetensors`` file or of a saved
            classifier's folder, or in Python a (C, D) matrix, a mapping of arrays, or a Classifier. Rows are scaled to
            length 1, and a saved classifier's biases left out: RegFT's merged head is such a one.
        epochs: passes over the images where keys are tuned, at least 1; 20 to 400 in the released settings.
        learning_rate: AdamW's in the first step, positive; 1e-3 in the released settings, 1e-4 in the paper.
        weight_decay: AdamW's, at least 0; 0.01 in the released code.
        batch_size: images per step, at least 1. Real and generated images make batches of their own, real ones first.
        averaging: how the prompts of a class become one vector; the default is the published rule.
        use_second: remember images in a second tower too, where the task has its features.
        use_views: make each key of the first tower from the mean of the image's stored views, and tune on one view of
            each image per epoch, where there are any, as published.
        legacy_votes: every key votes 1, so that a class with more images has more to say, as released; without it the
            votes of each class are worth as much. Where classes have equally many images, both are the same.
        legacy_overrunning_schedule: the released half cosine, as long as the steps with real images, run on through
            those with generated ones, so that the rate rises again.

    beta and alpha are chosen on the validation rows where there are any, else by leaving out in turn each real image
    of a class that has two. Where keys are tuned, the pair is found before and in force during it; with validation
    rows the epoch that does best on them is kept and the pair searched again.

    Source: Zhang et al. 2023, section 3; what differs is on the method's page.
    """

    title: ClassVar[str] = "CaFo"
    summary: ClassVar[str] = "generated images, a few labels, or both: memories in one or two towers"
    paper: ClassVar[str] = (
        "Zhang et al., Prompt, Generate, then Cache: Cascade of Foundation Models makes Strong Few-shot Learners, "
        "CVPR 2023"
    )
    tags: ClassVar[Tags] = Tags(
        exempt={
            "restriction": "scores are standardised over the classes that compete, so fewer of them change each",
            "ties": "where images carry two labels each, rounding errors grow from step to step of training",
        }
    )

    train: bool = True
    beta: Positive | None = None
    alpha: Positive | None = None
    search_scale: tuple[Positive, Positive] = (50.0, 5.0)
    search_steps: tuple[Steps, Steps] = (200, 20)
    choice: Literal["near", "first"] = "near"
    generated_keys: Annotated[int, Field(ge=0)] | None = None
    classifier: Annotated[Any, BeforeValidator(_checked_classifier)] = "text"
    epochs: Annotated[int, Field(ge=1)] = 20
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    batch_size: Annotated[int, Field(ge=1)] = 256
    averaging: AveragingRule = "mean_unit_renorm"
    use_second: bool = True
    use_views: bool = True
    legacy_votes: bool = False
    legacy_overrunning_schedule: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; a second tower, augmented views and validation labels where there are any."""
        searched = self.train or self.beta is None or self.alpha is None
        optional = {Need.SECOND: self.use_second, Need.VIEWS: self.use_views, Need.VALIDATION: searched}
        return Requirements(frozenset({Need.TEXT, Need.LABELS}), frozenset(n for n in optional if optional[n]))

    def hyper_parameters(self) -> dict[str, Any]:
        """The fields by name; a classifier given as arrays by its shape and digest."""
        return super().hyper_parameters() | {"classifier": str(self.classifier)}

    def fit(self, task: Task) -> Fitted:
        """Remember the images, search beta and alpha, and tune the keys.

        Raises:
            NeedsError: the task has no text features or no labelled or generated images.
            DataError: a class has no text or no image, or the given classifier doesn't fit the task.
            FormatError: the file of the classifier can't be read.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        run = _Run(self, task)
        trace = self.trace(task)
        with trace.timed(), torch.inference_mode(False):
            caches = run.caches()
            found = run.search(caches)
            if self.train:
                caches = run.tuned(caches, found, trace)
                if run.validation is not None:
                    found = run.search(caches)
            run.note(trace, found)
            return Fitted(caches.head(*found[:2]), trace=trace)


class _Run:
    """One fit: its rows, and what is held out."""

    def __init__(self, method: CaFo, task: Task) -> None:
        self.method, self.task, self.dtype = method, task, working_dtype(task)
        given = with_generated(require_labels(task), method.generated_keys, seed=task.seed, key="cafo")
        self.support = given
        require_labels(replace(task, support=given))  # a class may have nothing but generated images that aren't used
        asked = Need.VALIDATION in method.requires().optional
        others = task.validation if asked and task.validation is not None and len(task.validation) else None
        self.second = method.use_second and given.second is not None and (others is None or others.second is not None)
        self.validation = None if others is None else Held(self.rows(others), others.labels)

    def rows(self, features: Features) -> Rows:
        first = features.unit_x().to(self.dtype)
        return (
            (first, unit_rows(features.second).to(self.dtype))
            if self.second and features.second is not None
            else (first,)
        )

    def caches(self) -> Caches:
        method, support = self.method, self.support
        texts = class_texts(self.task, method.averaging)
        if method.classifier != "text":
            given = method.classifier
            base = given if isinstance(given, GivenBase) else read_base(given, directions=True)
            texts = base.vectors(self.task.class_names, texts)
        keys = (support_keys(support, use_views=method.use_views).to(self.dtype).clone(), *self.rows(support)[1:])
        share = class_shares(support.labels, self.task.n_classes).to(self.dtype)
        return Caches(
            unit_rows(texts).to(self.dtype),
            keys,
            support.labels.clone(),
            torch.ones_like(share) if method.legacy_votes else share,
            self.task.logit_scale,
        )

    def search(self, caches: Caches) -> tuple[float, float, Source | None]:
        """Beta, alpha, and how those not given were found; None = both were given."""
        method = self.method
        if method.beta is not None and method.alpha is not None:
            return method.beta, method.alpha, None
        how: Source = "validation"
        held = self.validation
        if held is None:
            own, how = held_rows(self.support), "cross-validation"
            if not len(own):
                beta, alpha = NAMES_ONLY if bool(self.support.is_generated.all()) else ONE_SHOT
                return method.beta or beta, method.alpha or alpha, "rule"
            held = Held(self.rows(self.support[own]), self.support.labels[own], own)
        betas, alphas = (
            published_grid(end, n) if given is None else torch.tensor([given], dtype=torch.float64)
            for given, end, n in zip((method.beta, method.alpha), method.search_scale, method.search_steps, strict=True)
        )
        counts = right_on_grid(caches, held, betas, alphas)
        beta, alpha = pick(counts, (betas, alphas), EXPECTED, first=method.choice == "first")
        return beta, alpha, how

    def tuned(self, caches: Caches, found: tuple[float, float, Source | None], trace: FitTrace) -> Caches:
        method, support = self.method, self.support
        batches, real = step_batches(support, method.batch_size, self.task.seed)
        steps = method.epochs * len(batches(0))
        period = method.epochs * real if method.legacy_overrunning_schedule and real else steps
        best = BestEpoch(caches, self.validation, *found[:2])
        for keys in caches.keys:
            keys.requires_grad_()
        with threads_for(min(len(support), method.batch_size) * sum(keys.numel() for keys in caches.keys)):
            trace.losses = tune(
                caches,
                training_rows(support, self.second, self.dtype, use_views=method.use_views, seed=self.task.seed),
                support.labels,
                batches,
                cosine_steps(method.learning_rate, steps, period),
                beta=found[0],
                alpha=found[1],
                weight_decay=method.weight_decay,
                after_epoch=best,
            )
        if self.validation is not None:
            trace.notes.append(f"Epoch {best.epoch + 1} of {method.epochs} was kept: the best on the validation set.")
            trace.labels_per_class = labels_used(self.task)
        return best.kept

    def note(self, trace: FitTrace, found: tuple[float, float, Source | None]) -> None:
        """Write what was found and how, and what the memories hold."""
        beta, alpha, how = found
        trace.chosen |= {"beta": beta, "alpha": alpha}
        if how is not None:
            trace.how |= {n: how for n in ("beta", "alpha") if getattr(self.method, n) is None}
        if how == "validation":
            trace.labels_per_class = labels_used(self.task)
        made = int(self.support.is_generated.sum())
        if made:
            trace.notes.append(f"{made} of the {len(self.support)} images remembered are generated.")
