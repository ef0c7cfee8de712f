"""open_clip models: published tags, local weights, OpenAI's own archives, folders we saved, and the embedded one."""

from __future__ import annotations

import json
import logging
import warnings
import zipfile
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from clipwright.backbones import openclip_tables as tables
from clipwright.backbones.base import Backbone
from clipwright.backbones.digests import file_digest
from clipwright.backbones.image_tower import open_clip_tower
from clipwright.backbones.loaded import TowerBackbone, place
from clipwright.backbones.network import reason
from clipwright.backbones.openclip_weights import get_weights
from clipwright.backbones.preprocess import Preprocess
from clipwright.backbones.references import ModelRef
from clipwright.backbones.text_tower import open_clip_text
from clipwright.core.errors import BackboneError

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
MERGES_FILE = "bpe_merges.txt.gz"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model", "vocab.txt")


class OpenClipRef(ModelRef):
    """``openclip:ARCHITECTURE@TAG`` or ``openclip:ARCHITECTURE@/path/to/weights``."""

    @property
    def architecture(self) -> str:
        """The name that open_clip gives it."""
        return self.identifier.name

    @cached_property
    def _tag_config(self) -> dict[str, Any]:
        """Of the tag, or of what all tags of the architecture agree on where a local file is named."""
        if self.identifier.path is not None:
            return tables.local_preprocess(self.architecture)
        found = tables.tag_config(self.architecture, self.identifier.tag)
        if not found:
            tables.model_config(self.architecture)  # an unknown architecture is the better thing to say
            known = ", ".join(tables.tags(self.architecture)) or "none"
            raise BackboneError(
                f"open_clip knows no weights {self.identifier.tag!r} for {self.architecture}: choose one of {known}, "
                f"or name a local file as openclip:{self.architecture}@/path/to/weights.safetensors."
            )
        return found

    @cached_property
    def weights(self) -> Path:
        """The file that holds the weights, downloaded if need be.

        Raises:
            BackboneError: the weights can't be had.
        """
        if self.identifier.path is not None:
            return self.identifier.path
        return get_weights(self.architecture, self.identifier.tag, self._tag_config)

    @cached_property
    def is_archive(self) -> bool:
        """Whether the weights are an OpenAI TorchScript archive, which is trusted by its published SHA-256 only.

        Raises:
            BackboneError: an archive that nobody published, or one of another architecture.
        """
        if not is_torchscript(self.weights):
            return False
        published = tables.published_archives().get(file_digest(self.weights))
        if published is None:
            raise BackboneError(
                f"{self.weights} is a TorchScript archive, which can hold code, and its SHA-256 is none that OpenAI "
                "published: download it again, or convert the weights to safetensors."
            )
        names = [architecture for architecture, _ in published]
        if self.architecture not in names:
            raise BackboneError(
                f"{self.weights} holds {names[0]}, not {self.architecture}: write openclip:{names[0]}@{self.weights}."
            )
        return True

    @property
    def quick_gelu(self) -> bool:
        """Whether the weights were trained with QuickGELU; OpenAI's always were."""
        if self.identifier.path is not None:
            return self.is_archive
        return self.identifier.tag == "openai" or bool(self._tag_config.get("quick_gelu"))

    def files(self) -> dict[str, Path]:
        """The weights."""
        return {"weights": self.weights}

    def config(self) -> dict[str, Any]:
        """open_clip's model configuration, QuickGELU forced where the weights want it."""
        config = tables.model_config(self.architecture)
        return {**config, "quick_gelu": True} if self.quick_gelu else config

    @cached_property
    def preprocess(self) -> Preprocess:
        """As the tag says; the image size comes from the architecture."""
        size = tables.model_config(self.architecture)["vision_cfg"].get("image_size", 224)
        return tables.preprocess_from(self._tag_config, size)

    def build(self) -> Backbone:
        """Load the weights with open_clip's own loaders, which read tensors only."""
        import open_clip

        digest = self.digest  # reads, and so checks, the file first
        with _loading(self.spec, self.weights):
            if self.is_archive:
                model = open_clip.load_openai_model(str(self.weights), precision="fp32", device="cpu")
            else:
                model = open_clip.create_model(
                    self.architecture,
                    pretrained=str(self.weights),
                    force_quick_gelu=self.quick_gelu,
                    require_pretrained=True,
                    weights_only=True,
                )
        with _loading(self.spec, self.weights, what="tokenizer"):
            tokenizer = open_clip.get_tokenizer(self.architecture)
        return _wrap(self, digest, model, tokenizer)


