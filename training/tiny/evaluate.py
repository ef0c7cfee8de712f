"""Zero-shot accuracy on the embedded data sets, and the speed of the image tower."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from clipwright.assets.datasets import EmbeddedData


def pixels(images: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """Prepare embedded images for the model.

    Args:
        images: (n, 32, 32, 3) uint8.

    Returns:
        (n, 3, 32, 32) float32 in [-1, 1].
    """
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


@torch.inference_mode()
def image_features(model: Any, images: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """Normalised image features (n, 128) of (n, 32, 32, 3) pixels; the model must be in evaluation mode."""
    parts = [model.encode_image(part) for part in torch.split(pixels(images), 256)]
    return functional.normalize(torch.cat(parts), dim=-1)


@torch.inference_mode()
def text_features(model: Any, tokenizer: Any, texts: Sequence[str]) -> torch.Tensor:
    """Normalised text features (n, 128)."""
    return functional.normalize(model.encode_text(tokenizer(list(texts))), dim=-1)


@torch.inference_mode()
def zero_shot(model: Any, tokenizer: Any, data: EmbeddedData, split: str) -> dict[str, float]:
    """Accuracy by class names only.

    Args:
        model: An open_clip CLIP in evaluation mode.
        tokenizer: Its tokenizer.
        data: An embedded data set.
        split: "train" or "test".

    Returns:
        Accuracy in [0, 1] for each template, and for the mean of their normalised features ("all").
    """
    rows = data.rows(split)
    image, label = image_features(model, data.images[rows]), torch.from_numpy(data.labels[rows])
    texts = [template.format(name) for template in data.templates for name in data.class_names]
    rows_of = text_features(model, tokenizer, texts).reshape(len(data.templates), len(data.class_names), -1)
    classifiers = dict(zip(data.templates, rows_of, strict=True)) | {"all": rows_of.mean(0)}
    return {t: ((image @ c.T).argmax(1) == label).float().mean().item() for t, c in classifiers.items()}


@torch.inference_mode()
def images_per_second(model: Any, batch: int = 256, rounds: int = 8) -> float:
    """Speed of `encode_image` in float32, with as many threads as torch is set to."""
    images = torch.zeros(batch, 3, 32, 32)
    model.encode_image(images)
    start = time.perf_counter()
    for _ in range(rounds):
        model.encode_image(images)
    return batch * rounds / (time.perf_counter() - start)
