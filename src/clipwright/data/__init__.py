"""Where images and labels come from: folders, tables, lists, feature bundles, embedded data sets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from clipwright.core.spelling import clean_name
from clipwright.data.checks import check_shots
from clipwright.data.dataset import (
    Bundle,
    Dataset,
    DecodedImage,
    ImageReader,
    Split,
    UnreadableImageError,
    manifest,
)
from clipwright.data.duplicates import Duplicates, duplicates_across
from clipwright.data.embedded import DatasetInfo, EmbeddedReader, datasets
from clipwright.data.images import FileReader, decode
from clipwright.data.joined import join_generated
from clipwright.data.open import open_data, open_images

if TYPE_CHECKING:
    from clipwright.data.bundle import open_bundle, save_bundle

__all__ = [
    "Bundle",
    "Dataset",
    "DatasetInfo",
    "DecodedImage",
    "Duplicates",
    "EmbeddedReader",
    "FileReader",
    "ImageReader",
    "Split",
    "UnreadableImageError",
    "check_shots",
    "clean_name",
    "datasets",
    "decode",
    "duplicates_across",
    "join_generated",
    "manifest",
    "open_bundle",
    "open_data",
    "open_images",
    "save_bundle",
]


def __getattr__(name: str) -> Any:
    """Bundles need torch, which worker processes that read images must not load."""
    if name in {"open_bundle", "save_bundle"}:
        return getattr(import_module("clipwright.data.bundle"), name)
    raise AttributeError(f"module 'clipwright.data' has no attribute {name!r}")
