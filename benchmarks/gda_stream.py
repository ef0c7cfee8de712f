"""GDA from a feature store that doesn't fit in memory: ``python benchmarks/gda_stream.py [options]``.

Makes a feature store of 1,281,167 rows of 512 half-precision numbers (ImageNet's training set; 1.3 GB, in a temporary
folder, removed at the end), then in a process of its own opens it, streams the statistics of 1,000 classes over its
mapped shards, solves for the discriminant, adds it to text features, and scores one shard. What is measured is that
process: seconds, and its peak anonymous memory (RssAnon of /proc/self/status every 10 ms; pages of mapped files are
not anonymous). Linux only.

Options: ``--threads N`` (torch's default), ``--rows N`` (1,281,167), ``--folder DIR`` for the temporary folder,
``--store DIR`` measures a store made before (what the process of its own is called with).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from clipwright.core.gaussian import class_statistics, linear_discriminant, shrunk_covariance
from clipwright.core.tensors import unit_rows
from clipwright.features import FeatureStore
from clipwright.features.meta import StoreMeta, create_meta
from clipwright.features.rows import SCHEMA, ids_digest, write_rows
from clipwright.features.shards import Shard, write_shard
from clipwright.heads.linear import LinearHead

ROWS, DIM, CLASSES, PER_SHARD, BLOCK = 1_281_167, 512, 1000, 16_384, 8192
LIMIT = 2.0  # GiB


def make_store(folder: Path, rows: int) -> None:
    """A store as the extraction leaves it, its features drawn around class centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, DIM), dtype=np.float32)
    ids = [f"train/{i:07d}.jpg" for i in range(rows)]
    labels = rng.integers(0, CLASSES, rows).astype(np.int32)
    meta = StoreMeta(
        backbone="made up", backbone_digest="made up", dim=DIM, logit_scale=100.0, dataset="made up", rows=rows,
        ids_digest=ids_digest(ids), dtype="float16", rows_per_shard=PER_SHARD, batch_size=256,
    )  # fmt: skip
    content = hashlib.sha256(b"made up")
    constants = ["train", 0, 0, content.hexdigest(), ""]
    columns = [pa.repeat(pa.scalar(v, f.type), rows) for v, f in zip(constants, list(SCHEMA)[2:], strict=True)]
    table = pa.table([pa.array(ids), pa.array(labels), *columns], schema=SCHEMA)
    names = "[" + ",".join(f'"class {c}"' for c in range(CLASSES)) + "]"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shards").mkdir(exist_ok=True)
    write_rows(folder, table.replace_schema_metadata({b"class_names": names.encode()}), final=True)
    create_meta(folder, meta)
    digest = np.frombuffer(content.digest(), dtype=np.uint8)
    for k in range(meta.shards):
        part = labels[meta.range_of(k).start : meta.range_of(k).stop]
        x = 0.15 * centres[part] + rng.standard_normal((len(part), DIM), dtype=np.float32)
        write_shard(folder, meta, k, Shard(x, None, None, np.tile(digest, (len(part), 1)), batch_size=256))


@contextmanager
def peak_anonymous() -> Iterator[list[float]]:
    """The largest RssAnon seen inside the block, in GiB, as the only entry of a list."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
            peak[0] = max(peak[0], int(found[1]) / 2**20 if found else float("nan"))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def blocks(store: FeatureStore) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Unit rows and their classes, a few thousand at a time."""
    labels = torch.from_numpy(store.rows["label"].to_numpy().astype(np.int64))
    for rows, shard in store.blocks():
        for start in range(0, len(rows), BLOCK):
            x = np.array(shard.x[start : start + BLOCK])  # copied: a mapped file is read-only
            yield unit_rows(torch.from_numpy(x)), labels[rows.start + start : rows.start + start + len(x)]


def measure(folder: Path) -> None:
    texts = unit_rows(torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(0)).double())
    with peak_anonymous() as peak:
        start = time.perf_counter()
        store = FeatureStore.open(folder)
        opened = time.perf_counter() - start
        statistics = class_statistics(blocks(store), CLASSES)
        read = time.perf_counter() - start
        covariance = shrunk_covariance(statistics.within(), statistics.rows)
        weight, bias = linear_discriminant(statistics.means, covariance)
        head = LinearHead((texts + weight / store.logit_scale).float(), bias, scale=store.logit_scale)
        whole = time.perf_counter() - start
        x, y = next(blocks(store))
        accuracy = float((head(x).argmax(1) == y).float().mean())
    print(
        f"{statistics.rows} rows, {DIM} dimensions, {CLASSES} classes, {torch.get_num_threads()} thread(s): opened in "
        f"{opened:.1f} s, statistics after {read:.1f} s, classifier after {whole:.1f} s; peak anonymous memory "
        f"{peak[0]:.2f} GiB (goal: under {LIMIT:.0f}); accuracy on {len(y)} of its rows {100 * accuracy:.1f} %"
    )
    if peak[0] >= LIMIT:
        sys.exit("the goal was missed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.store:
        measure(options.store)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        needed = 2.2 * DIM * options.rows
        if shutil.disk_usage(temporary).free < needed:
            sys.exit(f"the store needs {needed / 1e9:.1f} GB at {temporary}: name another --folder")
        make_store(Path(temporary), options.rows)
        size = sum(p.stat().st_size for p in Path(temporary).rglob("*") if p.is_file())
        print(f"store made: {size / 1e9:.2f} GB", flush=True)
        extra = ["--threads", str(options.threads)] if options.threads else []
        subprocess.run([sys.executable, __file__, "--store", temporary, *extra], check=True)


if __name__ == "__main__":
    main()
