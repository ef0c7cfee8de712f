"""Merging, also when it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clipwright.data.dataset import Dataset
from clipwright.features import extract
from clipwright.features.merging import merge


def test_into_a_store_that_has_some_shards_already(images: Dataset, conv: Any, tmp_path: Path) -> None:
    for i in (1, 2, 3):
        extract(images, conv(), folder=tmp_path / f"p{i}", shard=(i, 3), rows_per_shard=8, quiet=True)
    some = merge([tmp_path / "p1"], tmp_path / "out")
    assert not some.complete
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "shards").iterdir()}
    (tmp_path / "out" / "shards" / ".000009.safetensors.ab.tmp").write_bytes(b"left by a killed merge")
    whole = merge([tmp_path / "p2", tmp_path / "p3"], tmp_path / "out")
    assert whole.complete
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    into_itself = merge([tmp_path / "p2", tmp_path / "p3", tmp_path / "p1"], tmp_path / "p1")
    assert torch.equal(into_itself.features().x, whole.features().x)
    assert into_itself.projection is not None
