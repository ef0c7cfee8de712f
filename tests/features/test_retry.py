"""Images that couldn't be read are tried again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clipwright.core.journal import Journal
from clipwright.data import Dataset, DecodedImage, ImageReader, UnreadableImageError, open_data
from clipwright.features import extract


def computed(folder: Path) -> list[int]:
    return [row["shard"] for row in Journal(folder / "journal.jsonl").rows() if row["event"] == "shard"]


def test_a_raised_limit_brings_images_back(image_folder: Path, conv: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    whole = extract(open_data(image_folder), conv(), folder=tmp_path / "whole", rows_per_shard=10, quiet=True)
    low = open_data(image_folder)
    partly = _limited(low)
    store = extract(partly, conv(), folder=folder, rows_per_shard=10, quiet=True)
    assert len(store.readable) == len(whole.readable) - 3
    before = computed(folder)
    again = extract(partly, conv(may_load=False), folder=folder, quiet=True)
    assert computed(folder) == before
    assert again.problems == store.problems
    back = extract(low, conv(), folder=folder, quiet=True)
    assert sorted(set(computed(folder)[len(before) :])) == [0, 2]
    assert back.problems == whole.problems
    np.testing.assert_allclose(back.features().x, whole.features().x, rtol=1e-6)
    assert extract(low, conv(may_load=False), folder=folder, quiet=True).complete


def test_a_part_leaves_the_shards_of_others_alone(image_folder: Path, conv: Any, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    low = open_data(image_folder)
    store = extract(_limited(low), conv(), folder=folder, rows_per_shard=10, quiet=True)
    for part in ((1, 2), (2, 2)):
        store = extract(low, conv(), folder=folder, shard=part, quiet=True)
        assert store.complete
    assert not {name for name, _ in store.problems} & {low.ids[i] for i in (3, 4, 25)}


class _Some:
    """A reader that refuses some of the images, as if they were over its limit."""

    def __init__(self, reader: ImageReader, refused: set[str]) -> None:
        self.reader, self.refused = reader, refused

    def read(self, source: str) -> DecodedImage:
        if source in self.refused:
            raise UnreadableImageError("it has more pixels than the limit")
        return self.reader.read(source)


def _limited(dataset: Dataset) -> Dataset:
    assert dataset.reader is not None
    sources = dataset.table["source"].to_pylist()
    return replace(dataset, reader=_Some(dataset.reader, {sources[i] for i in (3, 4, 25)}))
