"""Images that couldn't be read are tried again: a limit may have been raised, a disk may be back."""

from __future__ import annotations

from collections.abc import Collection

from clipwright.data.dataset import Dataset, ImageReader, UnreadableImageError
from clipwright.features import rows as manifest
from clipwright.features.shards import shard_path
from clipwright.features.store import FeatureStore


def reopen_recovered(store: FeatureStore, dataset: Dataset, mine: Collection[int]) -> FeatureStore:
    """Take back those of the shards `mine` that hold an image which couldn't be read then and can be read now.

    Only the images that failed are looked at, so a complete store stays quick to recognise. The manifest is opened
    again before a shard is removed: a kill in between costs nothing but a look at all shards.

    Returns:
        the store, with the shards missing that are to be computed again.
    """
    assert dataset.reader is not None  # noqa: S101 - the caller looked
    problems = store.rows["problem"].to_pylist()
    sources = dataset.table["source"]
    size = store.meta.rows_per_shard
    failed = [row for row, reason in enumerate(problems) if reason and row // size in mine]
    back = {row // size for row in failed if _reads(dataset.reader, sources[row].as_py())}
    if not back:
        return store
    manifest.write_rows(store.folder, manifest.manifest_of(dataset), final=False)
    for shard in back:
        shard_path(store.folder, shard).unlink(missing_ok=True)
    return FeatureStore.open(store.folder)


def _reads(reader: ImageReader, source: str) -> bool:
    try:
        reader.read(source)
    except UnreadableImageError:
        return False
    return True
