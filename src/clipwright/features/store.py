"""Reading features from disk: a folder of shards, mapped into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from clipwright.core.errors import FormatError, StoreError
from clipwright.data.dataset import Dataset, ImageReader
from clipwright.features import rows as manifest
from clipwright.features.meta import StoreMeta, read_meta
from clipwright.features.shards import BrokenShardError, Shard, is_whole, read_shard
from clipwright.task import Features

PROJECTION_FILE = "projection.npy"
BIAS_FILE = "projection_bias.npy"

Problem = tuple[str, str]


class FeatureStore:
    """Raw features of a data set by one backbone.

    Attributes:
        folder: where it lies.
        meta: what made it.
    """

    def __init__(self, folder: Path, meta: StoreMeta, table: pa.Table) -> None:
        self.folder = folder
        self.meta = meta
        self._table = table
        self._present: set[int] = set()
        self._shards: dict[int, Shard] = {}

    @classmethod
    def open(cls, folder: str | Path) -> FeatureStore:
        """Open a store, complete or not, without loading any model.

        Raises:
            StoreError: there is none at `folder`.
            FormatError: it is damaged, or newer than this clipwright.
        """
        folder = Path(folder)
        meta = read_meta(folder)
        table = manifest.read_rows(folder)
        if table.num_rows != meta.rows or manifest.ids_digest(table["id"].to_pylist()) != meta.ids_digest:
            raise FormatError(f"rows.parquet and meta.json of {folder} don't belong together: extract again elsewhere.")
        return cls(folder, meta, table)

    def __len__(self) -> int:
        """Rows of the data set, unreadable images included."""
        return self.meta.rows

    def __repr__(self) -> str:
        return (
            f"FeatureStore({str(self.folder)!r}: {self.meta.dataset}, {self.meta.rows} rows by {self.meta.backbone}, "
            f"{len(self.present())} of {self.meta.shards} shards)"
        )

    def has(self, shard: int) -> bool:
        """Whether a shard is there and whole.

        Raises:
            StoreError: its file belongs to another store.
        """
        if shard not in self._present and is_whole(self.folder, self.meta, shard):
            self._present.add(shard)
        return shard in self._present

    def present(self) -> list[int]:
        """The shards that are there and whole."""
        return [k for k in range(self.meta.shards) if self.has(k)]

    @property
    def complete(self) -> bool:
        """Whether every shard is there and whole."""
        return all(self.has(k) for k in range(self.meta.shards))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that the labels of `rows` index."""
        return manifest.class_names(self._table)

    @property
    def logit_scale(self) -> float:
        """What multiplies cosines."""
        return self.meta.logit_scale

    @cached_property
    def projection(self) -> torch.Tensor | None:
        """(D', D) float32 last matrix of the image tower, or None where there is none.

        Raises:
            FormatError: its file is missing or damaged.
        """
        if self.meta.pre_projection_dim is None:
            return None
        return self._tensor(PROJECTION_FILE, (self.meta.pre_projection_dim, self.meta.dim))

    @cached_property
    def projection_bias(self) -> torch.Tensor | None:
        """(D,) float32 vector added after the last matrix, or None where there is none.

        Raises:
            FormatError: its file is missing or damaged.
        """
        return self._tensor(BIAS_FILE, (self.meta.dim,)) if self.meta.projection_bias else None

    def _tensor(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        path = self.folder / name
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise FormatError(f"{path} can't be read ({error}): copy it from a store of the same model.") from error
        if values.shape != shape:
            raise FormatError(f"{path} has shape {values.shape} instead of {shape}: copy the right one.")
        return torch.from_numpy(values)

    @property
    def rows(self) -> pa.Table:
        """n rows of id, label, split, size, mtime_ns, content (SHA-256) and problem.

        Content and problem are ``""`` for rows whose shard isn't there yet.
        """
        if not manifest.is_final(self._table):
            self._table = self._fill(self._table)
        return self._table

    def _fill(self, table: pa.Table) -> pa.Table:
        content, problem = [""] * self.meta.rows, [""] * self.meta.rows
        for k in self.present():
            start, shard = self.meta.range_of(k).start, self._shard(k)
            text = shard.content.tobytes().hex()
            for i in np.flatnonzero(np.any(shard.content, axis=1)).tolist():
                content[start + i] = text[64 * i : 64 * (i + 1)]
            for i, reason in shard.problems.items():
                problem[start + i] = reason
        for name, values in (("content", content), ("problem", problem)):
            field = manifest.SCHEMA.field(name)
            table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, pa.string()))
        return table

    @property
    def problems(self) -> tuple[Problem, ...]:
        """(id, reason) of each image that couldn't be read."""
        ids, reasons = self.rows["id"].to_pylist(), self.rows["problem"].to_pylist()
        return tuple((i, reason) for i, reason in zip(ids, reasons, strict=True) if reason)

    @property
    def readable(self) -> np.ndarray:
        """Numbers of the rows that have features, ascending."""
        return np.asarray(pc.indices_nonzero(pc.not_equal(self.rows["content"], "")).to_numpy(), dtype=np.int64)

    def contents(self, dataset: Dataset) -> list[str]:
        """SHA-256 (hex) of what each row of `dataset` was decoded from, ``""`` where unreadable.

        Raises:
            StoreError: a row isn't in the store, or its file has changed since.
        """
        return list(self.rows["content"].take(manifest.row_numbers(self._locate(dataset))).to_pylist())

    def features(
        self, rows: Sequence[int] | np.ndarray | None = None, *, views: bool = True, pre_projection: bool = True
    ) -> Features:
        """Features of some rows; only what is asked for is read from disk.

        Args:
            rows: row numbers of the store, in any order; by default all readable ones.
            views: whether to read the augmented views, where there are some.
            pre_projection: whether to read the pre-projection features, where there are some.

        Returns:
            float32 features with labels and ids. Rows that follow each other inside one shard stay on disk, mapped
            into memory; others are gathered into memory.

        Raises:
            StoreError: the store isn't complete, or a row asked for has no features.
        """
        if not self.complete:
            missing = self.meta.shards - len(self.present())
            raise StoreError(
                f"the feature store at {self.folder} lacks {missing} of {self.meta.shards} shards: "
                "run the extraction again to complete it."
            )
        index = self.readable if rows is None else np.asarray(rows, dtype=np.int64)
        table = self.rows.take(manifest.row_numbers(index))
        if rows is not None and (bad := [p for p in table["problem"].to_pylist() if p]):
            raise StoreError(f"{len(bad)} of the rows asked for couldn't be read as images (first: {bad[0]}).")
        wanted = ["x", *(["views"] if views and self.meta.views else [])]
        wanted += ["pre_projection"] if pre_projection and self.meta.pre_projection_dim else []
        parts = {name: self._gather(name, index) for name in wanted}
        return Features(
            parts["x"],
            torch.from_numpy(table["label"].to_numpy().astype(np.int64)),
            tuple(table["id"].to_pylist()),
            views=parts.get("views"),
            pre_projection=parts.get("pre_projection"),
        )

    def features_for(
        self, dataset: Dataset, *, views: bool = True, pre_projection: bool = True
    ) -> tuple[Features, np.ndarray]:
        """Features of the readable rows of a data set, or of a part of it.

        Args:
            dataset: rows of the data set that the store was made from, in any order, whatever their labels are now.
            views: whether to read the augmented views, where there are some.
            pre_projection: whether to read the pre-projection features, where there are some.

        Returns:
            m features with the data set's labels, ids and images (decoded on demand), and the (m,) row numbers in
            `dataset` that they belong to, ascending.

        Raises:
            StoreError: a row isn't in the store, or its file has changed since, or the store isn't complete.
        """
        where = self._locate(dataset)
        readable = np.zeros(len(self), dtype=bool)
        readable[self.readable] = True
        kept = np.flatnonzero(readable[where])
        found = self.features(where[kept], views=views, pre_projection=pre_projection)
        sources = dataset.table["source"].take(manifest.row_numbers(kept)).to_pylist()
        source = None if dataset.reader is None else _Images(dataset.reader, sources)
        labels = torch.from_numpy(dataset.labels[kept])
        given = Features(
            found.x, labels, found.ids, views=found.views, pre_projection=found.pre_projection, source=source
        )
        return given, kept

    def blocks(self) -> Iterator[tuple[range, Shard]]:
        """Each shard that is there, with its rows: mapped into memory, as stored, unreadable rows zero."""
        for k in self.present():
            yield self.meta.range_of(k), read_shard(self.folder, self.meta, k)

    def _locate(self, dataset: Dataset) -> np.ndarray:
        """(n,) row of the store that belongs to each row of `dataset`."""
        ids = dataset.ids
        mine = self._table["id"].to_pylist()
        if ids == mine:
            where = np.arange(len(ids))
        else:
            number = {name: i for i, name in enumerate(mine)}
            where = np.array([number.get(name, -1) for name in ids], dtype=np.int64)
        if len(missing := np.flatnonzero(where < 0)):
            raise StoreError(
                f"{len(missing)} of {len(ids)} images aren't in the feature store at {self.folder} "
                f"(first: {ids[missing[0]]}): extract features of this data set."
            )
        changed = np.flatnonzero(~manifest.same_files(self._table.take(manifest.row_numbers(where)), dataset.table))
        if len(changed):
            raise StoreError(
                f"{len(changed)} of {len(ids)} images have changed since the feature store at {self.folder} was made "
                f"(first: {ids[changed[0]]}): extract features of this data set again."
            )
        return where

    def _shard(self, number: int) -> Shard:
        if number not in self._shards:
            try:
                self._shards[number] = read_shard(self.folder, self.meta, number)
            except BrokenShardError:
                self._present.discard(number)
                raise
        return self._shards[number]

    def _gather(self, name: str, index: np.ndarray) -> torch.Tensor:
        """Rows of one array, float32; a view of the mapped file where the rows follow each other in one shard."""
        size = self.meta.rows_per_shard
        shards, offsets = index // size, index % size
        if len(index) and shards[0] == shards[-1] and bool((np.diff(index) == 1).all()):
            part = getattr(self._shard(int(shards[0])), name)[offsets[0] : offsets[-1] + 1]
            return torch.from_numpy(np.asarray(part)).float()
        width = {"x": (self.meta.dim,), "views": (self.meta.views, self.meta.dim)}.get(name)
        out = torch.empty((len(index), *(width or (self.meta.pre_projection_dim or 0,))))
        for k in np.unique(shards):
            mine = np.flatnonzero(shards == k)
            part = getattr(self._shard(int(k)), name)[offsets[mine]]
            out[torch.from_numpy(mine)] = torch.from_numpy(np.asarray(part)).float()
        return out


class _Images:
    """Decodes image i of some rows on demand."""

    def __init__(self, reader: ImageReader, sources: list[str]) -> None:
        self.reader = reader
        self.sources = sources

    def __call__(self, row: int) -> object:
        return self.reader.read(self.sources[row]).image
