"""The names by which backbones are asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipwright.core.addresses import check_address
from clipwright.core.errors import UsageError

DEFAULT = "openclip:ViT-B-16@openai"
"""The backbone that is used where none is named."""

FORMS = (
    "openclip:ARCHITECTURE@TAG, openclip:ARCHITECTURE@/path/to/weights.safetensors, hf:OWNER/NAME@REVISION, "
    "hf:/path/to/folder, folder:/path/to/folder, endpoint:http://HOST:PORT, tiny, or for images alone timm:NAME.TAG, "
    "timm:NAME@/path/to/weights.safetensors"
)
"""How a backbone may be named."""

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class Identifier:
    """A parsed backbone name.

    Attributes:
        kind: which library or place it comes from.
        name: architecture (openclip, timm), repository (hf) or address (endpoint); empty otherwise.
        tag: pretrained tag (openclip; timm, where empty is the architecture's own) or revision (hf), or empty.
        path: local file or folder, absolute, or None.
    """

    kind: Literal["openclip", "hf", "timm", "folder", "endpoint", "tiny"]
    name: str = ""
    tag: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        if self.kind == "tiny":
            return "tiny"
        if self.kind == "endpoint":
            return f"endpoint:{self.name}"
        if self.kind == "openclip":
            return f"openclip:{self.name}@{self.path or self.tag}"
        if self.kind == "timm":
            return f"timm:{self.name}@{self.path}" if self.path else f"timm:{self.name}.{self.tag}".rstrip(".")
        return f"{self.kind}:{self.path or f'{self.name}@{self.tag}'}"


def parse(spec: str) -> Identifier:
    """Read a backbone name.

    Raises:
        UsageError: it has none of the forms that there are.
    """
    kind, _, rest = spec.strip().partition(":")
    if kind == "tiny" and not rest:
        return Identifier("tiny")
    if kind == "folder" and rest:
        return Identifier("folder", path=_absolute(rest))
    if kind == "endpoint" and rest:
        return Identifier("endpoint", check_address(rest).text)
    if kind == "openclip" and rest:
        return _openclip(rest)
    if kind == "hf" and rest:
        return _hf(rest)
    if kind == "timm" and rest:
        return _timm(rest)
    raise UsageError(f"there is no backbone {spec!r}: write one of {FORMS}.")


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _looks_like_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith(("~", ".")) or text.endswith(_SUFFIXES)


def _openclip(rest: str) -> Identifier:
    name, _, tag = rest.partition("@")
    if not name or not tag:
        raise UsageError(
            f"openclip:{rest} doesn't name weights: write openclip:{name or 'ARCHITECTURE'}@TAG or "
            f"openclip:{name or 'ARCHITECTURE'}@/path/to/weights.safetensors (clipwright backbones lists the tags)."
        )
    name = name.replace("/", "-")  # ViT-B/16, as OpenAI writes it
    if not _looks_like_path(tag):
        return Identifier("openclip", name, tag=tag)
    path = _absolute(tag)
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{path} is no weights file: its name must end in one of {', '.join(_SUFFIXES)}.")
    return Identifier("openclip", name, path=path)


def _timm(rest: str) -> Identifier:
    """``NAME``, ``NAME.TAG`` as timm writes it, ``NAME@TAG``, or ``NAME@/path``."""
    model, _, tag = rest.partition("@")
    name, _, own = model.partition(".")
    if not re.fullmatch(r"\w+", name) or (own and tag and own != tag):
        raise UsageError(
            f"timm:{rest} is no model of timm's: write timm:NAME.TAG, such as timm:resnet50.a1_in1k, or "
            "timm:NAME@/path/to/weights.safetensors."
        )
    if not _looks_like_path(tag):
        return Identifier("timm", name, tag=own or tag)
    path = _absolute(tag)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} is no .safetensors file, which is all that timm models are loaded from: convert it.")
    return Identifier("timm", name, path=path)


def _hf(rest: str) -> Identifier:
    if rest.startswith(("/", "~", ".")) or "\\" in rest:
        return Identifier("hf", path=_absolute(rest))
    name, _, revision = rest.partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise UsageError(f"hf:{rest} is no repository: write hf:OWNER/NAME@REVISION or hf:/path/to/folder.")
    if not revision:
        raise UsageError(
            f"hf:{name} is not pinned, so its weights could change under you: write hf:{name}@REVISION, "
            "best with the commit hash that the model's page shows under Files."
        )
    return Identifier("hf", name, tag=revision)
