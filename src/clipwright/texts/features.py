"""Text features of class names, encoded once per backbone and text and kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.core.atomic import write_bytes
from clipwright.core.errors import ClipwrightError
from clipwright.core.hashing import digest_json
from clipwright.core.home import home
from clipwright.task import TextFeatures
from clipwright.texts.templates import render

_KEPT_AT_A_TIME = 8192


def text_features(
    backbone: Backbone | BackboneRef,
    class_names: Sequence[str],
    templates: str | Sequence[str] | None = None,
    *,
    underscores: bool = True,
) -> TextFeatures:
    """Raw text features of every template filled with every class name.

    What was encoded before with a backbone of the same digest is read from the cache folder; when nothing is missing
    a reference is not even loaded.

    Args:
        backbone: loaded or not.
        class_names: C names.
        templates: sentences with one ``{}``, the name of a set, or None for ``a photo of a {}.``.
        underscores: whether underscores in names become spaces.

    Returns:
        P * C rows of kind ``template``, template by template, with their texts.

    Raises:
        UsageError: bad templates, or names that read the same.
        DataError: empty or repeated names.
        BackboneError: the weights are needed and can't be had.
    """
    prompts = render(templates, class_names, underscores=underscores)
    texts = tuple(prompt.text for prompt in prompts)
    return TextFeatures(
        encode_cached(backbone, texts),
        torch.tensor([prompt.class_index for prompt in prompts]),
        kind="template",
        texts=texts,
    )


def encode_cached(backbone: Backbone | BackboneRef, texts: Sequence[str]) -> torch.Tensor:
    """(T, D) raw float32 features of T texts, encoding only those that no earlier call with this digest encoded.

    Raises:
        BackboneError: the weights are needed and can't be had.
    """
    folder = home() / "texts" / backbone.digest
    unique = list(dict.fromkeys(texts))
    known = _read(folder, set(unique))
    missing = [text for text in unique if text not in known]
    if missing or not unique:
        loaded = backbone.load() if isinstance(backbone, BackboneRef) else backbone
        if not unique:
            return loaded.texts([])
        for start in range(0, len(missing), _KEPT_AT_A_TIME):  # a run that is killed goes on from here
            part = missing[start : start + _KEPT_AT_A_TIME]
            fresh = loaded.texts(part)
            _write(folder, part, fresh)
            known.update(zip(part, fresh, strict=True))
    return torch.stack([known[text] for text in texts])


def _write(folder: Path, texts: list[str], features: torch.Tensor) -> None:
    """Add one file of rows; its name says which texts, so writers of the same texts write the same file."""
    content = save({"x": features.contiguous()}, metadata={"texts": json.dumps(texts, ensure_ascii=False)})
    # The cache only saves time: where it can't be written, the texts are encoded again next time.
    with suppress(OSError, ClipwrightError):
        write_bytes(folder / f"{digest_json(texts)[:32]}.safetensors", content)


def _read(folder: Path, wanted: set[str]) -> dict[str, torch.Tensor]:
    """Features of those of the wanted texts that are on disk; files that can't be read are passed over."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError), safe_open(path, "pt") as rows:
            texts = json.loads(rows.metadata()["texts"])
            here = [i for i, text in enumerate(texts) if text in wanted and text not in found]
            if here:
                x = rows.get_tensor("x")
                if len(x) == len(texts):
                    found.update((texts[i], x[i]) for i in here)
        if len(found) == len(wanted):
            break
    return found
