"""Where work runs: this process, its threads and worker processes, and the parts that `--shard I/N` makes."""

from __future__ import annotations

from clipwright.engine.partition import parse_shard, part_of
from clipwright.engine.pool import WorkerError, cpu_count, ordered

__all__ = ["WorkerError", "cpu_count", "ordered", "parse_shard", "part_of"]
