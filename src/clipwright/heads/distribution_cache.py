"""A memory of images that also compares how the class texts see an image and the remembered ones."""

from __future__ import annotations

import math
from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, build, describe


def log_shares(x: torch.Tensor, texts: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """``log(T * softmax(x . texts / temperature))``: how much more than evenly each text gets of an image.

    At a high temperature shares are nearly even and divergences small; logarithms relative to 1 / T keep their digits.

    Args:
        x: (m, D) unit image features.
        texts: (T, D) unit texts.
        temperature: divides the cosines, positive.

    Returns:
        (m, T), 0 where the share is 1 / T.
    """
    scores = x @ texts.T / temperature
    scores = scores - scores.mean(1, keepdim=True)
    return scores - (scores.logsumexp(1, keepdim=True) - math.log(len(texts)))


def mean_divergence(shares: torch.Tensor, profile: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """``sum over keys k of class c: weight_k * KL(r || r_k)`` in nats, which needs no key by itself.

    Args:
        shares: (m, T) `log_shares` of images, r.
        profile: (C, T) sums of ``weight_k * log_shares`` of each class's keys.
        total: (C,) sums of the weights.

    Returns:
        (m, C).
    """
    r = shares.exp() / shares.shape[1]
    return (r * shares).sum(1, keepdim=True) * total - r @ profile.T


class DistributionCacheHead(Head):
    """``cache logits - gamma * sum over keys k of class c: weight_k * (offset + slope * KL(r(u) || r(k)))``.

    r is the softmax over T texts of ``u . t / temperature``, u the image feature scaled to length 1. The texts are what
    images are described by, so a restricted head keeps all of them.

    Args:
        cache: gives the first part of the logits, from image features.
        texts: (T, D) unit texts; float64 stays, anything narrower becomes float32.
        profile: (C, T) sum of ``weight_k * log_shares(k)`` over the keys of each class.
        total: (C,) sum of the keys' weights.
        gamma: how much the divergences count.
        slope: what a nat of divergence is worth, in cosines.
        offset: what no divergence is worth, in cosines.
        temperature: divides the cosines under the softmax, positive.

    Raises:
        DataError: shapes that don't fit, or a cache that takes more than image features.

    Source: Udandarao et al., SuS-X, ICCV 2023, section 3.2.
    """

    texts: torch.Tensor
    profile: torch.Tensor
    total: torch.Tensor
    gamma: torch.Tensor
    slope: torch.Tensor
    offset: torch.Tensor
    temperature: torch.Tensor

    def __init__(
        self,
        cache: Head,
        texts: torch.Tensor,
        profile: torch.Tensor,
        total: torch.Tensor,
        *,
        gamma: float,
        slope: float,
        offset: float,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        shapes = [tuple(t.shape) for t in (texts, profile, total)]
        if len(shapes[0]) != 2 or shapes[1:] != [(cache.n_classes, shapes[0][0]), (cache.n_classes,)]:
            raise DataError(f"a distribution head takes (T, D) texts, (C, T) profiles and C totals: {shapes}.")
        if cache.inputs != ("image",):
            raise DataError("a distribution head stands on a head of image features.")
        texts = texts if texts.dtype == torch.float64 else texts.float()
        self.cache = cache
        for name, tensor in (("texts", texts), ("profile", profile), ("total", total)):
            self.register_buffer(name, tensor.to(texts.dtype).contiguous())
        for name, value in (("gamma", gamma), ("slope", slope), ("offset", offset), ("temperature", temperature)):
            self.register_buffer(name, torch.tensor(value, dtype=texts.dtype, device=texts.device))

    @property
    def config(self) -> dict[str, Any]:
        """The cache's description, and sizes."""
        return {"cache": describe(self.cache), "n_texts": len(self.texts), "dim": int(self.texts.shape[1])}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DistributionCacheHead:
        """An all-zero head of the given sizes."""
        cache, texts = build(config["cache"]), config["n_texts"]
        sizes = torch.zeros(texts, config["dim"]), torch.zeros(cache.n_classes, texts), torch.zeros(cache.n_classes)
        return cls(cache, *sizes, gamma=0.0, slope=0.0, offset=0.0)

    @property
    def n_classes(self) -> int:
        """C."""
        return self.cache.n_classes

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, holding only their keys; images are still described by all texts."""
        cache = self.cache.restrict(class_index)
        index = torch.as_tensor(class_index).long().to(self.total.device)
        numbers = {name: float(getattr(self, name)) for name in ("gamma", "slope", "offset", "temperature")}
        return DistributionCacheHead(cache, self.texts, self.profile[index], self.total[index], **numbers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        shares = log_shares(unit_rows(x).to(self.texts.dtype), self.texts, self.temperature)
        rescaled = self.offset * self.total + self.slope * mean_divergence(shares, self.profile, self.total)
        logits: torch.Tensor = self.cache(x)
        return logits - self.gamma * rescaled
