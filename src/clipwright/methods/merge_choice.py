"""How far to go from the weights before tuning to those after it, where no test image may be looked at."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from clipwright.core.neighbours import nearest
from clipwright.core.tensors import unit_rows

GRID = tuple(i / 10 for i in range(11))
"""Values of alpha that are tried."""


def mutual_information(logits: torch.Tensor) -> float:
    """Entropy of the mean prediction less the mean entropy of predictions, in nats, at least 0.

    High where each image is told clearly and all classes are used. Source: Bridle, Heading and MacKay, Unsupervised
    classifiers, mutual information and phantom targets, NeurIPS 1991.

    Args:
        logits: (n, C), n at least 1.
    """
    log_p = logits.double().log_softmax(1)
    mean = log_p.exp().mean(0)
    spread = -torch.special.xlogy(mean, mean).sum()
    return float(spread + (log_p.exp() * log_p).sum(1).mean())


def neighbour_agreement(logits: torch.Tensor, x: torch.Tensor, k: int = 5) -> float:
    """Mean probability that an image and one of its k nearest others are given the same class, 0..1.

    It grows too where everything falls into a few classes, so it doesn't choose alpha; the page about RegFT shows how.
    The neighbours are found in features that no fit has changed, so that they are the same for all alphas.

    Args:
        logits: (n, C), n at least 2.
        x: (n, D) features of the backbone as it was.
        k: neighbours, at least 1; all others where there are fewer.
    """
    p = logits.double().softmax(1)
    unit = unit_rows(x)
    _, index = nearest(unit, unit, k, same=True)
    return float((p[:, None] * p[index]).sum(2).mean())


def best_alpha(scores: Mapping[float, float], *, prefer: float = 0.5) -> float:
    """The alpha of the highest score; of equals, the one nearest to `prefer`, and of these the smaller.

    Args:
        scores: score by alpha, at least one.
        prefer: which of equals.
    """
    top = max(scores.values())
    return min((a for a, score in scores.items() if score == top), key=lambda a: (round(abs(a - prefer), 9), a))
