"""A folder of real image files, and a real small backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipwright.backbones.base import Backbone, BackboneRef, ImageFeatures
from clipwright.backbones.preprocess import Preprocess
from clipwright.core.hashing import digest_json
from clipwright.data import open_data
from clipwright.data.dataset import Dataset


def picture(number: int, width: int = 60, height: int = 45) -> Image.Image:
    """A smooth coloured picture with some noise."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    return Image.fromarray((smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8))


def make_folder(root: Path, count: int, *, broken: int = 0) -> Path:
    """`count` JPEGs in three class folders, and `broken` files that aren't images."""
    for number in range(count):
        folder = root / ("ant", "bee", "cat")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / f"{number:04d}.jpg", quality=90)
    for number in range(broken):
        (root / "ant" / f"{number:04d}_broken.jpg").write_bytes(b"this is no image")
    return root


class ConvBackbone(Backbone):
    """Two convolutions and a projection: a real tower, small enough for tests."""

    def __init__(self, spec: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.spec = spec
        self.digest = digest_json([spec, seed])
        self.preprocess = Preprocess((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        self.dim, self.pre_projection_dim = 8, 12
        self.tower = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 3, 2), torch.nn.GELU(), torch.nn.Conv2d(16, 12, 3, 2), torch.nn.AdaptiveAvgPool2d(1)
        ).eval()
        self.projection, self.projection_bias = torch.randn(12, 8), None
        self.logit_scale = 50.0
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.access = frozenset()
        self.batches: list[int] = []

    @torch.inference_mode()
    def images(self, pixels: torch.Tensor) -> ImageFeatures:
        assert pixels.dtype == torch.uint8
        self.batches.append(len(pixels))
        before = self.tower(pixels.float() / 127.5 - 1).flatten(1)
        assert self.projection is not None
        return ImageFeatures(before @ self.projection, before)

    def texts(self, texts: object, *, batch_size: int = 256) -> torch.Tensor:
        raise NotImplementedError


class ConvRef(BackboneRef):
    """Names a `ConvBackbone`."""

    def __init__(self, seed: int = 0, *, may_load: bool = True) -> None:
        self.spec = "test:conv"
        self.seed = seed
        self.may_load = may_load
        self.backbone: ConvBackbone | None = None

    @property
    def digest(self) -> str:
        return digest_json([self.spec, self.seed])

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def load(self) -> ConvBackbone:
        assert self.may_load, "the weights must not be loaded"
        if self.backbone is None:
            self.backbone = ConvBackbone(self.spec, self.seed)
        return self.backbone

    def describe(self) -> dict[str, object]:
        return {"spec": self.spec, "digest": self.digest}


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 JPEGs and 2 broken files."""
    return make_folder(tmp_path_factory.mktemp("data") / "pictures", 50, broken=2)


@pytest.fixture
def images(image_folder: Path) -> Dataset:
    """The same, opened."""
    return open_data(image_folder)


@pytest.fixture
def conv() -> type[ConvRef]:
    """The class of references to a small real backbone."""
    return ConvRef


@pytest.fixture
def make_images() -> object:
    """`make_folder`, for tests that need their own."""
    return make_folder
