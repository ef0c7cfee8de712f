"""The verb: extract what a feature store doesn't hold yet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipwright.backbones.base import BackboneRef
from clipwright.backbones.preprocess import parse_recipe
from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset
from clipwright.engine import cpu_count
from clipwright.engine.partition import Shard as Part
from clipwright.engine.partition import check_shard
from clipwright.features import rows as manifest
from clipwright.features.meta import META_FILE
from clipwright.features.retry import reopen_recovered
from clipwright.features.reuse import reuse
from clipwright.features.run import Options, Run, shards_of
from clipwright.features.store import FeatureStore
from clipwright.features.wanted import Storage, Wanted

DEFAULT_RECIPE = "crop(0.5,1)+flip"

_MOST_WORKERS = 32  # some 10,000 photographs per second, at some 90 MB of memory each


def extract(
    dataset: Dataset,
    ref: BackboneRef,
    *,
    folder: str | Path | None = None,
    views: int = 0,
    recipe: str = DEFAULT_RECIPE,
    seed: int = 0,
    shard: Part = (1, 1),
    workers: int | None = None,
    processes: bool | None = None,
    batch_size: int | None = None,
    dtype: Storage = "float32",
    rows_per_shard: int | None = None,
    quiet: bool = False,
) -> FeatureStore:
    """Extract what a feature store doesn't hold yet; a complete store is recognised without loading the model.

    May be killed at any point and run again, and run by several processes on one folder at a time: finished shards
    are never computed again, unless an image that couldn't be read then can be read now.

    Args:
        dataset: images (a bundle has its features already).
        ref: the backbone.
        folder: the store; by default a folder below ``CLIPWRIGHT_HOME/features`` that belongs to these arguments.
            There, images that another such store holds are copied from it, not computed again.
        views: V, augmented views per image, stored beside the clean one.
        recipe: how they are made, ``crop(LOW,HIGH)+flip``.
        seed: what they are drawn from. A view depends on the image's bytes, its number and the seed alone.
        shard: (I, N), do only part I of N; parts can be done by different machines and merged.
        workers: how many images are decoded at a time, by default one per processor and at most 32; 0 decodes between
            batches.
        processes: whether worker processes decode, or threads; by default processes where there is enough for them to
            do to make up for their start.
        batch_size: images and views to encode at a time, by default 64 on a processor, 256 on an accelerator.
        dtype: how features are stored.
        rows_per_shard: rows per shard file of a new store, by default enough for some 512 images and views.
        quiet: show no progress.

    Returns:
        The store; complete, unless `shard` left parts to others.

    Raises:
        DataError: there are no images, or none can be read.
        UsageError: an option is out of range, or `dataset` is a bundle.
        StoreError: `folder` holds features of another model, other images or other views.
        DiskFullError: the disk is full; what is finished is kept.
        BackboneError: the model can't be loaded.
    """
    _check(dataset, shard, views=views, workers=workers, batch_size=batch_size, rows_per_shard=rows_per_shard)
    if views:
        parse_recipe(recipe)
    wanted = Wanted(dataset, ref, views, recipe if views else None, seed if views else None, dtype)
    path = Path(folder) if folder is not None else wanted.default_folder()
    workers = min(cpu_count(), _MOST_WORKERS) if workers is None else workers
    options = Options(shard, workers, processes, batch_size or 0, quiet)  # 0: what suits the store

    def fill(wanted: Wanted, path: Path) -> FeatureStore:
        return _fill(wanted, path, options, rows_per_shard)

    if folder is None and shard == (1, 1) and not is_complete(path):
        reuse(wanted, path, fill)
    return _finish(fill(wanted, path), dataset)


def is_complete(path: Path) -> bool:
    """Whether a folder holds a store that lacks nothing."""
    return (path / META_FILE).exists() and FeatureStore.open(path).complete


def _fill(wanted: Wanted, path: Path, options: Options, rows_per_shard: int | None) -> FeatureStore:
    """Compute what the store at `path` lacks."""
    store = FeatureStore.open(path) if (path / META_FILE).exists() else None
    if store is not None:
        wanted.check(store)
        mine = shards_of(store.meta, wanted.dataset, options.part)
        store = reopen_recovered(store, wanted.dataset, set(mine))
        options = replace(options, batch_size=options.batch_size or store.meta.batch_size)
        if all(store.has(k) for k in mine):
            return store
    options = replace(options, batch_size=options.batch_size or _batch_size(wanted.ref))
    return Run(wanted, path, options, rows_per_shard).fill(store)


def default_folder(
    dataset: Dataset,
    ref: BackboneRef,
    *,
    views: int = 0,
    recipe: str = DEFAULT_RECIPE,
    seed: int = 0,
    dtype: Storage = "float32",
) -> Path:
    """Where `extract` keeps the features that belong to these arguments."""
    wanted = Wanted(dataset, ref, views, recipe if views else None, seed if views else None, dtype)
    return wanted.default_folder()


def _check(dataset: Dataset, shard: Part, **numbers: int | None) -> None:
    if dataset.reader is None:
        raise UsageError(f"{dataset.name} brings its own features: there is nothing to extract.")
    if not len(dataset):
        raise DataError(f"{dataset.name} has no images: check the folder or the table it comes from.")
    for name, value in numbers.items():
        least = 0 if name in {"views", "workers"} else 1
        if value is not None and value < least:
            raise UsageError(f"{name} must be at least {least}; it is {value}.")
    check_shard(shard)


def _batch_size(ref: BackboneRef) -> int:
    import torch

    device = str(getattr(ref, "device", "") or ("cuda" if torch.cuda.is_available() else "cpu"))
    return 64 if device == "cpu" else 256


def _finish(store: FeatureStore, dataset: Dataset) -> FeatureStore:
    """Bring the manifest up to date: content and problems once complete, labels as they are now."""
    table = store.rows if store.complete else manifest.read_rows(store.folder)
    fresh = manifest.manifest_of(dataset)
    renewed = manifest.with_labels(table, fresh)
    final = store.complete and not manifest.is_final(table)
    if final or not renewed.equals(table, check_metadata=True):
        manifest.write_rows(store.folder, renewed, final=store.complete)
        store = FeatureStore.open(store.folder)
    if store.complete and not len(store.readable):
        name, reason = store.problems[0]
        raise DataError(f"none of the {len(store)} images of {dataset.name} can be read (first: {name}: {reason}).")
    return store
