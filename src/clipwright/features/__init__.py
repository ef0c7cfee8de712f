"""Extraction (views, batching, decoding) and the on-disk store."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipwright.features.extraction import default_folder as default_folder
    from clipwright.features.extraction import extract as extract
    from clipwright.features.extraction import is_complete as is_complete
    from clipwright.features.merging import merge as merge
    from clipwright.features.meta import StoreMeta as StoreMeta
    from clipwright.features.store import FeatureStore as FeatureStore

# Loaded when first used: worker processes import this package for the decoder, and must not import torch.
_HOME = {
    "FeatureStore": "store",
    "StoreMeta": "meta",
    "default_folder": "extraction",
    "extract": "extraction",
    "is_complete": "extraction",
    "merge": "merging",
}

__all__ = ["FeatureStore", "StoreMeta", "default_folder", "extract", "is_complete", "merge"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'clipwright.features' has no attribute {name!r}")
    value = getattr(import_module(f"clipwright.features.{_HOME[name]}"), name)
    globals()[name] = value
    return value
