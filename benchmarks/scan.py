"""How long and how much memory a scan of 200,000 image files takes: ``python benchmarks/scan.py [files] [repeats]``.

Each way runs in a process of its own, on the same folder and page cache: `open_data`, which makes the whole manifest,
the scan alone, and a plain `os.walk` that looks up size and time of each file and keeps tuples, as a loader would.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = 1000


def peak_mb() -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def walk(root: Path) -> int:
    """The baseline: what a straightforward loader does, without sorting or labels."""
    rows = []
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            if name.lower().endswith((".jpg", ".jpeg", ".png", ".webp")):
                path = os.path.join(folder, name)  # noqa: PTH118 - the baseline is to be fast
                status = os.stat(path)  # noqa: PTH116 - as above
                rows.append((path, status.st_size, status.st_mtime_ns))
    return len(rows)


def scan(root: Path) -> int:
    from clipwright.data.scan import scan as find

    return len(find(root).ids)


def open_data(root: Path) -> int:
    from clipwright.data import open_data as find

    return len(find(root))


WAYS = {"walk": walk, "scan": scan, "open_data": open_data}


def measure(way: str, root: Path) -> None:
    """In a process of its own: seconds and peak memory beyond what the imports took."""
    import clipwright.data  # noqa: F401 - before the clock starts

    before, start = peak_mb(), time.perf_counter()
    files = WAYS[way](root)
    print(
        json.dumps({"files": files, "seconds": time.perf_counter() - start, "mb": peak_mb() - before, "all": peak_mb()})
    )


def fill(root: Path, files: int) -> None:
    for c in range(CLASSES):
        folder = root / f"class_{c:04d}"
        folder.mkdir()
        for i in range(files // CLASSES):
            (folder / f"ILSVRC2012_val_{c * 1000 + i:08d}.JPEG").write_bytes(b"x")


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        fill(root, files)
        best: dict[str, dict[str, float]] = {}
        for _ in range(repeats):
            for way in WAYS:
                command = [sys.executable, __file__, "--measure", way, name]
                row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                assert row["files"] == files // CLASSES * CLASSES
                best[way] = row if way not in best or row["seconds"] < best[way]["seconds"] else best[way]
    base = best["walk"]["seconds"]
    for way, row in best.items():
        print(
            f"{way:>9}: {row['seconds']:.2f} s ({row['seconds'] / base:.2f} of os.walk), "
            f"{row['mb']:.0f} MB more than the imports, {row['all']:.0f} MB in all"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
