"""What may be asked of a model, the protocols of those that answer, and what a fit changed in one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from clipwright.core.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

UP, DOWN = "::up", "::down"


class Access(StrEnum):
    """What may be asked of a model: a set of capabilities, not a ladder."""

    WEIGHTS = "weights"
    SOFT_PROMPT = "soft_prompt"
    FEATURES = "features"
    SCORES = "scores"
    LABELS = "labels"


@dataclass
class Spent:
    """What a black box has been asked for.

    Attributes:
        prompts: soft prompts that were evaluated.
        scorings: pairs of an image and a prompt that were scored.
        texts: texts that were encoded: prompts times classes.
        images: images that were sent or encoded.
        requests: requests over the network, those answered from the cache left out.
        bytes_sent: bytes of their bodies.
        bytes_received: bytes of the answers.
        cached: answers that the cache held: of a prompt and some images, of texts, or of images.
    """

    prompts: int = 0
    scorings: int = 0
    texts: int = 0
    images: int = 0
    requests: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    cached: int = 0


@runtime_checkable
class Tower(Protocol):
    """A vision-language model whose weights and gradients are at hand.

    Attributes:
        spec: identifier of the model.
        digest: hash of weights, preprocessing, decoder and dtype.
        device: where it runs.
        logit_scale: what multiplies cosines.
    """

    spec: str
    digest: str
    device: torch.device
    logit_scale: float

    @property
    def access(self) -> frozenset[Access]:
        """What may be asked."""

    def pixels(self, image: Any, recipe: str | None = None, rng: np.random.Generator | None = None) -> np.ndarray:
        """(3, H, W) uint8 pixels of a Pillow image: the clean view, or one augmented view of a recipe."""

    def image_module(self) -> nn.Module:
        """A copy of the image tower that can be trained: (b, 3, H, W) uint8 pixels to (b, D) raw float32 features.

        Its weights are float32, whatever the model computes in. The names of its state are those of a `TowerUpdate`.
        """

    def text_module(self) -> nn.Module:
        """A copy of the text tower that can be trained: (b, l) tokens to (b, D) raw float32 features."""

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, l) int64 tokens of T texts, cut at the longest where the tower is causal."""


@dataclass(frozen=True, eq=False)
class TowerUpdate:
    """What a fit changed in an image tower: whole tensors, or low-rank factors that are added to the weights.

    Attributes:
        base: identifier of the model that was changed.
        base_digest: its digest when it was changed.
        tensors: new values by name in the state of `Tower.image_module`.
        factors: (up (out, r), down (r, in)) by name; the weight gains ``up @ down``, shaped as the weight is.

    Raises:
        DataError: nothing is changed, or a tensor is changed in both ways.
    """

    base: str
    base_digest: str
    tensors: Mapping[str, torch.Tensor]
    factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tensors and not self.factors:
            raise DataError("a tower update changes nothing: leave it out.")
        if both := set(self.tensors) & set(self.factors):
            raise DataError(f"{min(both)} is changed as a whole and by factors: give one of them.")

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of what is changed."""
        sha = hashlib.sha256()
        for name, tensor in self.flat().items():
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def flat(self) -> dict[str, torch.Tensor]:
        """All tensors on the CPU by name, in order: ``NAME``, or ``NAME::up`` and ``NAME::down``."""
        parts = dict(self.tensors)
        for name, (up, down) in self.factors.items():
            parts |= {f"{name}{UP}": up, f"{name}{DOWN}": down}
        return {name: parts[name].detach().cpu().contiguous() for name in sorted(parts)}

    @classmethod
    def from_flat(cls, base: str, base_digest: str, parts: Mapping[str, torch.Tensor]) -> TowerUpdate:
        """The inverse of `flat`."""
        names = [name.removesuffix(UP) for name in parts if name.endswith(UP)]
        factors = {name: (parts[name + UP], parts[name + DOWN]) for name in names}
        tensors = {name: tensor for name, tensor in parts.items() if not name.endswith((UP, DOWN))}
        return cls(base, base_digest, tensors, factors)

    @torch.no_grad()
    def apply(self, state: Mapping[str, torch.Tensor]) -> None:
        """Change the tensors of a tower's state in place.

        Raises:
            DataError: the tower has no such tensor, or one of another shape.
        """
        for name, value in self.tensors.items():
            target = _target(state, name, tuple(value.shape))
            target.copy_(value)
        for name, (up, down) in self.factors.items():
            target = _target(state, name, None)
            change = up.to(target.device).float() @ down.to(target.device).float()
            if change.numel() != target.numel():
                raise DataError(f"the tower's {name} has shape {tuple(target.shape)}: this update is of another model.")
            target.copy_((target.float() + change.view_as(target)).to(target.dtype))


def _target(state: Mapping[str, torch.Tensor], name: str, shape: tuple[int, ...] | None) -> torch.Tensor:
    found = state.get(name)
    if found is None or (shape is not None and tuple(found.shape) != shape):
        raise DataError(f"the tower has no {name} of this shape: this update is of another model.")
    return found


@runtime_checkable
class BlackBox(Protocol):
    """A model that only answers queries, asked about the classes of one task.

    Every class name is said as SOS, a context of m vectors that all classes share, the name, a full stop and the end
    token. Images are named by handles.

    Attributes:
        access: what may be asked.
        spent: what answering has cost so far.
    """

    access: frozenset[Access]
    spent: Spent

    def context(self, words: str) -> torch.Tensor:
        """(m, d) float32 token embeddings of some words: where a soft prompt starts from."""

    def prompt_features(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) raw float32 text features of all classes under P contexts (P, m, d); needs ``features``."""

    def prompt_scores(self, contexts: torch.Tensor, handles: Sequence[str]) -> torch.Tensor:
        """(P, n, C) float32 class scores, logit scale times cosine, of n images under P contexts (P, m, d)."""
