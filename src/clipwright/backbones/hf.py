"""transformers' CLIP and SigLIP, from a pinned repository or a local folder; needs the ``hf`` extra."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clipwright.backbones.base import Backbone
from clipwright.backbones.image_tower import ImageTower
from clipwright.backbones.loaded import TowerBackbone, place
from clipwright.backbones.network import reason, require_hub
from clipwright.backbones.preprocess import Interpolation, Preprocess
from clipwright.backbones.references import ModelRef
from clipwright.backbones.text_tower import TextTower, without
from clipwright.core.errors import BackboneError

_MODEL_CLASSES = {"clip": "CLIPModel", "siglip": "SiglipModel"}
_PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_PATTERNS = ("*.json", "*.txt", "*.model", "*.safetensors")
_FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


class HuggingFaceRef(ModelRef):
    """``hf:OWNER/NAME@REVISION`` or ``hf:/path/to/folder``: safetensors only, and no code from the repository."""

    @cached_property
    def folder(self) -> Path:
        """The local folder of the pinned revision, downloaded if need be.

        Raises:
            BackboneError: it can't be had.
        """
        if self.identifier.path is not None:
            if not self.identifier.path.is_dir():
                raise BackboneError(f"there is no folder {self.identifier.path}: check its name.")
            return self.identifier.path
        try:
            found = self._snapshot(offline=True)
            if list(found.glob("*.safetensors")):
                return found
        except Exception:  # noqa: S110 - not in the cache, or not whole: try the network
            pass
        try:
            require_hub()
            return self._snapshot(offline=False)
        except Exception as error:  # any of several network libraries' errors
            raise BackboneError(
                f"{self.spec} is not on this machine and can't be downloaded ({reason(error)}): copy the repository's "
                "files (config, preprocessor, tokenizer, safetensors) by other means and name the folder, as "
                "hf:/path/to/folder."
            ) from error

    def _snapshot(self, *, offline: bool) -> Path:
        from huggingface_hub import snapshot_download

        name, revision = self.identifier.name, self.identifier.tag
        patterns = list(_PATTERNS)
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=offline))

    @cached_property
    def _model_config(self) -> dict[str, Any]:
        config = _json(self.folder / "config.json")
        if config.get("model_type") not in _MODEL_CLASSES:
            raise BackboneError(
                f"{self.spec} holds a model of type {config.get('model_type')!r}: clipwright loads transformers models "
                f"of type {' and '.join(_MODEL_CLASSES)} (SigLIP 2 of fixed resolution is of type siglip)."
            )
        return config

    @property
    def kind(self) -> str:
        """``clip`` or ``siglip``."""
        return str(self._model_config["model_type"])

    @cached_property
    def preprocessor(self) -> dict[str, Any]:
        """The image processor's options, as the folder has them."""
        for name in _PREPROCESSOR_FILES:
            if (self.folder / name).is_file():
                values = _json(self.folder / name)
                return dict(values.get("image_processor", values))
        raise BackboneError(f"{self.folder} has no preprocessor_config.json: copy it from the model's repository.")

    def files(self) -> dict[str, Path]:
        """Configuration, weights and tokenizer, by name."""
        weights = sorted(self.folder.glob("model.safetensors")) or sorted(self.folder.glob("model-*.safetensors"))
        if not weights:
            raise BackboneError(
                f"{self.folder} has no model.safetensors, and clipwright loads no pickled weights: "
                "save the model with safe_serialization=True."
            )
        texts = [*self.folder.glob("*.json"), *self.folder.glob("*.txt"), *self.folder.glob("*.model")]
        skip = {*_PREPROCESSOR_FILES, "clipwright_backbone.json"}
        return {path.name: path for path in [*weights, *sorted(texts)] if path.name not in skip}

    def config(self) -> dict[str, Any]:
        """Which class is built; the rest is in the files."""
        return {"library": "transformers", "class": _MODEL_CLASSES[self.kind]}

    @cached_property
    def preprocess(self) -> Preprocess:
        """What the image processor does, in its Pillow form."""
        return read_preprocess(self.preprocessor, self.kind)

    def build(self) -> Backbone:
        """Load the folder with transformers, offline, without code from the repository."""
        try:
            import transformers
        except ImportError as error:
            raise BackboneError(f"{self.spec} needs the package transformers: pip install 'clipwright[hf]'.") from error
        digest = self.digest
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            kind = getattr(transformers, _MODEL_CLASSES[self.kind])
            with torch.random.fork_rng(devices=[]):  # loading must not disturb the caller's random numbers
                model = kind.from_pretrained(self.folder, use_safetensors=True, **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **options)
        except Exception as error:  # transformers raises many kinds
            raise BackboneError(
                f"{self.spec} can't be loaded ({reason(error)}): check that the folder {self.folder} is whole."
            ) from error
        scale = float(model.logit_scale.detach().float().exp().reshape(-1)[0])  # before it is rounded to the dtype
        model = place(model, self.device, self.dtype)
        return TowerBackbone(
            spec=self.spec,
            digest=digest,
            preprocess=self.preprocess,
            model=model,
            library="transformers",
            config={**self.config(), "preprocessor": self.preprocessor},
            tokenizer=tokenizer,
            image_tower=_image_tower(model, self.kind),
            text_tower=HuggingFaceText(model, tokenizer, self.kind),
            logit_scale=scale,
            device=self.device,
            dtype=self.dtype,
            source_folder=self.folder,
        )


