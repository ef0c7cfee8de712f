"""A backbone as a black box: what it grants, answered from features that stay here."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from clipwright.backbones.agreement import FORMAT, NOT_GRANTED, handle_of
from clipwright.backbones.base import Backbone
from clipwright.backbones.device import dtype_name
from clipwright.backbones.digests import decoder
from clipwright.backbones.identifiers import parse
from clipwright.core.answers import answer_key
from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.tensors import unit_rows
from clipwright.serve.limits import Limits
from clipwright.serve.refused import Refused, bad, too_many
from clipwright.serve.shelf import Shelf
from clipwright.task import Access, BlackBox, TextFeatures

GRANTABLE = (Access.FEATURES, Access.SCORES, Access.SOFT_PROMPT, Access.LABELS)
"""What a server can grant; weights never leave it."""

DEFAULT_ACCESS = frozenset({Access.SCORES, Access.SOFT_PROMPT})

V = TypeVar("V")


class _Recent(Generic[V]):
    """The values that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        if key not in self._known:
            self._known[key] = make()
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return self._known[key]


class Served:
    """A backbone behind access and limits; answers one request at a time.

    Args:
        backbone: the model.
        access: what is granted; by default scores, and soft prompts where the model takes them.
        limits: what one request may ask for.
        store: folder where features are kept for the next start, or None.

    Raises:
        UsageError: nothing, or something that can't be granted, is granted.
        NeedsError: the model can't do some of it, such as take soft prompts.
    """

    def __init__(
        self,
        backbone: Backbone,
        access: frozenset[Access] | None = None,
        limits: Limits | None = None,
        store: Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.limits = limits or Limits()
        self.access = DEFAULT_ACCESS & backbone.access if access is None else access
        read_access(self.access)
        lacking = sorted(self.access - backbone.access)
        if lacking:
            able = ", ".join(a for a in GRANTABLE if a in backbone.access)
            raise NeedsError(f"{backbone.spec} can't grant {' and '.join(lacking)}: it can grant {able}.")
        self.shelf = Shelf(backbone.dim, backbone.digest, store, most=self.limits.kept)
        self._lock = threading.RLock()
        self._boxes: _Recent[BlackBox] = _Recent(8)
        self._prompts: _Recent[torch.Tensor] = _Recent(4)
        self._texts: _Recent[torch.Tensor] = _Recent(8)
        self._width = int(self._box(("x",)).context("a").shape[1]) if Access.SOFT_PROMPT in self.access else None

    def info(self) -> dict[str, Any]:
        """What a client must know."""
        tower = getattr(self.backbone, "text_tower", None)
        context = {"width": self._width, "positions": getattr(tower, "positions", None)}
        limits = {name: value for name, value in vars(self.limits).items() if name != "kept"}
        return {
            "format": FORMAT,
            "spec": public_spec(self.backbone.spec),
            "digest": self.backbone.digest,
            "access": sorted(self.access),
            "dim": self.backbone.dim,
            "dtype": dtype_name(self.backbone.dtype),
            "logit_scale": self.backbone.logit_scale,
            "preprocess": self.backbone.preprocess.as_json(),
            "decoder": decoder(),
            "context": context if self._width is not None else None,
            "limits": limits,
        }

    def require(self, *access: Access) -> None:
        """Refuse what is not granted.

        Raises:
            Refused: names what is missing and what is granted.
        """
        lacking = sorted(set(access) - self.access)
        if lacking:
            granted = sorted(self.access)
            message = f"this endpoint doesn't grant {' and '.join(lacking)}; it grants {', '.join(granted)}."
            raise Refused(403, NOT_GRANTED, message, lacking=lacking, granted=granted)

    def add_images(self, pixels: torch.Tensor) -> list[str]:
        """Encode (b, 3, H, W) uint8 pixels that are not known yet; returns the b handles."""
        handles = [handle_of(image) for image in pixels.numpy()]
        with self._lock:
            fresh = {handle: row for row, handle in enumerate(handles) if handle not in self.shelf}
            if fresh:
                self.shelf.check_room(len(fresh))
                x = self.backbone.images(pixels[list(fresh.values())]).x
                self.shelf.add(list(fresh), _finite(x, "these images"))
        return handles

    def scores(
        self,
        handles: Sequence[str],
        names: Sequence[str],
        templates: Sequence[str] = (),
        contexts: torch.Tensor | None = None,
    ) -> np.ndarray:
        """(P, n, C) float32: logit scale times cosine under P contexts; P = 1 for templates, which are averaged."""
        prompts = 1 if contexts is None else len(contexts)
        size = 4 * prompts * len(handles) * len(names)
        if size > self.limits.bytes:
            raise too_many("bytes of scores", size, self.limits.bytes)
        with self._lock:
            images = unit_rows(self.shelf.rows(handles))
            if contexts is None:
                texts = self._template_features(names, templates)[None]
            else:
                texts = self.prompt_features(names, contexts)
            texts = unit_rows(texts.flatten(0, 1)).view(texts.shape)
            scores = self.backbone.logit_scale * (images @ texts.transpose(1, 2))
        return _finite(scores, "these texts").numpy()

    def image_features(self, handles: Sequence[str]) -> np.ndarray:
        """(n, D) raw float32."""
        with self._lock:
            return self.shelf.rows(handles).numpy()

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """(T, D) raw float32."""
        with self._lock:
            return _finite(self.backbone.texts(texts), "these texts").numpy()

    def prompt_features(self, names: Sequence[str], contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) raw float32; asked again for other images, they are not computed again."""
        if self._width is None or contexts.shape[2] != self._width:
            raise bad(f"contexts must be {self._width} wide, as /info says; they are {contexts.shape[2]} wide.")
        if len(contexts) * len(names) > self.limits.texts:
            raise too_many("texts (prompts times classes)", len(contexts) * len(names), self.limits.texts)
        key = answer_key(list(names), list(contexts.shape), contexts.numpy().tobytes())
        with self._lock:
            make = self._box(tuple(names)).prompt_features
            return self._prompts.get(key, lambda: _finite(make(contexts), "these prompts"))

    def context(self, words: str) -> np.ndarray:
        """(m, d) float32 token embeddings."""
        with self._lock:
            return self._box(("x",)).context(words).numpy()

    def _box(self, names: tuple[str, ...]) -> BlackBox:
        return self._boxes.get(names, lambda: self.backbone.soft_prompts(names))

    def _template_features(self, names: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
        """(C, D): unit features of every template, averaged and scaled to length 1."""
        count = len(names) * len(templates)
        if count > self.limits.texts:
            raise too_many("texts (templates times classes)", count, self.limits.texts)

        def make() -> torch.Tensor:
            texts = [template.replace("{}", name) for template in templates for name in names]
            x = _finite(self.backbone.texts(texts), "these texts").view(len(templates), len(names), -1)
            return TextFeatures(x).classifier("mean_unit_renorm")

        return self._texts.get((tuple(names), tuple(templates)), make)


def read_access(names: Iterable[str]) -> frozenset[Access]:
    """What is granted, by name.

    Raises:
        UsageError: nothing, or something that can't be granted.
    """
    given = [name.strip() for name in names if name.strip()]
    wrong = [name for name in given if name not in GRANTABLE]
    if wrong or not given:
        raise UsageError(
            f"--access must name one or more of {', '.join(GRANTABLE)}; it names {', '.join(wrong) or 'nothing'}."
        )
    return frozenset(Access(name) for name in given)


def _finite(x: torch.Tensor, what: str) -> torch.Tensor:
    if not bool(torch.isfinite(x).all()):
        raise Refused(422, "not_finite", f"the model gives NaN or infinity for {what}: serve it in float32.")
    return x.float()


def public_spec(spec: str) -> str:
    """A backbone's identifier without the folders of this machine."""
    try:
        identifier = parse(spec)
    except UsageError:
        return spec
    if identifier.path is None:
        return spec
    return spec.replace(str(identifier.path), identifier.path.name)
