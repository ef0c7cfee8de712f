"""Votes of the nearest stored images and texts: the answer of a neighbour graph for an image that isn't in it."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, checked_classes

TIE = 1e-6
"""Logits closer than this, relative to their size, are equal."""

_BLOCK = 8192  # keys looked at together: bounds the memory of a large batch


class NeighbourHead(Head):
    """``log(sum over the k nearest images j: max(0, x . key_j)^power v_j + sum over linked texts t: s_t u_t)``.

    x is ``unit(unit(image) @ basis)``. The texts linked to an image are the `links` highest by
    ``scale * unit(image) . text``, and those that tie with the last; s_t is their softmax share among all texts.

    Args:
        keys: (N, D') stored images of length 1; float64 stays, anything narrower becomes float32.
        values: (N, C) what each image votes, not negative.
        text: (T, D) class texts.
        text_values: (T, C) what each text votes, not negative.
        basis: (D, D') what images are projected by before they are compared; None = not at all.
        scale: multiplies products with texts; CLIP's logit scale.
        k: images that vote.
        links: texts that vote.
        power: what cosines are raised to.

    Raises:
        DataError: shapes that don't fit.
    """

    keys: torch.Tensor
    values: torch.Tensor
    text: torch.Tensor
    text_values: torch.Tensor
    basis: torch.Tensor
    scale: torch.Tensor
    power: torch.Tensor

    def __init__(
        self,
        keys: torch.Tensor,
        values: torch.Tensor,
        text: torch.Tensor,
        text_values: torch.Tensor,
        basis: torch.Tensor | None = None,
        *,
        scale: float,
        k: int,
        links: int,
        power: float = 1.0,
    ) -> None:
        super().__init__()
        tensors = (keys, values, text, text_values)
        width = text.shape[-1] if basis is None else basis.shape[-1]
        fits = all(t.ndim == 2 for t in tensors) and len(keys) == len(values) and len(text) == len(text_values)
        fits = fits and values.shape[1] == text_values.shape[1] and keys.shape[1] == width
        if not fits or (basis is not None and (basis.ndim != 2 or len(basis) != text.shape[1])) or min(k, links) < 1:
            shapes = [tuple(t.shape) for t in tensors]
            raise DataError(f"a neighbour head takes keys, values, texts and their values that fit together: {shapes}.")
        keys = keys if keys.dtype == torch.float64 else keys.float()
        self.k, self.links, self.projects = int(k), int(links), basis is not None
        self.register_buffer("keys", keys.contiguous())
        for name, tensor in {"values": values, "text": text, "text_values": text_values}.items():
            self.register_buffer(name, tensor.to(keys.dtype).contiguous())
        if basis is not None:
            self.register_buffer("basis", basis.to(keys.dtype).contiguous())
        for name, number in {"scale": scale, "power": power}.items():
            self.register_buffer(name, torch.tensor(number, dtype=keys.dtype, device=keys.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes, how many vote, and whether images are projected."""
        sizes = {"n_keys": len(self.keys), "width": int(self.keys.shape[1]), "n_classes": self.n_classes}
        sizes |= {"n_texts": len(self.text), "dim": int(self.text.shape[1])}
        return sizes | {"k": self.k, "links": self.links, "projects": self.projects}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> NeighbourHead:
        """An all-zero head of the given sizes."""
        dim, width, classes, texts = (config[name] for name in ("dim", "width", "n_classes", "n_texts"))
        keys, values = torch.zeros(config["n_keys"], width), torch.zeros(config["n_keys"], classes)
        basis = torch.zeros(dim, width) if config["projects"] else None
        given = {"k": int(config["k"]), "links": int(config["links"])}
        return cls(keys, values, torch.zeros(texts, dim), torch.zeros(texts, classes), basis, scale=0.0, **given)

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.values.shape[1])

    def verify(self) -> None:
        """Refuse votes below zero, which have no logarithm."""
        super().verify()
        if any(bool((votes < 0).any()) for votes in (self.values, self.text_values)):
            raise FormatError("the saved head is damaged: it holds votes below zero; save it again.")

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes: fewer columns; all texts stay linked."""
        index = checked_classes(class_index, self.n_classes).to(self.values.device)
        basis = self.basis if self.projects else None
        given = {"scale": float(self.scale), "power": float(self.power), "k": self.k, "links": self.links}
        return NeighbourHead(
            self.keys,
            self.values[:, index],
            self.text,
            self.text_values[:, index],
            basis,
            **given,  # type: ignore[arg-type] # each its own type
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        u = unit_rows(x).to(self.keys.dtype)
        shares = text_links(self.scale * (u @ self.text.T), self.links)
        votes = shares @ self.text_values
        similar, index = self._nearest(unit_rows(u @ self.basis) if self.projects else u)
        weight = similar.clamp(min=0) ** self.power
        for place in range(index.shape[1]):  # one neighbour at a time keeps memory at m C numbers
            votes = votes + weight[:, place, None] * self.values[index[:, place]]
        return votes.clamp(min=torch.finfo(votes.dtype).tiny).log()

    def _nearest(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(m, k) cosines of the nearest keys and which they are, looking at some keys at a time."""
        similar, index = u[:, :0], torch.zeros_like(u[:, :0], dtype=torch.int64)
        for start in range(0, len(self.keys), _BLOCK):
            found = u @ self.keys[start : start + _BLOCK].T
            numbers = torch.arange(start, start + found.shape[1], device=u.device).expand_as(found)
            similar, index = torch.cat([similar, found], 1), torch.cat([index, numbers], 1)
            similar, places = similar.topk(min(self.k, similar.shape[1]), 1)
            index = index.gather(1, places)
        return similar, index


def text_links(logits: torch.Tensor, k: int) -> torch.Tensor:
    """(n, T) weight of the link of every image to every text: its share, 0 but for the k highest texts.

    Texts that tie with the k-th are kept too, so that the order of the texts doesn't matter.

    Args:
        logits: (n, T) scaled cosines of images and texts.
        k: links per image.
    """
    least = logits.topk(min(k, logits.shape[1]), 1).values[:, -1:]
    near = logits >= least - TIE * least.abs().clamp(min=1)
    return logits.softmax(1) * near
