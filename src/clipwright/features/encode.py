"""From pixels to features, in batches that shrink when the accelerator's memory runs out."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import numpy as np
import torch

from clipwright.backbones.base import Backbone
from clipwright.core.errors import BackboneError

_MARGIN = 4.0  # images encoded one by one take some three times as long as in a batch


class Encoder:
    """Encodes pixels with a backbone; as a context it gives torch its threads back at the end.

    Attributes:
        limit: images and views per batch, halved for good whenever the accelerator's memory runs out.
    """

    def __init__(self, backbone: Backbone, limit: int) -> None:
        self.backbone = backbone
        self.limit = limit
        self._threads = torch.get_num_threads()
        self._asked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        torch.set_num_threads(self._threads)

    def share(self, pixels: np.ndarray, waited: float) -> None:
        """Leave the processors to the decoders where decoding takes longer than encoding; asked once, at the start.

        Torch's threads wait for each other, so a decoder on the processor of one of them holds up all. What is stored
        does not depend on the number of threads.

        Args:
            pixels: the first batch.
            waited: seconds that all decoders took for it.
        """
        if self.backbone.device.type != "cpu" or self._asked:
            return
        self._asked = True
        torch.set_num_threads(1)
        self(pixels[:1])  # the first call of all also sets up torch's kernels
        start = time.thread_time()  # not the wall's: decoders are at work beside
        self(pixels[:1])
        alone = time.thread_time() - start
        if alone * len(pixels) > _MARGIN * waited:
            torch.set_num_threads(self._threads)

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