class HuggingFaceText(TextTower):
    """The text tower of transformers' CLIP (causal: cut) or SigLIP (not causal: left whole)."""

    def __init__(self, model: Any, tokenizer: Any, kind: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._causal = kind == "clip"
        config = model.config.text_config
        self._context = int(config.max_position_embeddings)
        self._eos = int(config.eos_token_id) if self._causal else -1
        self.dim = int(model.config.projection_dim if self._causal else model.text_model.head.out_features)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, L) tokens padded to the context length, as SigLIP needs and CLIP doesn't mind."""
        made = self._tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self._context, return_tensors="pt"
        )
        tokens: torch.Tensor = made["input_ids"]
        return tokens

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """One more than the position that CLIP pools; all of them for SigLIP."""
        if not self._causal:
            return torch.full((len(tokens),), tokens.shape[1])
        # Older CLIP configurations say that the end token is 2; transformers then pools at the largest number.
        marks = tokens if self._eos == 2 else (tokens == self._eos).int()
        return marks.argmax(-1) + 1

    def overlong(self, texts: Sequence[str]) -> list[str]:
        """Texts with more tokens than fit."""
        tokens = self._tokenizer(list(texts), truncation=False)["input_ids"]
        return [text for text, row in zip(texts, tokens, strict=True) if len(row) > self._context]

    def copied(self) -> tuple[TextTower, nn.Module]:
        """The same tower with weights of its own, and the module that holds them."""
        model = without(self._model, self._model.vision_model)
        return HuggingFaceText(model, self._tokenizer, "clip" if self._causal else "siglip"), model

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        """The library's own features; without an attention mask, since padding is after the end or was trained on."""
        return _tensor(self._model.get_text_features(input_ids=tokens))


def read_preprocess(options: dict[str, Any], kind: str) -> Preprocess:
    """Read an image processor's options.

    The pixels are those of the processor's Pillow form, which the published models were evaluated with; transformers
    5 by default resizes with torchvision, whose pixels differ by a few levels.

    Raises:
        BackboneError: they ask for something that clipwright can't do.
    """
    default: Any = {"shortest_edge": 224} if kind == "clip" else {"height": 224, "width": 224}
    size, crop = options.get("size", default), options.get("crop_size", 224)
    grey = [0.5] * 3 if kind == "siglip" else None
    mean = options.get("image_mean") or grey or [0.48145466, 0.4578275, 0.40821073]
    std = options.get("image_std") or grey or [0.26862954, 0.26130258, 0.27577711]
    interpolation = _FILTERS.get(int(options.get("resample", 3)))
    does = [options.get(f"do_{name}", True) for name in ("resize", "rescale", "normalize")]
    factor = float(options.get("rescale_factor", 1 / 255))
    if interpolation is None or not all(does) or abs(factor * 255 - 1) > 1e-6:
        raise BackboneError(
            "this model's image processor doesn't resize, scale by 1/255 and normalise as CLIP's and SigLIP's do: "
            "correct its preprocessor_config.json."
        )
    common: dict[str, Any] = {"mean": tuple(mean), "std": tuple(std), "interpolation": interpolation}
    edge = size.get("shortest_edge") if isinstance(size, dict) else size
    if edge is None:
        return Preprocess(size=_height_width(size), mode="squash", **common)
    if not options.get("do_center_crop", kind == "clip"):
        raise BackboneError(
            "this model's image processor keeps the aspect ratio without cropping: images would differ."
        )
    return Preprocess(size=_height_width(crop), resize_to=int(edge), centre="floor", **common)


def _height_width(size: Any) -> tuple[int, int]:
    return (int(size["height"]), int(size["width"])) if isinstance(size, dict) else (int(size), int(size))


def _image_tower(model: Any, kind: str) -> ImageTower:
    parts = {"vision_model": model.vision_model}
    if kind == "clip":
        parts["visual_projection"] = model.visual_projection
    return _take_parts(nn.ModuleDict(parts))


def _take_parts(parts: Any) -> ImageTower:
    """Take apart a vision model and, where there is one, its projection."""

    def pooled(pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = parts["vision_model"](pixel_values=pixels).pooler_output
        return features

    if "visual_projection" not in parts:
        return ImageTower(parts, pooled, _take_parts)
    return ImageTower(parts, pooled, _take_parts, lambda: parts["visual_projection"].weight.T)


def _tensor(output: Any) -> torch.Tensor:
    """transformers 4 gives the features themselves, 5 an output that holds them."""
    features: torch.Tensor = output if isinstance(output, torch.Tensor) else output.pooler_output
    return features


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BackboneError(f"{path} can't be read ({error.strerror}): is this a transformers model folder?") from error
    except ValueError as error:
        raise BackboneError(f"{path} is damaged: copy it again.") from error
    return values if isinstance(values, dict) else {}
