"""Benchmarks that are already downloaded, in the layout of CoOp's data sets: ``benchmark:NAME``."""

from __future__ import annotations

from clipwright.data.benchmarks.catalogue import PREFIX, Benchmark, benchmarks, find_benchmark
from clipwright.data.benchmarks.opening import is_benchmark, open_benchmark
from clipwright.data.benchmarks.places import VARIABLE
from clipwright.data.benchmarks.rows import ListedRows, read_split
from clipwright.data.benchmarks.synsets import listed_classes, read_indices

__all__ = [
    "PREFIX",
    "VARIABLE",
    "Benchmark",
    "ListedRows",
    "benchmarks",
    "find_benchmark",
    "is_benchmark",
    "listed_classes",
    "listing",
    "open_benchmark",
    "read_indices",
    "read_split",
]


def listing() -> tuple[Benchmark, ...]:
    """All benchmarks, for lists: the eleven of CoOp's protocol, then the variants of ImageNet."""
    return benchmarks()