class FolderRef(ModelRef):
    """``folder:/path``: configuration, safetensors and preprocessing, as `save_backbone` writes them."""

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        assert self.identifier.path is not None  # noqa: S101 - by construction
        return self.identifier.path

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self.folder / CONFIG_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            model, preprocess = values["model_cfg"], values.get("preprocess_cfg", {})
            if not isinstance(model["vision_cfg"], dict) or not isinstance(preprocess, dict):
                raise TypeError
        except OSError as error:
            raise BackboneError(
                f"{self.folder} is no saved backbone: it has no readable {CONFIG_FILE} ({error.strerror})."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise BackboneError(f"{path} is damaged: save the backbone again.") from error
        return {"model_cfg": model, "preprocess_cfg": preprocess}

    def files(self) -> dict[str, Path]:
        """Weights and tokenizer."""
        _ = self._config  # a folder without one is no backbone at all, which is the better thing to say
        weights = self.folder / WEIGHTS_FILE
        if not weights.is_file():
            raise BackboneError(f"{self.folder} has no {WEIGHTS_FILE}: save the backbone again.")
        others = {
            name: self.folder / name for name in (MERGES_FILE, *_TOKENIZER_FILES) if (self.folder / name).is_file()
        }
        return {"weights": weights, **others}

    def config(self) -> dict[str, Any]:
        """open_clip's model configuration."""
        return dict(self._config["model_cfg"])

    @cached_property
    def preprocess(self) -> Preprocess:
        """As the folder says; the image size is the model's."""
        config = self._config["preprocess_cfg"]
        size = self._config["model_cfg"]["vision_cfg"].get("image_size", config.get("size", 224))
        return tables.preprocess_from(config, size)

    def build(self) -> Backbone:
        """Load the folder through open_clip's ``local-dir:``."""
        import open_clip

        from clipwright.assets import tiny

        digest = self.digest
        weights = self.files()["weights"]
        tiny.register()  # the folder may hold the embedded model or one made from it
        name = f"local-dir:{self.folder}"
        with _loading(self.spec, weights):
            model = open_clip.create_model(name, require_pretrained=True, weights_only=True)
        with _loading(self.spec, self.folder, what="tokenizer"):
            tokenizer = self._tokenizer(name)
        return _wrap(self, digest, model, tokenizer)

    def _tokenizer(self, name: str) -> Any:
        import open_clip
        from open_clip.tokenizer import SimpleTokenizer

        merges = self.folder / MERGES_FILE
        if merges.is_file():
            length = self._config["model_cfg"]["text_cfg"].get("context_length", 77)
            return SimpleTokenizer(bpe_path=str(merges), context_length=length)
        return open_clip.get_tokenizer(name)


class TinyRef(FolderRef):
    """``tiny``: the embedded model."""

    @property
    def folder(self) -> Path:
        """Inside the installed package."""
        from clipwright.assets import tiny

        return tiny.files().folder

    @property
    def shipped_answers(self) -> Path | None:  # type: ignore[override] # found when asked for
        """The answers that ship with the model."""
        from clipwright.assets import tiny

        return tiny.files().known_answers

    def build(self) -> Backbone:
        """Load it, and say what it is not."""
        warnings.warn(
            "the embedded model 'tiny' knows only digits, letters and shapes: name another backbone for other images.",
            UserWarning,
            stacklevel=3,
        )
        return super().build()


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive: a zip file that carries code."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


class _loading:  # noqa: N801 - used as a statement
    """Runs third-party loaders: errors become one sentence, global random state and logging stay as they were."""

    def __init__(self, spec: str, path: Path, what: str = "weights") -> None:
        self._spec, self._path, self._what = spec, path, what
        self._fork = torch.random.fork_rng(devices=[])
        self._handler = logging.NullHandler()

    def __enter__(self) -> None:
        self._fork.__enter__()
        # open_clip logs through the root logger, which would set up printing for the whole process.
        logging.getLogger().addHandler(self._handler)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._fork.__exit__(kind, error, trace)
        logging.getLogger().removeHandler(self._handler)
        if isinstance(error, Exception) and not isinstance(error, BackboneError):
            why = reason(error)
            if self._what == "tokenizer":
                raise BackboneError(
                    f"the tokenizer of {self._spec} can't be had ({why}): run once with a network, or use a folder "
                    "that holds the tokenizer's files."
                ) from error
            raise BackboneError(
                f"the weights {self._path} can't be loaded as {self._spec} ({why}): check that the file is whole "
                "and of this architecture."
            ) from error


def _wrap(ref: ModelRef, digest: str, model: Any, tokenizer: Any) -> TowerBackbone:
    config = ref.config()
    scale = float(model.logit_scale.detach().exp().reshape(-1)[0])
    model = place(model, ref.device, ref.dtype)
    dim = int(config["embed_dim"])
    return TowerBackbone(
        spec=ref.spec,
        digest=digest,
        preprocess=ref.preprocess,
        model=model,
        library="open_clip",
        config=config,
        tokenizer=tokenizer,
        image_tower=open_clip_tower(model),
        text_tower=open_clip_text(model, tokenizer, dim),
        logit_scale=scale,
        device=ref.device,
        dtype=ref.dtype,
        source_folder=ref.folder if isinstance(ref, FolderRef) else None,
    )
