"""Images that another store of the same model holds already are copied from it, not computed again.

Labelling goes on while features are being used: images are added, or moved to another class folder. An image is known
again by its bytes; only files whose size and time of change occur in another store are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from clipwright import __version__
from clipwright.core.errors import ClipwrightError
from clipwright.core.journal import Journal
from clipwright.data.dataset import UnreadableImageError
from clipwright.features import rows as manifest
from clipwright.features.merging import copy_file
from clipwright.features.meta import META_FILE, StoreMeta, create_meta, default_rows_per_shard
from clipwright.features.run import JOURNAL_FILE
from clipwright.features.shards import Shard, write_shard
from clipwright.features.store import BIAS_FILE, PROJECTION_FILE, FeatureStore
from clipwright.features.wanted import Wanted

_MOST_STORES = 32  # the newest are looked at
_READERS = 8  # files whose bytes are read at a time

Where = dict[str, tuple[int, int]]


@dataclass(frozen=True, eq=False)
class _Found:
    """What is known of each row: its content hash, and where that content is or why there is none."""

    content: Sequence[str]
    where: Where
    stores: Sequence[FeatureStore]
    problems: Sequence[str]


def reuse(wanted: Wanted, folder: Path, fill: Callable[[Wanted, Path], FeatureStore]) -> None:
    """Write the shards of the store at `folder` that other stores of the same model can give.

    Args:
        wanted: what the store is to hold.
        folder: the store, new or incomplete, beside its siblings.
        fill: extracts the images that no store holds, into a store of their own.
    """
    stores = _siblings(wanted, folder)
    content = _contents(wanted, stores)
    where = _where(stores, {c for c in content if c})
    rest = [row for row, c in enumerate(content) if c not in where]
    if len(rest) == len(content):
        return
    problems: dict[str, str] = {}
    if rest:
        part = replace(wanted, dataset=wanted.dataset.take(rest))
        stores.append(fill(part, part.default_folder()))
        problems = dict(stores[-1].problems)
        for row, found in zip(rest, stores[-1].contents(part.dataset), strict=True):
            content[row] = found
        where |= _where(stores[-1:], set(content), first=len(stores) - 1)
    store = _open(wanted, folder, stores[0])
    known = _Found(content, where, stores, [problems.get(name, "") for name in wanted.dataset.ids])
    journal = Journal(folder / JOURNAL_FILE)
    for number in range(store.meta.shards):
        if not store.has(number):
            write_shard(folder, store.meta, number, _gather(store.meta, number, known))
            journal.append({"event": "copied", "shard": number})


def _siblings(wanted: Wanted, folder: Path) -> list[FeatureStore]:
    """Complete stores of the same model, views and dtype that share a file with the data set, newest first."""
    found = []
    places = [place.parent for place in folder.parent.glob(f"*/{META_FILE}") if place.parent != folder]
    for place in sorted(places, key=lambda p: p.stat().st_mtime, reverse=True)[:_MOST_STORES]:
        try:
            store = FeatureStore.open(place)
            same = all(getattr(store.meta, n) == getattr(wanted, n) for n in ("views", "recipe", "seed", "dtype"))
            if same and store.meta.backbone_digest == wanted.ref.digest and store.complete:
                found.append(store)
        except (ClipwrightError, OSError):
            continue  # another's damage is no concern of this store
    return found


def _files(table: object) -> np.ndarray:
    columns = [np.asarray(table[name].to_numpy()) for name in ("size", "mtime_ns")]  # type: ignore[index] # an Arrow table
    return np.rec.fromarrays(columns)


def _contents(wanted: Wanted, stores: Sequence[FeatureStore]) -> list[str]:
    """The content hash of each row whose file looks like one that a store holds; ``""`` for the others."""
    reader = wanted.dataset.reader
    hash_of = getattr(reader, "content", None)
    content = [""] * len(wanted.dataset)
    if not stores or hash_of is None:
        return content
    known = np.unique(np.concatenate([_files(store.rows) for store in stores]))
    rows = np.flatnonzero(np.isin(_files(wanted.dataset.table), known)).tolist()
    sources = wanted.dataset.table["source"]

    def look(row: int) -> str:
        try:
            return str(hash_of(sources[row].as_py()))
        except UnreadableImageError:
            return ""

    with ThreadPoolExecutor(_READERS) as pool:
        for row, found in zip(rows, pool.map(look, rows), strict=True):
            content[row] = found
    return content


def _where(stores: Sequence[FeatureStore], wanted: set[str], first: int = 0) -> Where:
    """Store and row of each content that is wanted; the first store that has it counts."""
    found: Where = {}
    for number, store in enumerate(stores, first):
        for row, content in enumerate(store.rows["content"].to_pylist()):
            if content and content in wanted:
                found.setdefault(content, (number, row))
    return found


def _open(wanted: Wanted, folder: Path, like: FeatureStore) -> FeatureStore:
    """The store at `folder`, made like another where there is none yet."""
    if not (folder / META_FILE).exists():
        for name in (PROJECTION_FILE, BIAS_FILE):
            if (like.folder / name).exists():
                copy_file(like.folder / name, folder / name)
        manifest.write_rows(folder, manifest.manifest_of(wanted.dataset), final=False)
        rows = len(wanted.dataset)
        about = {
            "dataset": wanted.dataset.name,
            "rows": rows,
            "ids_digest": manifest.ids_digest(wanted.dataset.ids),
            "rows_per_shard": default_rows_per_shard(rows, wanted.views),
            "version": __version__,
        }
        create_meta(folder, like.meta.model_copy(update=about))
    return FeatureStore.open(folder)


def _gather(meta: StoreMeta, number: int, found: _Found) -> Shard:
    """One shard, put together from where its images were found."""
    rows = meta.range_of(number)
    m, dtype = len(rows), meta.numpy_dtype
    shard = Shard(
        np.zeros((m, meta.dim), dtype),
        np.zeros((m, meta.views, meta.dim), dtype) if meta.views else None,
        np.zeros((m, meta.pre_projection_dim), dtype) if meta.pre_projection_dim else None,
        np.zeros((m, 32), np.uint8),
        batch_size=meta.batch_size,
    )
    by_store: dict[int, list[tuple[int, int]]] = {}
    for position, row in enumerate(rows):
        if found.content[row] in found.where:
            source, there = found.where[found.content[row]]
            by_store.setdefault(source, []).append((position, there))
            shard.content[position] = np.frombuffer(bytes.fromhex(found.content[row]), np.uint8)
        else:
            shard.problems[position] = found.problems[row]
    for source, pairs in by_store.items():
        positions, there_rows = (list(side) for side in zip(*pairs, strict=True))
        features = found.stores[source].features(there_rows)
        shard.x[positions] = features.x.numpy()
        if shard.views is not None and features.views is not None:
            shard.views[positions] = features.views.numpy()
        if shard.pre_projection is not None and features.pre_projection is not None:
            shard.pre_projection[positions] = features.pre_projection.numpy()
    return shard
