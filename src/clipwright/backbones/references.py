"""What all references share: device, dtype, digest found once, weights loaded once, known answers checked."""

from __future__ import annotations

import threading
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from clipwright.backbones import known_answers
from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.backbones.device import choose_device, choose_dtype, dtype_name
from clipwright.backbones.digests import decoder, features_digest, file_digest
from clipwright.backbones.identifiers import Identifier
from clipwright.backbones.preprocess import Preprocess


class ModelRef(BackboneRef):
    """A named model whose files are looked for only when its digest or its features are asked for.

    Attributes:
        spec: canonical identifier.
        identifier: the same, parsed.
        device: where it will run.
        dtype: what it will compute in.
    """

    shipped_answers: Path | None = None

    def __init__(self, identifier: Identifier, *, device: str | None = None, dtype: str | None = None) -> None:
        self.identifier = identifier
        self.spec = str(identifier)
        self.device: torch.device = choose_device(device)
        self.dtype: torch.dtype = choose_dtype(dtype, self.device)
        self._loaded: Backbone | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def files(self) -> dict[str, Path]:
        """Every file that features depend on, by its role.

        Raises:
            BackboneError: they can't be had.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON of the architecture, as far as the files don't say it."""

    @cached_property
    @abstractmethod
    def preprocess(self) -> Preprocess:
        """From a decoded image to pixels; known without loading the weights."""

    @abstractmethod
    def build(self) -> Backbone:
        """Load the weights.

        Raises:
            BackboneError: they can't be loaded.
        """

    @cached_property
    def digest(self) -> str:
        """Hash of weights, preprocessing, decoder and dtype, found without loading the weights."""
        weights = {role: file_digest(path) for role, path in self.files().items()}
        return features_digest(weights, self.config(), self.preprocess, dtype_name(self.dtype))

    def load(self) -> Backbone:
        """Load the weights once and check the known answers; later calls return the same object."""
        with self._lock:
            if self._loaded is None:
                backbone = self.build()
                if self.shipped_answers is None:
                    known_answers.check(backbone)
                else:
                    known_answers.check_shipped(backbone, self.shipped_answers)
                self._loaded = backbone
            return self._loaded

    def describe(self) -> dict[str, Any]:
        """JSON for reports and saved classifiers."""
        return {
            "spec": self.spec,
            "digest": self.digest,
            "dtype": dtype_name(self.dtype),
            "preprocess": self.preprocess.as_json(),
            "decoder": decoder(),
            "files": {role: file_digest(path) for role, path in self.files().items()},
        }
