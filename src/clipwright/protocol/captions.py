"""Captions of images and of groups of images, as a Task holds them: text features beside image features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from clipwright.core.errors import DataError, UsageError
from clipwright.data.names import by_name, counted, quoted
from clipwright.protocol.prepare import Prepared
from clipwright.task import TextFeatures
from clipwright.texts import encode_cached

Groups = Mapping[str, Sequence[str]] | Mapping[int, Sequence[str]]


def add_captions(prepared: Prepared, images: Mapping[str, str], groups: Groups | None = None) -> Prepared:
    """The same with captions, encoded by the backbone's own text tower.

    Images of the training side without a caption are counted in one warning; there, and where an image is of no use
    to a fit, the caption's features are zero.

    Args:
        prepared: features of images by a backbone that encodes texts.
        images: caption by image identifier; an empty one counts as missing.
        groups: captions of groups of images, by the name or the number of the class that names alone give the group.

    Raises:
        UsageError: the backbone encodes no texts, or the data are a bundle.
        DataError: no caption is of an image of the data, or no group caption of one of its classes.
    """
    if prepared.ref is None or prepared.text is None or not prepared.features.dim:
        raise UsageError(
            f"{prepared.backbone} encodes no texts, so captions can't be used with it: name a backbone with a text "
            "tower, or leave the captions out."
        )
    ids = prepared.dataset.ids
    captions = tuple(images.get(name, "").strip() for name in ids)
    chosen = [row for row, caption in enumerate(captions) if caption]
    if images and not chosen:
        raise DataError(
            f"none of the {counted(len(images), 'caption')} is of an image of {prepared.dataset.name} "
            f"(first: {next(iter(images))!r}): make captions of this data with 'clipwright caption'."
        )
    _warn(prepared, captions)
    features = prepared.features
    if chosen:
        encoded = torch.zeros(len(captions), features.dim)
        encoded[chosen] = encode_cached(prepared.ref, [captions[row] for row in chosen])
        features = replace(features, captions=encoded, caption_texts=captions)
    return replace(prepared, features=features, group_captions=_grouped(prepared, groups or {}))


def _warn(prepared: Prepared, captions: Sequence[str]) -> None:
    dataset = prepared.dataset
    wanted = np.flatnonzero(dataset.is_training & ~dataset.is_generated).tolist()
    missing = [dataset.ids[row] for row in wanted if not captions[row]]
    if missing:
        warnings.warn(
            f"{len(missing)} of {counted(len(wanted), 'image')} of the training side have no caption "
            f"({quoted(missing)}): run the same 'clipwright caption' again, or go on without them.",
            UserWarning,
            stacklevel=3,
        )


def _grouped(prepared: Prepared, groups: Groups) -> TextFeatures | None:
    """Flat rows of group captions, or None where there are none; those of other classes are passed over.

    Raises:
        DataError: all are of other classes.
    """
    names = prepared.dataset.class_names
    known = by_name([key for key in groups if isinstance(key, str)], names)
    pairs = [
        (known.get(key, -1) if isinstance(key, str) else key, text.strip())
        for key, texts in groups.items()
        for text in texts
        if text.strip()
    ]
    here = sorted((pair for pair in pairs if 0 <= pair[0] < len(names)), key=lambda pair: pair[0])
    if pairs and not here:
        raise DataError(
            f"all group captions are of classes that {prepared.dataset.name} doesn't have "
            f"({quoted(map(str, groups))}): make captions with the class names of this data."
        )
    if not here:
        return None
    assert prepared.ref is not None  # noqa: S101 - the caller looked
    texts = tuple(text for _, text in here)
    numbers = torch.tensor([number for number, _ in here])
    return TextFeatures(encode_cached(prepared.ref, texts), numbers, kind="caption", texts=texts)
