"""Merging stores: copying shards of the same key into one folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from clipwright.core.atomic import atomic_file
from clipwright.core.errors import StoreError, UsageError
from clipwright.features import rows as manifest
from clipwright.features.meta import META_FILE, create_meta
from clipwright.features.shards import shard_path
from clipwright.features.store import BIAS_FILE, PROJECTION_FILE, FeatureStore


def merge(folders: Sequence[str | Path], out: str | Path) -> FeatureStore:
    """Copy the shards of several stores into one, which may be one of them or new.

    The stores must be parts of one extraction: same model, images, views, dtype and rows per shard. A killed merge is
    completed by running it again.

    Args:
        folders: the stores.
        out: the merged store.

    Returns:
        The merged store, complete if the parts were.

    Raises:
        UsageError: no folder was given.
        StoreError: a folder is no store, or the stores don't belong together.
        FormatError: a store is damaged or newer than this clipwright.
        DiskFullError: the disk is full; what is copied is kept.
    """
    if not folders:
        raise UsageError("there is nothing to merge: give at least one feature store.")
    target = Path(out)
    stores = [FeatureStore.open(folder) for folder in folders]
    if (target / META_FILE).exists():
        stores.append(FeatureStore.open(target))
    for store in stores[1:]:
        _check(stores[0], store)
    first = stores[0]
    for name in (PROJECTION_FILE, BIAS_FILE, manifest.ROWS_FILE):
        if (first.folder / name).exists() and not (target / name).exists():
            copy_file(first.folder / name, target / name)
    create_meta(target, first.meta)
    merged = FeatureStore.open(target)
    _check(first, merged)
    for store in stores:
        for k in store.present():
            if not merged.has(k):
                copy_file(shard_path(store.folder, k), shard_path(target, k))
    if merged.complete:
        manifest.write_rows(target, merged.rows, final=True)
    return FeatureStore.open(target)


def _check(one: FeatureStore, other: FeatureStore) -> None:
    if one.meta.key == other.meta.key:
        return
    names = ("backbone_digest", "rows", "ids_digest", "views", "recipe", "seed", "dtype", "rows_per_shard")
    differ = next(n for n in names if getattr(one.meta, n) != getattr(other.meta, n))
    a, b = (str(getattr(store.meta, differ))[:12] for store in (one, other))
    raise StoreError(
        f"the feature stores at {one.folder} and {other.folder} can't be merged: {differ} is {a} in one and {b} in the "
        "other, and different features never mix."
    )


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that `target` is whole or absent."""
    with source.open("rb") as read, atomic_file(target) as write:
        shutil.copyfileobj(read, write, 1 << 20)
