"""One run: who does which shard, and what earlier runs left behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from clipwright.core.journal import Journal
from clipwright.data.dataset import Dataset
from clipwright.features import extract
from clipwright.features.run import shards_of


def test_parts_depend_on_names_not_on_files(images: Dataset, conv: Any, tmp_path: Path) -> None:
    meta = extract(images, conv(), folder=tmp_path / "s", rows_per_shard=4, quiet=True).meta
    parts = [shards_of(meta, images, (i, 3)) for i in (1, 2, 3)]
    assert sorted(k for part in parts for k in part) == list(range(13))
    assert {len(part) for part in parts} == {4, 5}
    column = images.table.schema.get_field_index("mtime_ns")
    touched = images.table.set_column(column, "mtime_ns", [np.arange(len(images), dtype=np.int64)])
    copied = Dataset(images.name, images.class_names, touched, images.reader, root=Path("elsewhere"))
    assert [shards_of(meta, copied, (i, 3)) for i in (1, 2, 3)] == parts


def test_only_old_leftovers_are_removed(images: Dataset, conv: Any, tmp_path: Path) -> None:
    shards = tmp_path / "s" / "shards"
    shards.mkdir(parents=True)
    old, new = shards / ".000000.safetensors.0123.tmp", shards / ".000001.safetensors.4567.tmp"
    for path in (old, new):
        path.write_bytes(b"half a shard")
    os.utime(old, (1e9, 1e9))
    extract(images, conv(), folder=tmp_path / "s", quiet=True)
    assert not old.exists()
    assert new.exists()


def test_the_journal_tells_what_was_done(images: Dataset, conv: Any, tmp_path: Path) -> None:
    extract(images, conv(), folder=tmp_path / "s", rows_per_shard=26, quiet=True)
    start, one, two, end = Journal(tmp_path / "s" / "journal.jsonl").rows()
    assert (start["event"], start["todo"], end["event"]) == ("start", 2, "end")
    assert {one["shard"], two["shard"]} == {0, 1}
    assert one["rows"] + two["rows"] == 52
    assert one["unreadable"] + two["unreadable"] == 2
    assert one["bytes"] == (tmp_path / "s" / "shards" / f"{one['shard']:06d}.safetensors").stat().st_size
