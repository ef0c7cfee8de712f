"""Reading stores: formats, memory maps, rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import FormatError, StoreError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.features import FeatureStore, extract, merge
from clipwright.features.meta import default_rows_per_shard, read_meta
from clipwright.features.shards import BrokenShardError, read_shard

Conv = Any
_COMMITTED = Path(__file__).parent / "store_v1"


@pytest.fixture
def store(images: Dataset, conv: Conv, tmp_path: Path) -> FeatureStore:
    return extract(images, conv(), folder=tmp_path / "s", views=2, rows_per_shard=16, quiet=True)


def change_meta(folder: Path, **values: object) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_rows_are_gathered_in_any_order(store: FeatureStore) -> None:
    every = store.features()
    readable = store.readable
    order = np.random.default_rng(0).permutation(len(readable))
    some = store.features(readable[order])
    assert torch.equal(some.x, every.x[order])
    assert every.views is not None
    assert torch.equal(some.views, every.views[order])  # type: ignore[arg-type]
    assert some.ids == tuple(every.ids[i] for i in order)  # type: ignore[index]
    bare = store.features(views=False, pre_projection=False)
    assert bare.views is None
    assert bare.pre_projection is None
    assert len(store.features([])) == 0


def test_neighbouring_rows_stay_on_disk_and_are_never_changed(store: FeatureStore) -> None:
    rows = store.readable[(store.readable >= 16) & (store.readable < 32)]
    found = store.features(rows)
    mapped = store._shard(1).x
    assert np.shares_memory(found.x.numpy(), mapped)
    before = (store.folder / "shards" / "000001.safetensors").read_bytes()
    found.x[:] = 7
    assert (store.folder / "shards" / "000001.safetensors").read_bytes() == before
    assert not bool((FeatureStore.open(store.folder).features(rows).x == 7).any())


def test_blocks_stream_over_shards(store: FeatureStore) -> None:
    every = store.features()
    seen = [(rows.start + i, shard.x[i]) for rows, shard in store.blocks() for i in range(len(rows))]
    assert [row for row, _ in seen] == list(range(len(store)))
    kept = np.stack([x for row, x in seen if row in set(store.readable.tolist())])
    assert np.array_equal(kept, every.x.numpy())


def test_features_for_a_part_in_another_order(store: FeatureStore, images: Dataset) -> None:
    part = images.take([30, 0, 7, 41])  # row 0 is readable or broken, whichever comes first
    found, kept = store.features_for(part)
    assert [images.ids[[30, 0, 7, 41][i]] for i in kept] == list(found.ids or ())
    assert found.labels.tolist() == part.labels[kept].tolist()


def test_images_the_store_does_not_know(
    store: FeatureStore, images: Dataset, tmp_path: Path, make_images: Callable[..., Path]
) -> None:
    from clipwright.data import open_data

    larger = open_data(make_images(tmp_path / "larger", 60))
    with pytest.raises(StoreError, match=r"aren't in the feature store|have changed"):
        store.features_for(larger)


def test_newer_foreign_and_damaged_folders_are_refused(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no feature store"):
        FeatureStore.open(tmp_path / "nothing")
    change_meta(store.folder, format=2)
    with pytest.raises(FormatError, match="update clipwright"):
        FeatureStore.open(store.folder)
    change_meta(store.folder, format=1, dim=-1)
    with pytest.raises(FormatError, match="damaged"):
        FeatureStore.open(store.folder)
    change_meta(store.folder, kind="something else")
    with pytest.raises(FormatError, match="doesn't describe a feature store"):
        FeatureStore.open(store.folder)
    (store.folder / "meta.json").write_text("{")
    with pytest.raises(FormatError, match="can't be read"):
        FeatureStore.open(store.folder)


@pytest.mark.parametrize("name", ["rows.parquet", "projection.npy"])
def test_damaged_tables_are_refused(store: FeatureStore, name: str) -> None:
    (store.folder / name).write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="can't be read"):
        _ = FeatureStore.open(store.folder).projection


def test_rows_of_another_store_are_refused(store: FeatureStore, images: Dataset, conv: Conv, tmp_path: Path) -> None:
    other = extract(images.take([3, 4]), conv(), folder=tmp_path / "o", quiet=True)
    (store.folder / "rows.parquet").write_bytes((other.folder / "rows.parquet").read_bytes())
    with pytest.raises(FormatError, match="belong together"):
        FeatureStore.open(store.folder)


@given(cut=st.sampled_from([0, 0, 1, 100, 700, 2000]), flip=st.integers(0, 470), value=st.integers(0, 255))
def test_no_damage_to_a_header_goes_further_than_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    meta = read_meta(_COMMITTED)
    data = bytearray((_COMMITTED / "shards" / "000000.safetensors").read_bytes())
    data[flip] = value
    (folder / "shards").mkdir()
    (folder / "shards" / "000000.safetensors").write_bytes(data[: max(len(data) - cut, 0)])
    with suppress(StoreError):
        shard = read_shard(folder, meta, 0)
        assert shard.x.shape == (len(meta.range_of(0)), meta.dim)
        assert cut == 0


def test_the_committed_first_format_loads_for_ever() -> None:
    store = FeatureStore.open(_COMMITTED)
    assert store.complete
    assert store.meta.format == 1
    assert store.problems == (("ant/0000_broken.jpg", "this is not an image in a format that can be read"),)
    found = store.features()
    assert found.x.shape == (5, 8)
    assert found.views is not None
    assert found.views.shape == (5, 1, 8)
    assert found.labels.tolist() == [0, 0, 1, 1, 2]
    assert store.class_names == ("ant", "bee", "cat")
    assert float(found.x.sum()) == pytest.approx(_SUM, abs=1e-5)


_SUM = -4.696530342102051  # as this very model gave when the store was made


def test_merging_different_things_is_refused(images: Dataset, conv: Conv, tmp_path: Path) -> None:
    extract(images, conv(), folder=tmp_path / "a", quiet=True)
    extract(images, conv(1), folder=tmp_path / "b", quiet=True)
    extract(images, conv(), folder=tmp_path / "c", dtype="float16", quiet=True)
    with pytest.raises(StoreError, match="backbone_digest is"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    with pytest.raises(StoreError, match="dtype is"):
        merge([tmp_path / "a"], tmp_path / "c")
    with pytest.raises(UsageError):
        merge([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_shard_says_what_to_do(store: FeatureStore) -> None:
    opened = FeatureStore.open(store.folder)
    assert opened.complete
    (store.folder / "shards" / "000001.safetensors").unlink()
    with pytest.raises(BrokenShardError, match="run the extraction again"):
        opened.features()
    assert "3 of 4 shards" in repr(FeatureStore.open(store.folder))


@given(rows=st.integers(1, 50_000_000), views=st.integers(0, 300))
def test_default_shards_are_neither_tiny_nor_countless(rows: int, views: int) -> None:
    size = default_rows_per_shard(rows, views)
    assert size & (size - 1) == 0
    assert size * (1 + views) <= 1 << 15 or size == 1
    assert size * (1 + views) >= 256
