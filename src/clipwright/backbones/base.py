"""The contract of a backbone, and of the reference that names one without loading it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from clipwright.backbones.identifiers import DEFAULT
from clipwright.backbones.preprocess import Preprocess
from clipwright.core.errors import NeedsError
from clipwright.task import Access, BlackBox


@dataclass(frozen=True)
class ImageFeatures:
    """x (b, D) raw features and pre_projection (b, D') or None, float32, on the CPU.

    Where there is a projection, ``x = pre_projection @ projection (+ projection_bias)``.
    """

    x: torch.Tensor
    pre_projection: torch.Tensor | None = None


class Backbone(ABC):
    """A loaded vision-language model, frozen, in eval mode.

    Attributes:
        spec: the identifier it was opened with.
        digest: hash of weights, preprocessing, decoder and dtype.
        preprocess: turns a decoded image into the pixels that `images` takes.
        dim: D, width of the joint space.
        pre_projection_dim: D', or None where the tower has no last matrix.
        projection: (D', D) float32 last matrix of the image tower, on the CPU, or None.
        projection_bias: (D,) float32 vector added after it, on the CPU, or None (CLIP's ResNets have one).
        logit_scale: what multiplies cosines.
        device: where it runs.
        dtype: what it computes in.
        access: what may be asked of it.
    """

    spec: str
    digest: str
    preprocess: Preprocess
    dim: int
    pre_projection_dim: int | None
    projection: torch.Tensor | None
    projection_bias: torch.Tensor | None
    logit_scale: float
    device: torch.device
    dtype: torch.dtype
    access: frozenset[Access]

    @abstractmethod
    def images(self, pixels: torch.Tensor) -> ImageFeatures:
        """Features of (b, 3, H, W) uint8 pixels, already resized and cropped by `preprocess`."""

    @abstractmethod
    def texts(self, texts: Sequence[str], *, batch_size: int = 256) -> torch.Tensor:
        """(T, D) raw float32 features of T texts, in the order given."""

    def soft_prompts(self, names: Sequence[str]) -> BlackBox:
        """This model as a black box that is asked about classes under prompts given as token embeddings.

        Args:
            names: C class names as prompts say them.

        Raises:
            NeedsError: the text tower can't take a prompt of its own.
        """
        del names
        raise no_soft_prompts(self.spec)


def no_soft_prompts(spec: str) -> NeedsError:
    """What to say of a model whose text tower can't take a prompt of its own."""
    return NeedsError(
        f"{spec} takes no soft prompts: use a backbone with a causal text tower, such as {DEFAULT} or tiny, "
        "or a method that needs none."
    )


class BackboneRef(ABC):
    """A backbone that is named and digested but not loaded.

    Attributes:
        spec: canonical identifier, such as ``openclip:ViT-B-16@openai``.
    """

    spec: str

    @property
    @abstractmethod
    def preprocess(self) -> Preprocess:
        """Turns a decoded image into the pixels that the model takes."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hash of weights, preprocessing, decoder and dtype, found without loading the weights.

        Raises:
            BackboneError: the weights can't be had.
        """

    @abstractmethod
    def load(self) -> Backbone:
        """Load the weights once; later calls return the same object.

        Raises:
            BackboneError: the weights can't be had, or aren't what they should be.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON for reports and saved classifiers: spec, digest, dtype, sizes where known."""
