"""A backbone whose towers are at hand: pixels are normalised on its device, batches shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from clipwright.backbones.base import Backbone, ImageFeatures, no_soft_prompts
from clipwright.backbones.device import Batcher
from clipwright.backbones.image_tower import ImageTower
from clipwright.backbones.preprocess import Preprocess
from clipwright.backbones.soft_prompts import SoftPrompts
from clipwright.backbones.text_tower import CausalText, TextTower, encode_texts
from clipwright.backbones.trainable import ImageModule, TextModule
from clipwright.core.errors import DataError
from clipwright.task import Access


class TowerBackbone(Backbone):
    """A vision-language model in this process, from any library.

    Attributes:
        model: the library's own module, frozen, in eval mode.
        library: ``open_clip`` or ``transformers``.
        config: what `clipwright.backbones.save_backbone` writes beside the weights to build the model again.
        tokenizer: the library's tokenizer.
        image_tower: the image tower, taken apart before its last matrix.
        text_tower: the tokenizer and the text tower.
        source_folder: the folder that it was loaded from, or None.
    """

    @property
    def access(self) -> frozenset[Access]:  # type: ignore[override] # follows from the text tower
        """Everything; soft prompts where the text tower is causal."""
        everything = {Access.WEIGHTS, Access.FEATURES, Access.SCORES, Access.LABELS}
        causal = isinstance(self.text_tower, CausalText) and not self.text_tower.pools_first
        return frozenset(everything | ({Access.SOFT_PROMPT} if causal else set()))

    def soft_prompts(self, names: Sequence[str]) -> SoftPrompts:
        """This model as a black box that is asked about classes under prompts given as token embeddings.

        Args:
            names: C class names as prompts say them.

        Raises:
            NeedsError: the text tower isn't causal, or not read at its end token.
        """
        if not isinstance(self.text_tower, CausalText):
            raise no_soft_prompts(self.spec)
        return SoftPrompts(self.text_tower, names, scale=self.logit_scale, device=self.device)

    def __init__(
        self,
        *,
        spec: str,
        digest: str,
        preprocess: Preprocess,
        model: Any,
        library: str,
        config: dict[str, Any],
        tokenizer: Any,
        image_tower: ImageTower,
        text_tower: TextTower,
        logit_scale: float,
        device: torch.device,
        dtype: torch.dtype,
        source_folder: Path | None = None,
    ) -> None:
        self.spec = spec
        self.digest = digest
        self.preprocess = preprocess
        self.model = model
        self.library = library
        self.config = config
        self.tokenizer = tokenizer
        self.image_tower = image_tower
        self.text_tower = text_tower
        self.dim = text_tower.dim
        self.logit_scale = logit_scale
        self.device = device
        self.dtype = dtype
        self.source_folder = source_folder
        self._batcher, self._text_batcher = Batcher(), Batcher()
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(preprocess.mean, device=device).view(shape)
        self._std = torch.tensor(preprocess.std, device=device).view(shape)

    def pixels(
        self, image: Image.Image, recipe: str | None = None, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """(3, H, W) uint8 pixels of an RGB image: the clean view, or an augmented one where a recipe and `rng` are."""
        if recipe is None or rng is None:
            return self.preprocess.clean(image)
        return self.preprocess.view(image, recipe, rng)

    def image_module(self) -> ImageModule:
        """A copy of the image tower that can be trained: (b, 3, H, W) uint8 pixels to (b, D) raw features."""
        return ImageModule(self.image_tower, self._mean, self._std)

    def text_module(self) -> TextModule:
        """A copy of the text tower that can be trained: (b, l) tokens to (b, D) raw features."""
        return TextModule(self.text_tower, self.device)

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """(T, l) int64 tokens of T texts, cut at the longest where the tower is causal."""
        tokens = self.text_tower.tokenize(texts)
        return tokens[:, : int(self.text_tower.lengths(tokens).max())] if len(texts) else tokens

    @property
    def projection(self) -> torch.Tensor | None:  # type: ignore[override] # read from the weights, so never stale
        """(D', D) float32 last matrix of the image tower, on the CPU, or None."""
        weight = self.image_tower.weight
        return None if weight is None else weight().detach().float().cpu().contiguous()

    @property
    def projection_bias(self) -> torch.Tensor | None:  # type: ignore[override] # read from the weights, so never stale
        """(D,) float32, on the CPU, or None."""
        bias = self.image_tower.bias()
        return None if bias is None else bias.detach().float().cpu()

    @property
    def pre_projection_dim(self) -> int | None:  # type: ignore[override] # read from the weights
        """D', or None where the tower has no last matrix."""
        weight = self.image_tower.weight
        return None if weight is None else int(weight().shape[0])

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(b, 3, H, W) uint8 pixels, wherever they are, as the image tower takes them: on the device, channels last."""
        x = pixels.to(self.device, non_blocking=True).float().div_(255).sub_(self._mean).div_(self._std)
        return x.to(self.dtype).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def images(self, pixels: torch.Tensor) -> ImageFeatures:
        """Features of (b, 3, H, W) uint8 pixels, already resized and cropped by `preprocess`.

        Raises:
            DataError: the pixels have another shape or type.
            BackboneError: not even one image fits into memory.
        """
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, *self.preprocess.size):
            wanted = f"(n, 3, {self.preprocess.size[0]}, {self.preprocess.size[1]})"
            raise DataError(
                f"pixels must be uint8 of shape {wanted}; they are {pixels.dtype} of shape {tuple(pixels.shape)}: "
                "make them with the backbone's preprocess."
            )
        x = torch.zeros(len(pixels), self.dim)
        width = self.pre_projection_dim
        before = None if width is None else torch.zeros(len(pixels), width)

        def compute(start: int, stop: int) -> None:
            features, body = self.image_tower(self.normalize(pixels[start:stop]))
            x[start:stop] = features.cpu()
            if before is not None and body is not None:
                before[start:stop] = body.cpu()

        self._batcher.run(compute, len(pixels), max(1, len(pixels)))
        return ImageFeatures(x, before)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str], *, batch_size: int = 256) -> torch.Tensor:
        """(T, D) raw float32 features of T texts, in the order given; each different text is encoded once."""
        return encode_texts(
            self.text_tower, texts, device=self.device, batch_size=batch_size, batcher=self._text_batcher
        )


def place(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Freeze a model and move it to where it runs: convolutions channels last, running statistics in float32."""
    model = model.eval().requires_grad_(False).to(device=device, dtype=dtype)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.float()  # variances lose too much in bf16
    return model.to(memory_format=torch.channels_last)
