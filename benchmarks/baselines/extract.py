"""A plain open_clip loop: Pillow decodes and open_clip preprocesses in the loop, 64 images at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image


def load(name: str, weights: str | None) -> tuple[Any, Callable[[Image.Image], torch.Tensor]]:
    """An open_clip model in eval mode and its own test transform."""
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=weights)
    return model.eval(), preprocess


def extract(model: Any, preprocess: Any, paths: Sequence[Path], batch_size: int = 64) -> torch.Tensor:
    """(n, D) raw image features."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(paths), batch_size):
            images = []
            for path in paths[start : start + batch_size]:
                with Image.open(path) as image:
                    images.append(preprocess(image.convert("RGB")))
            found.append(model.encode_image(torch.stack(images)))
    return torch.cat(found)
