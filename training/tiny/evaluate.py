"""Zero-shot accuracy on the embedded data sets, and the speed of the image tower."""

from __future__ import annotations

import time
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
def text_classifier(model: Any, tokenizer: Any, names: tuple[str, ...], template: str) -> torch.Tensor:
    """Normalised text features (C, 128) of one template."""
    return functional.normalize(model.encode_text(tokenizer([template.format(name) for name in names])), dim=-1)


@torch.inference_mode()
def zero_shot(model: Any, tokenizer: Any, data: EmbeddedData, split: str) -> dict[str, float]:
    """Accuracy by class names only.

    Args:
        model: An open_clip CLIP; put into evaluation mode and back.
        tokenizer: Its tokenizer.
        data: An embedded data set.
        split: "train" or "test".

    Returns:
        Accuracy in [0, 1] for each template, and for the mean of their normalised features ("all").
    """
    training = model.training
    model.eval()
    rows = data.rows(split)
    image = torch.cat([model.encode_image(part) for part in torch.split(pixels(data.images[rows]), 256)])
    label = torch.from_numpy(data.labels[rows])
    classifiers = {t: text_classifier(model, tokenizer, data.class_names, t) for t in data.templates}
    classifiers["all"] = torch.stack(list(classifiers.values())).mean(0)
    model.train(training)
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
