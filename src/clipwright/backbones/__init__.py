"""Vision-language models behind one contract: `resolve` a name, ask for its digest, `load` it when features are due."""

from __future__ import annotations

from clipwright.backbones.base import Backbone, BackboneRef, ImageFeatures
from clipwright.backbones.identifiers import DEFAULT
from clipwright.backbones.listing import BackboneRow, list_backbones
from clipwright.backbones.preprocess import Preprocess
from clipwright.backbones.resolve import resolve
from clipwright.backbones.saving import save_backbone

__all__ = [
    "DEFAULT",
    "Backbone",
    "BackboneRef",
    "BackboneRow",
    "ImageFeatures",
    "Preprocess",
    "list_backbones",
    "resolve",
    "save_backbone",
]
