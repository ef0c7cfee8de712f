"""The manifest of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipwright.core.errors import FormatError
from clipwright.data.dataset import Dataset
from clipwright.features import rows


def test_a_manifest_comes_back_from_disk(images: Dataset, tmp_path: Path) -> None:
    table = rows.manifest_of(images)
    rows.write_rows(tmp_path, table, final=False)
    back = rows.read_rows(tmp_path)
    assert back.equals(table)
    assert rows.class_names(back) == images.class_names
    assert not rows.is_final(back)
    rows.write_rows(tmp_path, table, final=True)
    assert rows.is_final(rows.read_rows(tmp_path))


def test_changed_files_are_told_apart(images: Dataset) -> None:
    table = rows.manifest_of(images)
    assert rows.same_files(table, images.table).all()
    moved = images.take(np.roll(np.arange(len(images)), 1))
    assert not rows.same_files(table, moved.table).any()


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="run the extraction again"):
        rows.read_rows(tmp_path)
