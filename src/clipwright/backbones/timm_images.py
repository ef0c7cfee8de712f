"""timm's image models as backbones without a text tower: pooled features, from safetensors alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.backbones.image_tower import ImageTower
from clipwright.backbones.loaded import TowerBackbone, place
from clipwright.backbones.network import reason, require_hub
from clipwright.backbones.preprocess import Preprocess
from clipwright.backbones.references import ModelRef
from clipwright.backbones.text_tower import TextTower
from clipwright.backbones.tuned import TunedRef
from clipwright.core.errors import BackboneError, NeedsError
from clipwright.task import Access

LOGIT_SCALE = 100.0
"""What multiplies cosines of a model that was not trained with texts: that of CLIP."""

_WEIGHTS = "model.safetensors"


class TimmRef(ModelRef):
    """``timm:NAME.TAG`` or ``timm:NAME@/path/to/weights.safetensors``; the classifier of the weights is left out."""

    @property
    def model_name(self) -> str:
        """The name that timm gives it, tag included."""
        return f"{self.identifier.name}.{self.identifier.tag}".rstrip(".")

    @cached_property
    def published(self) -> Mapping[str, Any]:
        """What timm knows of the weights: where they are, and how they want their images.

        Raises:
            BackboneError: timm has no such model, or no such weights.
        """
        timm = _timm()
        name, tag = self.identifier.name, self.identifier.tag
        if not timm.is_model(name):
            raise BackboneError(f"timm has no model {name!r}: 'clipwright backbones timm' lists what there is.")
        try:
            found = timm.get_pretrained_cfg(self.model_name)
        except RuntimeError as error:
            known = ", ".join(full.partition(".")[2] for full in timm.list_pretrained(f"{name}.*")) or "none"
            raise BackboneError(
                f"timm knows no weights {tag!r} for {name}: choose one of {known}, or name a local file as "
                f"timm:{name}@/path/to/weights.safetensors."
            ) from error
        return {"architecture": name} if found is None else dict(found.to_dict())

    @cached_property
    def weights(self) -> Path:
        """The file that holds the weights, downloaded if need be.

        Raises:
            BackboneError: the weights can't be had.
        """
        if self.identifier.path is not None:
            return self.identifier.path
        found = cached_weights(self.published)
        return found if found is not None else self._download()

    def _download(self) -> Path:
        from huggingface_hub import hf_hub_download

        repository = self.published.get("hf_hub_id")
        try:
            if not repository:
                raise BackboneError("timm publishes no safetensors of it")
            require_hub()
            return Path(hf_hub_download(repository, _file_name(self.published)))
        except Exception as error:  # any of several network libraries' errors
            raise BackboneError(
                f"{self.spec} is not on this machine and can't be downloaded ({reason(error)}): copy its {_WEIGHTS} by "
                f"other means and name it, as timm:{self.identifier.name}@/path/to/{_WEIGHTS}."
            ) from error

    def files(self) -> dict[str, Path]:
        """The weights."""
        return {"weights": self.weights}

    def config(self) -> dict[str, Any]:
        """Which model is built."""
        return {"library": "timm", "model": self.identifier.name}

    @cached_property
    def preprocess(self) -> Preprocess:
        """As timm's own evaluation transform."""
        return read_preprocess(self.published)

    def build(self) -> Backbone:
        """Build the model and load its weights: every tensor of it must be in the file.

        Raises:
            BackboneError: the file is damaged, or of another model.
        """
        timm = _timm()
        digest = self.digest  # reads, and so checks, the file first
        try:
            with torch.random.fork_rng(devices=[]):  # loading must not disturb the caller's random numbers
                model = timm.create_model(self.identifier.name, pretrained=False, num_classes=0)
            _load(model, self.weights, self.published)
            model.eval()
            with torch.inference_mode():
                dim = _width(model(torch.zeros(1, 3, *self.preprocess.size)))
        except Exception as error:  # timm and torch raise many kinds
            raise BackboneError(
                f"the weights {self.weights} can't be loaded as {self.spec} ({reason(error)}): check that the file is "
                "whole and of this model."
            ) from error
        model = place(model, self.device, self.dtype)
        return TimmBackbone(
            spec=self.spec,
            digest=digest,
            preprocess=self.preprocess,
            model=model,
            library="timm",
            config=self.config(),
            tokenizer=None,
            image_tower=_take(model),
            text_tower=NoTexts(self.spec, dim),
            logit_scale=LOGIT_SCALE,
            device=self.device,
            dtype=self.dtype,
        )

    def load(self) -> Backbone:
        """Load the weights once; later calls return the same object."""
        with self._lock:  # no known answers: those hold texts
            if self._loaded is None:
                self._loaded = self.build()
            return self._loaded


