"""Finding open_clip's published weights: in the caches first, then by download, else a sentence on what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from clipwright.backbones import openclip_tables as tables
from clipwright.backbones.digests import file_digest
from clipwright.backbones.network import reason, require_hub
from clipwright.core.errors import BackboneError

_SAFE, _PICKLED = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"


def find_weights(config: dict[str, Any]) -> Path | None:
    """The cached file of a tag, or None; asks no network and reads no weights."""
    from huggingface_hub import try_to_load_from_cache

    repository, filename = os.path.split(str(config.get("hf_hub", "")))
    for name in _file_names(filename) if repository else ():
        found = try_to_load_from_cache(repository, name)
        if isinstance(found, str):
            return Path(found)
    url = str(config.get("url", ""))
    local = Path("~/.cache/clip").expanduser() / url.rpartition("/")[2]
    return local if url and local.is_file() else None


def get_weights(architecture: str, tag: str, config: dict[str, Any]) -> Path:
    """The file of a tag, downloaded by open_clip where it isn't cached.

    Raises:
        BackboneError: it can't be had, with how to name a local file instead.
    """
    found = find_weights(config)
    if found is not None:
        _check_published(found, str(config.get("url", "")))
        return found
    try:
        if config.get("hf_hub"):
            require_hub()
        return Path(tables.download(config))
    except Exception as error:  # any of several network libraries' errors
        raise BackboneError(_missing(architecture, tag, config, reason(error))) from error


def _file_names(filename: str) -> tuple[str, ...]:
    if not filename:
        return (_SAFE, _PICKLED)
    stem, dot, suffix = filename.rpartition(".")
    return (f"{stem}{dot}safetensors", filename) if suffix in {"bin", "pth"} else (filename,)


def _check_published(path: Path, url: str) -> None:
    """Compare a file that came from an address with the digest, or the beginning of it, that the address holds."""
    if path.name != url.rpartition("/")[2]:
        return  # from the hub, whose client checks what it downloads
    wanted = ""
    if "openaipublic" in url:
        wanted = url.split("/")[-2]
    elif "mlfoundations" in url:
        wanted = path.stem.rpartition("-")[2]
    if not file_digest(path).startswith(wanted):
        raise BackboneError(f"{path} is damaged or not what was published: delete it and run again.")


def _missing(architecture: str, tag: str, config: dict[str, Any], why: str) -> str:
    """One sentence that says how to point at a local file."""
    name = architecture
    if config.get("quick_gelu") and f"{architecture}-quickgelu" in tables.architectures():
        name = f"{architecture}-quickgelu"  # a plain file doesn't say which activation it was trained with
    repository, filename = os.path.split(str(config.get("hf_hub", "")))
    file = _file_names(filename)[0]
    where = f"https://huggingface.co/{repository}/blob/main/{file}" if repository else str(config.get("url", ""))
    if not repository:
        file = where.rpartition("/")[2]
    return (
        f"the weights of openclip:{architecture}@{tag} are not on this machine and can't be downloaded ({why}): get "
        f"{where} by other means and name the file, as openclip:{name}@/path/to/{file}."
    )
