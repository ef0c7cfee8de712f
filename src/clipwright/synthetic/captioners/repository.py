"""Where a local multimodal model's files are: a folder, or a pinned repository of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipwright.core.errors import BackboneError, UsageError

_PATTERNS = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")


def repository_name(source: str, revision: str | None) -> str:
    """What a model is called in a manifest: the repository and its revision, or the folder's name.

    Raises:
        UsageError: neither a folder nor ``OWNER/NAME`` with a revision.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        if revision is not None:
            raise UsageError(f"{source} is a folder, which has no --revision: leave it out.")
        return path.resolve().name
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise UsageError(f"--model {source!r} is no folder and no OWNER/NAME of the hub: correct it.")
    if revision is None:
        raise UsageError(
            f"--model {source} needs --revision, a commit or tag of that repository, so that the same captions can be "
            "made again."
        )
    return f"{source}@{revision}"


def model_folder(source: str, revision: str | None) -> Path:
    """The folder of a model, downloaded if need be.

    Raises:
        BackboneError: it can't be had, or has no safetensors.
    """
    path = Path(source).expanduser()
    folder = path if path.is_dir() else _download(source, revision)
    if not any(folder.glob("*.safetensors")):
        raise BackboneError(
            f"{source} has no safetensors, and clipwright loads no pickled weights: save it with "
            "safe_serialization=True."
        )
    return folder


def model_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` says.

    Raises:
        BackboneError: it is missing or damaged.
    """
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder / 'config.json'} can't be read: copy it again.") from error
    return value if isinstance(value, dict) else {}


def _download(source: str, revision: str | None) -> Path:
    from clipwright.backbones.network import reason, require_hub

    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise BackboneError(
            "--captioner transformers needs the package transformers: pip install 'clipwright[hf]'."
        ) from error

    def snapshot(*, offline: bool) -> Path:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=list(_PATTERNS), local_files_only=offline)
        )

    try:
        found = snapshot(offline=True)
        if any(found.glob("*.safetensors")):
            return found
    except Exception:  # noqa: S110 - not in the cache, or not whole: try the network
        pass
    try:
        require_hub()
        return snapshot(offline=False)
    except Exception as error:  # any of several network libraries' errors
        raise BackboneError(
            f"{source} is not on this machine and can't be downloaded ({reason(error)}): copy the repository's files "
            "by other means and give the folder as --model."
        ) from error
