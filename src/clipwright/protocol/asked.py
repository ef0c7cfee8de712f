"""Images of a data set behind a black box that keeps its features: handles and class scores take their place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from clipwright.backbones.endpoint import EndpointRef
from clipwright.core.errors import DataError
from clipwright.core.progress import progress
from clipwright.data.dataset import Dataset
from clipwright.features.decode import Decoded, Decoder
from clipwright.task import Access, Features

BATCH = 64
"""Images decoded and sent together."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What a black box makes of the images of a data set.

    Attributes:
        features: rows of the images that could be read: handles, and scores where they are granted; no features.
        kept: their row numbers in the data set.
        contents: SHA-256 (hex) of what each was decoded from.
        problems: (id, reason) of each image that was skipped.
    """

    features: Features
    kept: np.ndarray
    contents: tuple[str, ...]
    problems: tuple[tuple[str, str], ...]


def keeps_features(ref: object) -> bool:
    """Whether a backbone is an endpoint that doesn't grant features."""
    return isinstance(ref, EndpointRef) and Access.FEATURES not in ref.load().access


def ask_about(
    dataset: Dataset,
    ref: EndpointRef,
    names: Sequence[str],
    templates: Sequence[str],
    *,
    scores: bool = True,
    quiet: bool = False,
) -> Asked:
    """Send the images of a data set, each once, and have them scored; labels stay here.

    Args:
        dataset: images.
        ref: the endpoint.
        names: C class names as prompts say them.
        templates: prompt templates, each with one ``{}``.
        scores: whether scores are wanted, where the endpoint grants them.
        quiet: show no progress.

    Raises:
        DataError: no image can be read.
        HttpError: the endpoint can't be asked; what it has answered is kept for the next try.
    """
    backbone = ref.load()
    handles: list[str] = []
    decoded: list[Decoded] = []
    with progress(f"read {dataset.name}", len(dataset), quiet=quiet) as advance:
        for part in _decoded(dataset, ref):
            if len(part.pixels):
                handles += backbone.keep(part.pixels[:, 0])
            decoded.append(part)
            advance(len(part.content))
    backbone.send(handles)  # all at once: the order of a folder would tell which images belong together
    content = [c for part in decoded for c in part.content]
    reasons = [p for part in decoded for p in part.problems]
    kept = np.flatnonzero([c is not None for c in content])
    problems = tuple((name, reason) for name, reason in zip(dataset.ids, reasons, strict=True) if reason is not None)
    if not len(kept):
        name, reason = problems[0]
        raise DataError(f"none of the {len(dataset)} images of {dataset.name} can be read (first: {name}: {reason}).")
    found = backbone.scores(handles, names, templates) if scores and Access.SCORES in backbone.access else None
    ids = dataset.ids
    features = Features(
        torch.zeros(len(kept), 0),
        torch.from_numpy(dataset.labels[kept]),
        tuple(ids[i] for i in kept),
        scores=found,
        handles=tuple(handles),
    )
    return Asked(features, kept, tuple(c for c in content if c is not None), problems)


def _decoded(dataset: Dataset, ref: EndpointRef) -> Iterator[Decoded]:
    """Batches of decoded images in the data set's order, decoded ahead in threads."""
    assert dataset.reader is not None  # noqa: S101 - the caller has images
    decode = Decoder(dataset.reader, ref.preprocess)
    sources = dataset.table["source"].to_pylist()
    parts = [sources[i : i + BATCH] for i in range(0, len(sources), BATCH)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        ahead = [pool.submit(decode, part) for part in parts[:4]]
        for number in range(len(parts)):
            found = ahead.pop(0).result()
            if number + 4 < len(parts):
                ahead.append(pool.submit(decode, parts[number + 4]))
            yield found
