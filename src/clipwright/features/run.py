"""One run of the extraction: decode in the background, encode in batches, write whole shards."""

from __future__ import annotations

import io
import os
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipwright.backbones.base import Backbone
from clipwright.core.atomic import write_bytes
from clipwright.core.hashing import digest_json
from clipwright.core.journal import Journal
from clipwright.core.progress import Advance, progress
from clipwright.core.rng import generator
from clipwright.data.dataset import Dataset
from clipwright.engine import ordered, part_of
from clipwright.engine.partition import Shard as Part
from clipwright.features import rows as manifest
from clipwright.features.batches import Plan, encode_shard
from clipwright.features.decode import Decoder
from clipwright.features.encode import Encoder
from clipwright.features.meta import StoreMeta, create_meta
from clipwright.features.shards import FOLDER, Shard, write_shard
from clipwright.features.store import BIAS_FILE, PROJECTION_FILE, FeatureStore
from clipwright.features.wanted import Wanted

JOURNAL_FILE = "journal.jsonl"

_TASK = 16  # images and views that a worker decodes at a time
# From these many images and views, and workers, on, worker processes are worth starting: with two workers, threads lose
# a tenth to Python's lock, processes a sixth to start-up and copying pixels; beyond that threads stop scaling.
_MANY_IMAGES, _MANY_WORKERS = 4096, 3
_STALE = 3600.0  # seconds after which a temporary file is taken for the remains of a killed run


@dataclass(frozen=True)
class Options:
    """How one run works; nothing here changes what is stored, but for the last bits of `batch_size`."""

    part: Part
    workers: int
    processes: bool | None
    batch_size: int
    quiet: bool


def shards_of(meta: StoreMeta, dataset: Dataset, part: Part) -> list[int]:
    """The shards that belong to part I of N: dealt out by what their rows are called."""
    if part == (1, 1):
        return list(range(meta.shards))
    ids = dataset.ids
    keys = [digest_json(ids[rows.start : rows.stop]) for rows in map(meta.range_of, range(meta.shards))]
    return part_of(keys, part)


class Run:
    """One run of the extraction."""

    def __init__(self, wanted: Wanted, folder: Path, options: Options, rows_per_shard: int | None) -> None:
        self.wanted = wanted
        self.folder = folder
        self.options = options
        self.rows_per_shard = rows_per_shard
        self.journal = Journal(folder / JOURNAL_FILE)

    def fill(self, store: FeatureStore | None) -> FeatureStore:
        """Compute the missing shards of this run's part."""
        backbone = self.wanted.ref.load()
        if store is None:
            store = self._create(backbone)
        _remove_stale(self.folder)
        mine = shards_of(store.meta, self.wanted.dataset, self.options.part)
        todo = [k for k in mine if not store.has(k)]
        about = {"pid": os.getpid(), "host": socket.gethostname(), "part": list(self.options.part)}
        self.journal.append({"event": "start", "time": time.time(), "todo": len(todo), **about})
        # Writers that share a folder begin at different shards, so they meet late and repeat little.
        first = int(generator(time.time_ns(), os.getpid()).integers(len(todo))) if todo else 0
        images = sum(len(store.meta.range_of(k)) for k in todo)
        with progress(f"extract {self.wanted.dataset.name}", images, quiet=self.options.quiet) as advance:
            self._compute(store, backbone, todo[first:] + todo[:first], advance)
        self.journal.append({"event": "end", "time": time.time(), **about})
        return store

    def _create(self, backbone: Backbone) -> FeatureStore:
        tensors = {PROJECTION_FILE: backbone.projection, BIAS_FILE: getattr(backbone, "projection_bias", None)}
        for name, tensor in tensors.items():
            if tensor is not None:
                data = io.BytesIO()  # np.save itself doesn't say that a disk is full
                np.save(data, tensor.detach().float().cpu().numpy(), allow_pickle=False)
                write_bytes(self.folder / name, data.getvalue())
        manifest.write_rows(self.folder, manifest.manifest_of(self.wanted.dataset), final=False)
        create_meta(self.folder, self.wanted.meta(backbone, self.options.batch_size, self.rows_per_shard))
        store = FeatureStore.open(self.folder)
        self.wanted.check(store)  # another writer may have been faster
        return store

    def _compute(self, store: FeatureStore, backbone: Backbone, todo: list[int], advance: Advance) -> None:
        wanted, meta = self.wanted, store.meta
        assert wanted.dataset.reader is not None  # noqa: S101 - checked by the caller
        preprocess = getattr(wanted.ref, "preprocess", None) or backbone.preprocess
        decoder = Decoder(wanted.dataset.reader, preprocess, meta.views, meta.recipe or "", meta.seed or 0)
        per_image = 1 + meta.views
        plan = Plan(
            max(1, self.options.batch_size // per_image), max(1, min(_TASK, self.options.batch_size) // per_image)
        )
        sources = wanted.dataset.table["source"]
        images, workers = sum(len(meta.range_of(k)) for k in todo) * per_image, self.options.workers
        many = images >= _MANY_IMAGES and workers >= _MANY_WORKERS
        tasks = (
            sources.slice(rows.start, len(rows)).to_pylist()
            for k in todo
            for batch in plan.batches(meta.range_of(k))
            for rows in plan.tasks(batch)
        )
        decoded = ordered(
            decoder,
            tasks,
            workers=workers,
            ahead=2 * plan.per_batch + workers,
            processes=many if self.options.processes is None else self.options.processes,
        )
        with Encoder(backbone, self.options.batch_size) as encoder, closing(decoded):  # type: ignore[type-var] # a generator
            for k in todo:
                start = time.perf_counter()
                skip = store.has(k)  # finished by another writer in the meantime
                shard = encode_shard(
                    meta, meta.range_of(k), plan, decoded, encoder=None if skip else encoder, advance=advance
                )
                if shard is not None and not store.has(k):
                    size = write_shard(self.folder, meta, k, shard)
                    self._log(k, shard, size, time.perf_counter() - start)

    def _log(self, number: int, shard: Shard, size: int, seconds: float) -> None:
        row = {"event": "shard", "shard": number, "rows": len(shard.x), "unreadable": len(shard.problems)}
        self.journal.append({**row, "bytes": size, "seconds": round(seconds, 3), "pid": os.getpid()})


def _remove_stale(folder: Path) -> None:
    """Remove temporary files that killed runs left; those of live writers are younger."""
    for place in (folder, folder / FOLDER):
        for path in place.glob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()
            except OSError:
                continue  # another writer was faster
