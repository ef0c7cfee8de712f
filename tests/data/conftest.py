"""Files and folders of images, made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

Plant = Callable[..., Path]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Make images of different colours at paths below a folder of their own; returns the folder."""

    def make(paths: Iterable[str], root: Path | None = None) -> Path:
        root = root or tmp_path / "data"
        root.mkdir(exist_ok=True)
        for i, path in enumerate(paths):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (i % 256, i // 256, 7)).save(root / path)
        return root

    return make
