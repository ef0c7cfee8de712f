"""How rows become batches, and batches become rows of a shard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from clipwright.core.errors import StoreError
from clipwright.core.progress import Advance
from clipwright.features.decode import Decoded
from clipwright.features.encode import Encoder
from clipwright.features.meta import StoreMeta
from clipwright.features.shards import Shard


@dataclass(frozen=True)
class Plan:
    """How the rows of a shard become batches and tasks.

    Batches never cross shards, so a resumed run repeats them exactly.

    Attributes:
        batch_rows: rows that are encoded together.
        task_rows: rows that are decoded together.
    """

    batch_rows: int
    task_rows: int

    @property
    def per_batch(self) -> int:
        """Tasks in a full batch."""
        return -(-self.batch_rows // self.task_rows)

    def batches(self, rows: range) -> Iterator[range]:
        """Parts of a shard's rows that are encoded together."""
        return (rows[i : i + self.batch_rows] for i in range(0, len(rows), self.batch_rows))

    def tasks(self, batch: range) -> Iterator[range]:
        """Parts of a batch that are decoded together."""
        return (batch[i : i + self.task_rows] for i in range(0, len(batch), self.task_rows))


def encode_shard(
    meta: StoreMeta, rows: range, plan: Plan, decoded: Iterator[Decoded], *, encoder: Encoder | None, advance: Advance
) -> Shard | None:
    """Draw one shard's images from `decoded` and encode them, or drop them without an encoder."""
    m = len(rows)
    shard = Shard(
        np.zeros((m, meta.dim), meta.numpy_dtype),
        np.zeros((m, meta.views, meta.dim), meta.numpy_dtype) if meta.views else None,
        np.zeros((m, meta.pre_projection_dim), meta.numpy_dtype) if meta.pre_projection_dim else None,
        np.zeros((m, 32), np.uint8),
        batch_size=encoder.limit if encoder else 0,
    )
    for batch in plan.batches(rows):
        start = time.perf_counter()
        parts = list(islice(decoded, len(list(plan.tasks(batch)))))
        if encoder is not None:
            _encode(shard, batch.start - rows.start, parts, encoder, time.perf_counter() - start)
        advance(len(batch))
    return shard if encoder is not None else None


def _encode(shard: Shard, start: int, parts: list[Decoded], encoder: Encoder, waited: float) -> None:
    """Encode one batch, waited for so many seconds, into the rows of `shard` from `start` on."""
    content = [c for part in parts for c in part.content]
    problems = [p for part in parts for p in part.problems]
    shard.problems.update({start + i: reason for i, reason in enumerate(problems) if reason is not None})
    kept = [start + i for i, c in enumerate(content) if c is not None]
    if not kept:
        return
    shard.content[kept] = np.frombuffer(bytes.fromhex("".join(c for c in content if c is not None)), np.uint8).reshape(
        -1, 32
    )
    pixels = np.concatenate([part.pixels for part in parts]) if len(parts) > 1 else parts[0].pixels
    per_image = pixels.shape[1]
    flat = pixels.reshape(-1, *pixels.shape[2:])
    encoder.share(flat, waited)
    x, before = encoder(flat)
    x = x.reshape(len(kept), per_image, -1)
    _store(shard.x, kept, x[:, 0])
    if shard.views is not None:
        _store(shard.views, kept, x[:, 1:])
    if shard.pre_projection is not None and before is not None:
        _store(shard.pre_projection, kept, before.reshape(len(kept), per_image, -1)[:, 0])


def _store(array: np.ndarray, rows: list[int], values: np.ndarray) -> None:
    with np.errstate(over="ignore"):  # said below
        array[rows] = values
    if not np.isfinite(array[rows]).all():
        if np.isfinite(values).all():
            raise StoreError("the features don't fit into float16: store them as float32.")
        raise StoreError("the model gives NaN or infinity for some images: run it in float32.")
