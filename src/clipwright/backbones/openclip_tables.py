"""What open_clip knows of architectures and weights, read without importing open_clip itself, which takes seconds."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from clipwright.backbones.preprocess import Preprocess
from clipwright.core.errors import BackboneError

_ALIAS = "_clipwright_open_clip"
_PREPROCESS_KEYS = ("mean", "std", "interpolation", "resize_mode")
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@cache
def _folder() -> Path:
    spec = find_spec("open_clip")
    if spec is None or not spec.submodule_search_locations:
        raise BackboneError("the package open_clip_torch is missing: pip install open_clip_torch.")
    return Path(next(iter(spec.submodule_search_locations)))


def _module(name: str) -> Any:
    """A submodule of open_clip, imported under a package whose own ``__init__`` (torchvision, timm, ...) is not run."""
    if "open_clip" in sys.modules:
        return import_module(f"open_clip.{name}")
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = [str(_folder())]
        sys.modules[_ALIAS] = package
    return import_module(f"{_ALIAS}.{name}")


def architectures() -> tuple[str, ...]:
    """The names of all architectures, sorted."""
    return tuple(sorted(path.stem for path in (_folder() / "model_configs").glob("*.json")))


def tags(architecture: str) -> tuple[str, ...]:
    """The published weights of an architecture."""
    return tuple(_module("pretrained").list_pretrained_tags_by_model(architecture))


def tag_config(architecture: str, tag: str) -> dict[str, Any]:
    """Where the weights of a tag are published and how they want their images; empty where there is no such tag."""
    return dict(_module("pretrained").get_pretrained_cfg(architecture, tag))


def download(config: dict[str, Any]) -> str:
    """The path of a tag's weights, downloaded by open_clip's own code into its usual cache."""
    return str(_module("pretrained").download_pretrained(config))


def model_config(architecture: str) -> dict[str, Any]:
    """JSON of an architecture; ones added to open_clip at run time count.

    Raises:
        BackboneError: there is no such architecture.
    """
    if "open_clip" in sys.modules:
        found = sys.modules["open_clip"].get_model_config(architecture)
        if found is not None:
            return dict(found)
    # The name is untrusted text: it is looked up in the listing, never joined to a path.
    if architecture in architectures():
        path = _folder() / "model_configs" / f"{architecture}.json"
        return dict(json.loads(path.read_text(encoding="utf-8")))
    near = [name for name in architectures() if name.lower() == architecture.lower()]
    hint = f"did you mean {near[0]}?" if near else "clipwright backbones lists what there is."
    raise BackboneError(f"open_clip has no architecture {architecture!r}: {hint}")


def published_archives() -> dict[str, tuple[tuple[str, str], ...]]:
    """(architecture, tag) pairs by SHA-256 of the TorchScript archives that OpenAI published."""
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for architecture, tag in _module("pretrained").list_pretrained():
        url = str(tag_config(architecture, tag).get("url", ""))
        if "openaipublic" in url:
            digest = url.split("/")[-2]
            found[digest] = (*found.get(digest, ()), (architecture, tag))
    return found


def local_preprocess(architecture: str) -> dict[str, Any]:
    """How weights of an architecture want their images where no tag says so: what all its tags agree on."""
    wants = [{k: tag_config(architecture, tag)[k] for k in _PREPROCESS_KEYS} for tag in tags(architecture)]
    return deepcopy(wants[0]) if wants and all(w == wants[0] for w in wants) else {}


def preprocess_from(config: dict[str, Any], size: Any) -> Preprocess:
    """Read open_clip's preprocessing options.

    Args:
        config: ``mean``, ``std``, ``interpolation``, ``resize_mode``, ``fill_color``, where they are given.
        size: the side of the image, or (height, width).
    """
    side = (int(size), int(size)) if isinstance(size, int | float) else (int(size[0]), int(size[-1]))
    interpolation = config.get("interpolation") or "bicubic"
    mode: Any = config.get("resize_mode") or "shortest"
    if side[0] != side[1] and mode == "shortest":
        interpolation = "bicubic"  # open_clip ignores the option here
    return Preprocess(
        size=side,
        mean=_triple(config.get("mean") or OPENAI_MEAN),
        std=_triple(config.get("std") or OPENAI_STD),
        interpolation="bilinear" if interpolation == "bilinear" else "bicubic",
        mode=mode,
        fill=int(config.get("fill_color") or 0),
    )


def _triple(values: Any) -> tuple[float, float, float]:
    a, b, c = (values,) * 3 if isinstance(values, int | float) else values
    return float(a), float(b), float(c)
