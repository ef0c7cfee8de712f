"""From pixels to features, in batches that shrink when the accelerator's memory runs out."""

from __future__ import annotations

import numpy as np
import torch

from clipwright.backbones.base import Backbone
from clipwright.core.errors import BackboneError


class Encoder:
    """Encodes pixels with a backbone.

    Attributes:
        limit: images and views per batch, halved for good whenever the accelerator's memory runs out.
    """

    def __init__(self, backbone: Backbone, limit: int) -> None:
        self.backbone = backbone
        self.limit = limit

    def __call__(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Raw features of (m, 3, H, W) uint8 pixels.

        Returns:
            (m, D), and (m, D') before the last matrix or None; float32.

        Raises:
            BackboneError: not even one image fits into the accelerator's memory.
        """
        given = torch.from_numpy(pixels)
        found: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        start = 0
        while start < len(given):
            try:
                part = self.backbone.images(given[start : start + self.limit])
            except torch.OutOfMemoryError as error:
                if self.limit == 1:
                    message = "the accelerator's memory doesn't hold even one image: free some, or use --device cpu."
                    raise BackboneError(message) from error
                self.limit = max(1, self.limit // 2)
                continue
            found.append((part.x, part.pre_projection))
            start += len(part.x)
        x = torch.cat([clean for clean, _ in found]).float().numpy()
        before = [pre for _, pre in found if pre is not None]
        return x, torch.cat(before).float().numpy() if before else None
