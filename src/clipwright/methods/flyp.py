"""FLYP without labels: both encoders tuned as CLIP was trained, on the class texts that class names alone give."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags
from clipwright.methods.latte_mixing import contrastive_loss
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
from clipwright.training.towers import Batch


@dataclass(frozen=True)
class FLYP(Method):
    """``logit_scale * unit(x) . t_c`` with both towers tuned by CLIP's own loss on unlabeled images.

    Each image is paired with the text of the class that the class texts give it before training, and the classifier is
    made of the class texts anew at the end. It is the baseline of LatteCLIP; the method that it takes its name from has
    labels.

    Attributes:
        batch_size: images per step, all where there are fewer; 512 in LatteCLIP's comparison.
        steps: number of steps, whatever the number of images.
        epochs: number of passes over the images, in place of `steps`; None = as many as the steps take.
        learning_rate: AdamW's peak rate, positive, after an epoch of warm-up (half of the steps, where these are fewer
            than two epochs) and before half a cosine to 0; 1e-5 as FLYP has it.
        weight_decay: AdamW's, at least 0, on matrices alone; 0.2 as LatteCLIP has it, 0 to 0.2 in FLYP.
        recipe: how views are made for training, as extraction has it; None = the clean view.
        sampler: an epoch is a ``permutation`` of the images, or as many draws with replacement (``resample``).
        positives: texts that an image is pulled to: its ``own`` as published, although others of its label are the
            same text, or those of all images of its ``label``.
        micro_batch_size: images or texts embedded at a time; fewer need less memory and give the same gradient. None =
            all.
        precision: what the towers compute in: ``auto`` (bfloat16 on a GPU that has it), ``fp32`` or ``bf16``.
        gradient_checkpointing: compute the inside of layers twice, which needs less memory.

    Source: Goyal et al., CVPR 2023; without labels as in Cao et al., WACV 2025.
    """

    title: ClassVar[str] = "FLYP"
    summary: ClassVar[str] = "class names and unlabeled images: both towers tuned on the classes that names alone give"
    paper: ClassVar[str] = (
        "Goyal et al., Finetune Like You Pretrain: Improved Finetuning of Zero-Shot Vision Models, CVPR 2023"
    )
    tags: ClassVar[Tags] = Tags(
        exempt={
            "dtypes": "towers are trained in float32 whatever the features are",
            "ties": "the classifier is of the texts, which the check leaves different",
        }
    )

    batch_size: Count = 512
    steps: Steps = 900
    epochs: Steps | None = None
    learning_rate: Rate = 1e-5
    weight_decay: Decay = 0.2
    recipe: str | None = "crop(0.9,1)+jitter"
    sampler: Sampler = "permutation"
    positives: Positives = "own"
    micro_batch_size: Count | None = None
    precision: Precision = "auto"
    gradient_checkpointing: bool = False

    def requires(self) -> Requirements:
        """Texts, unlabeled images and the model's weights."""
        needs = frozenset({Need.TEXT, Need.UNLABELED, Need.IMAGES})
        return Requirements(needs, access=frozenset({Access.WEIGHTS, Access.FEATURES}))

    def fit(self, task: Task) -> Fitted:
        """Take the steps, then make the classifier of the tuned text tower.

        Raises:
            NeedsError: the task lacks class texts, unlabeled images or weights.
            DataError: a class has no text, or an image can't be read any more.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            tuning = Tuning.of(self, task)
            log = tuning.train(FlypStep(self, tuning))
            tuning.say(trace, log, ("contrastive",))
            head = LinearHead(tuning.tuned_texts().cpu(), scale=task.logit_scale)
            fitted = Fitted(head, tower=tuning.update(), trace=trace)
            tuning.close()
        return fitted

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """Not possible: the tuned text tower isn't kept."""
        raise other_classes(self.title)


class FlypStep:
    """FLYP's step: the prompts of the classes that a batch's labels Z name.

    Args:
        method: the switches.
        tuning: labels Z and texts.
    """

    def __init__(self, method: FLYP, tuning: Tuning) -> None:
        self._method, self._tuning = method, tuning

    def _labels(self, batch: Batch) -> torch.Tensor:
        labels = self._tuning.labels
        return labels[batch.rows.to(labels.device)]

    def wanted(self, images: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The prompts of the classes of a batch."""
        del images
        return self._tuning.texts.needed(self._labels(batch))

    def loss(self, images: torch.Tensor, texts: Found, batch: Batch) -> dict[str, torch.Tensor]:
        """CLIP's loss of images and the texts of their labels."""
        labels = self._labels(batch)
        own = texts.class_texts(self._tuning.texts, labels)[labels]
        same = labels if self._method.positives == "label" else None
        return {"contrastive": contrastive_loss(images, own, self._tuning.task.logit_scale, same)}

    def after(self, batch: Batch) -> None:
        """Nothing else changes."""