class TimmBackbone(TowerBackbone):
    """An image model in this process, without a text tower."""

    @property
    def access(self) -> frozenset[Access]:  # type: ignore[override] # nothing can be said to it
        """Weights and features."""
        return frozenset({Access.WEIGHTS, Access.FEATURES})


class NoTexts(TextTower):
    """Stands where other backbones have a text tower, and says what to do instead.

    Raises:
        NeedsError: whatever is asked.
    """

    def __init__(self, spec: str, dim: int) -> None:
        self._spec = spec
        self.dim = dim

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """Not possible."""
        raise no_texts(self._spec)

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """Not possible."""
        raise no_texts(self._spec)

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Not possible."""
        raise no_texts(self._spec)

    def copied(self) -> tuple[TextTower, nn.Module]:
        """Not possible."""
        raise no_texts(self._spec)


def no_texts(spec: str) -> NeedsError:
    """What to say of a model that knows images alone."""
    return NeedsError(
        f"{spec} has no text tower: name it as the second backbone (--second), or choose a method that needs no texts, "
        "such as LinearProbe or NearestMean."
    )


def has_texts(ref: BackboneRef) -> bool:
    """Whether a backbone encodes texts."""
    return has_texts(ref.base) if isinstance(ref, TunedRef) else not isinstance(ref, TimmRef)


def models(contains: str = "") -> list[tuple[str, bool]]:
    """Identifiers of all weights that timm publishes as safetensors, and whether each is on this machine.

    Args:
        contains: keep identifiers that contain this text, case ignored.
    """
    timm = _timm()
    names = [name for name in timm.list_pretrained() if contains.lower() in f"timm:{name}".lower()]
    found = [(name, timm.get_pretrained_cfg(name).to_dict()) for name in names]
    return [(f"timm:{name}", cached_weights(config) is not None) for name, config in found if config.get("hf_hub_id")]


def cached_weights(published: Mapping[str, Any]) -> Path | None:
    """The file of published weights in the hub's cache, or None; asks no network."""
    from huggingface_hub import try_to_load_from_cache

    repository = published.get("hf_hub_id")
    found = try_to_load_from_cache(repository, _file_name(published)) if repository else None
    return Path(found) if isinstance(found, str) else None


def _file_name(published: Mapping[str, Any]) -> str:
    named = str(published.get("hf_hub_filename") or _WEIGHTS)
    return re.sub(r"\.(bin|pth|pt)$", ".safetensors", named)


def read_preprocess(published: Mapping[str, Any]) -> Preprocess:
    """How a model of timm's wants its images: what its evaluation transform does.

    Raises:
        BackboneError: it does something that clipwright can't.
    """
    from timm.data import resolve_data_config

    wanted = resolve_data_config(pretrained_cfg=dict(published))
    channels, height, width = (int(n) for n in wanted["input_size"])
    share, mode, interpolation = float(wanted["crop_pct"]), wanted["crop_mode"], wanted["interpolation"]
    cut = math.floor(height / share) != height or math.floor(width / share) != width
    square = height == width
    known = interpolation in {"bicubic", "bilinear", "nearest", "lanczos"}
    if channels != 3 or not known or mode not in {"center", "squash"} or (cut and not (square and mode == "center")):
        raise BackboneError(
            f"timm's {published.get('architecture', 'model')} wants its images in a way that clipwright can't prepare "
            f"({channels} channels, {interpolation}, crop {mode} {share:g}): choose another model."
        )
    return Preprocess(
        size=(height, width),
        mean=tuple(wanted["mean"]),
        std=tuple(wanted["std"]),
        interpolation=interpolation,
        mode="squash" if mode == "squash" else "shortest",
        resize_to=math.floor(height / share) if cut else None,
    )


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise BackboneError("the package timm is missing: pip install timm.") from error
    return timm


def _load(model: Any, path: Path, published: Mapping[str, Any]) -> None:
    """Load weights strictly; timm's own loader passes over tensors that are missing."""
    from safetensors.torch import load_file

    state: dict[str, torch.Tensor] = load_file(path)
    if set(model.state_dict()) - set(state):  # perhaps in the form of the model's first authors
        module = import_module(type(model).__module__)
        convert = getattr(module, "checkpoint_filter_fn", None)
        state = state if convert is None else convert(state, model)
    heads = published.get("classifier") or ()
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(tuple(f"{h}." for h in heads))}
    model.load_state_dict(state, strict=True)


def _width(features: torch.Tensor) -> int:
    if features.ndim != 2:
        raise BackboneError(f"the model gives features of shape {tuple(features.shape[1:])}, not one vector an image")
    return int(features.shape[1])


def _take(model: Any) -> ImageTower:
    return ImageTower(model, model, _take)
