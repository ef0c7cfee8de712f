"""CLAP: ZSLP, with each prototype held at its class text as strongly as zero-shot trusts that text."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.methods.zslp import ZSLP


def clap_penalty(x: torch.Tensor, y: torch.Tensor, texts: torch.Tensor, *, logit_scale: float = 100.0) -> torch.Tensor:
    """Mean zero-shot probability of the true class, class by class.

    Args:
        x: (n, D) labelled image features, any length.
        y: (n,) int64 classes.
        texts: (C, D) class texts, any length.
        logit_scale: multiplies the cosines.

    Returns:
        (C,) in 0..1; 0 for a class without rows.
    """
    logits = logit_scale * unit_rows(x).to(texts.dtype) @ unit_rows(texts).T
    true = logits.softmax(1)[torch.arange(len(y)), y]
    sums = true.new_zeros(len(texts)).index_add_(0, y, true)
    return sums / torch.bincount(y, minlength=len(texts)).clamp_min(1)


@dataclass(frozen=True)
class CLAP(ZSLP):
    """ZSLP plus ``mean_k penalty_k * |W_k - text_k|^2``; penalty_k = mean zero-shot probability of class k's images.

    Attributes:
        learning_rate: SGD's rate after the warm-up epoch, positive; 0.1 in the paper.
        epochs: passes over the support set, at least 1; 300 in the paper.
        momentum: of SGD, 0 to below 1; 0.9 in the paper.
        batch_size: images per step, at least 1; 256 in the paper. An incomplete last batch is left out.
        schedule: learning rate per epoch, as in ZSLP.
        text_scale: what the averaged class texts are multiplied by. Learning rate and penalty refer to their length.
            ``auto`` brings them to a mean length of 8, that of CLIP's raw text features; a number is used as it is.
        averaging: how the prompts of a class become one vector; the paper's is ``raw_mean``.
        use_views: train on all stored augmented views where the task has views; False = on the clean view.
        legacy_short_texts: fit even where texts are so short for the learning rate that every step overshoots and
            rounding decides the outcome. The released code does that with unit-norm texts.
        adaptive: after each epoch, raise the penalties by the augmented Lagrangian's outer step. The paper and the
            released scripts keep them as the zero-shot probabilities set them.

    Source: Silva-Rodriguez et al. 2024, the class-adaptive objective, with multipliers from zero-shot probabilities.
    """

    title: ClassVar[str] = "CLAP"
    summary: ClassVar[str] = "a few labels: a linear probe held at those class texts that zero-shot trusts"

    adaptive: bool = False

    def _penalty(self, x: torch.Tensor, y: torch.Tensor, base: torch.Tensor, scale: float) -> torch.Tensor | None:
        return clap_penalty(x, y, base, logit_scale=scale)

    def _adaptive(self) -> bool:
        return self.adaptive
