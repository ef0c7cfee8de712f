"""Whether a look-alike that a model names is one of the classes in other words: CODER's similarity filter."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from clipwright.backbones.base import BackboneRef
from clipwright.core.spelling import match_key
from clipwright.core.tensors import unit_rows
from clipwright.texts import DEFAULT_TEMPLATE, encode_cached

DEFAULT_LIMIT = 0.9  # of the cosine, with CLIP ViT-L/14 (CODER's generator)


class Closeness:
    """Tells which candidates repeat a class.

    Without a backbone only spelling is compared.

    Args:
        class_names: C names.
        backbone: encodes names and candidates, each in ``a photo of a {}.``.
        limit: a candidate whose cosine with any class, its own included, is above this repeats that class.
    """

    def __init__(
        self, class_names: Sequence[str], backbone: BackboneRef | None = None, *, limit: float = DEFAULT_LIMIT
    ) -> None:
        self._keys = {match_key(name) for name in class_names}
        self._backbone, self._limit = backbone, limit
        self._lock = threading.Lock()  # one encoding at a time: it uses all cores
        self._classes = None if backbone is None else unit_rows(encode_cached(backbone, _prompts(class_names)).double())

    def repeats(self, candidates: Sequence[str]) -> list[bool]:
        """For each candidate, whether it is one of the classes."""
        spelled = [match_key(name) in self._keys for name in candidates]
        if self._backbone is None or self._classes is None or not candidates:
            return spelled
        with self._lock:
            rows = unit_rows(self._backbone.load().texts(_prompts(candidates)).double())
        near = (rows @ self._classes.T).amax(1) > self._limit
        return [a or b for a, b in zip(spelled, near.tolist(), strict=True)]


def _prompts(names: Sequence[str]) -> list[str]:
    return [DEFAULT_TEMPLATE.replace("{}", name) for name in names]
