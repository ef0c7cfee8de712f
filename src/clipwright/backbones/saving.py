"""Saving a backbone as a folder of JSON and safetensors, for ``folder:/path``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipwright.backbones.base import Backbone
from clipwright.backbones.loaded import TowerBackbone
from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import BackboneError, FormatError

FORMAT = 1
NOTE_FILE = "clipwright_backbone.json"
TUNED = "tuned"
"""What the note of a changed tower says in the place of a library."""


def save_backbone(backbone: Backbone, folder: Path | str) -> str:
    """Write a backbone's weights, configuration, preprocessing and tokenizer.

    Weights are written as they are, in the dtype the backbone runs in.

    Args:
        backbone: loaded, with its weights at hand.
        folder: made if need be; files of the same names are replaced.

    Returns:
        The identifier that opens it: ``folder:/path``.

    Raises:
        BackboneError: the backbone has no weights at hand.
    """
    if not isinstance(backbone, TowerBackbone):
        raise BackboneError(f"{backbone.spec} can't be saved: its weights are not at hand.")
    if backbone.library == "timm":
        raise BackboneError(f"{backbone.spec} can't be saved as a folder: keep its weights file and name that.")
    folder = Path(folder).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if backbone.library == "transformers":
        backbone.model.save_pretrained(folder, safe_serialization=True)
        backbone.tokenizer.save_pretrained(folder)
        write_json(folder / "preprocessor_config.json", backbone.config["preprocessor"])
    else:
        _save_open_clip(backbone, folder)
    # Last, so that a folder with a note is whole.
    note = {"format": FORMAT, "library": backbone.library, "made_from": backbone.spec, "digest": backbone.digest}
    write_json(folder / NOTE_FILE, note)
    return f"folder:{folder}"


def saved_library(folder: Path) -> str:
    """Which library a folder's model belongs to: ``open_clip`` unless its note says ``transformers`` or ``tuned``.

    Raises:
        FormatError: the folder was written by a newer clipwright, or its note is damaged.
    """
    path = folder / NOTE_FILE
    if not path.is_file():
        return "open_clip"
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        version, library = int(note["format"]), str(note["library"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged: save the backbone again.") from error
    if version > FORMAT:
        raise FormatError(f"{folder} was saved by a newer clipwright (format {version}): update clipwright.")
    return library


def _save_open_clip(backbone: TowerBackbone, folder: Path) -> None:
    from safetensors.torch import save

    from clipwright.backbones.openclip import CONFIG_FILE, MERGES_FILE, WEIGHTS_FILE

    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in backbone.model.state_dict().items()}
    write_bytes(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG_FILE, {"model_cfg": backbone.config, "preprocess_cfg": _options(backbone)})
    if hasattr(backbone.tokenizer, "save_pretrained"):
        backbone.tokenizer.save_pretrained(str(folder))
    elif (merges := _merges(backbone)) is not None:
        write_bytes(folder / MERGES_FILE, merges.read_bytes())


def _merges(backbone: TowerBackbone) -> Path | None:
    """The merges of a tokenizer that isn't open_clip's default one."""
    from clipwright.backbones.openclip import MERGES_FILE

    reference = backbone.source_folder
    path = None if reference is None else reference / MERGES_FILE
    return path if path is not None and path.is_file() else None


def _options(backbone: TowerBackbone) -> dict[str, Any]:
    """open_clip's words for the preprocessing."""
    p = backbone.preprocess
    size: Any = p.size[0] if p.size[0] == p.size[1] else list(p.size)
    return {
        "size": size,
        "mode": "RGB",
        "mean": list(p.mean),
        "std": list(p.std),
        "interpolation": p.interpolation,
        "resize_mode": p.mode,
        "fill_color": p.fill,
    }
