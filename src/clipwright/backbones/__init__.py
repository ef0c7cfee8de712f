"""Vision-language models behind one contract: `resolve` a name, ask for its digest, `load` it when features are due.

Names are imported when they are first used, so that processes that only preprocess images start without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipwright.backbones.base import Backbone, BackboneRef, ImageFeatures
    from clipwright.backbones.identifiers import DEFAULT
    from clipwright.backbones.listing import BackboneRow, list_backbones
    from clipwright.backbones.preprocess import Preprocess
    from clipwright.backbones.resolving import resolve
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

_WHERE = {
    "DEFAULT": "identifiers",
    "Backbone": "base",
    "BackboneRef": "base",
    "BackboneRow": "listing",
    "ImageFeatures": "base",
    "Preprocess": "preprocess",
    "list_backbones": "listing",
    "resolve": "resolving",
    "save_backbone": "saving",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"clipwright.backbones.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
