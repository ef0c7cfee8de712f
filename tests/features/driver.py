"""Extractions that get killed, compete, or run out of disk: started by test_robust.py as a program of its own.

It imports everything and loads the embedded model once, then forks a child per extraction; one thread of torch's, so
that forking is safe.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)
warnings.simplefilter("ignore")

from clipwright.backbones import resolve  # noqa: E402
from clipwright.core.atomic import DiskFullError  # noqa: E402
from clipwright.core.journal import Journal  # noqa: E402
from clipwright.data import open_data  # noqa: E402
from clipwright.features import FeatureStore, extract  # noqa: E402

_OPTIONS: dict[str, Any] = {"views": 6, "rows_per_shard": 2, "batch_size": 14, "workers": 2, "quiet": True}
_SHARDS = 50


class Work:
    """One data set and one loaded model."""

    def __init__(self, pictures: Path) -> None:
        self.data = open_data(pictures)
        self.ref = resolve("tiny", device="cpu")
        self.ref.load()

    def child(self, folder: Path) -> int:
        """Extract in a forked process; return its id."""
        pid = os.fork()
        if pid:
            return pid
        try:
            extract(self.data, self.ref, folder=folder, **_OPTIONS)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)

    def whole(self, folder: Path) -> float:
        """An uninterrupted extraction; return its seconds."""
        start = time.monotonic()
        _, status = os.waitpid(self.child(folder), 0)
        assert status == 0
        return time.monotonic() - start


def shards(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each finished shard."""
    found = {p: p.stat() for p in (folder / "shards").glob("*.safetensors")}
    return {p.name: (s.st_ino, s.st_mtime_ns) for p, s in found.items()}


def kill(work: Work, out: Path, seed: int) -> dict[str, Any]:
    """Kill an extraction at ten random moments, then let it finish."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    seconds = work.whole(out / "whole")
    folder, landed, rewritten, done = out / "killed", 0, [], []
    while landed < 10:
        before = shards(folder)
        more = chance.randrange(
            4
        )  # new shards to wait for: ten kills can't reach the end, whatever the machine's speed
        pid = work.child(folder)
        while len(shards(folder)) < len(before) + more and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 2 * seconds / _SHARDS))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        assert os.WIFSIGNALED(status), "it finished before it was killed"
        landed += 1
        after = shards(folder)
        rewritten += [name for name, stamp in before.items() if after.get(name) != stamp]
        done.append(len(after))
    before = shards(folder)
    work.whole(folder)
    after = shards(folder)
    rewritten += [name for name, stamp in before.items() if after.get(name) != stamp]
    return {"landed": landed, "finished_after_each_kill": done, "rewritten": rewritten, "seconds": seconds}


def pair(work: Work, out: Path) -> dict[str, Any]:
    """Two extractions into one folder at the same time, then one more that finds nothing to do."""
    work.whole(out / "whole")
    pids = [work.child(out / "pair") for _ in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    before = shards(out / "pair")
    work.whole(out / "pair")
    return {"codes": codes, "rewritten": before != shards(out / "pair")}


def full(work: Work, out: Path, small_disk: Path) -> dict[str, Any]:
    """Extract onto a disk that fills up, then free some space and go on."""
    work.whole(out / "whole")
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 300_000))
    folder = small_disk / "store"
    message = ""
    try:
        extract(work.data, work.ref, folder=folder, **_OPTIONS)
    except DiskFullError as error:
        message = str(error)
    half = FeatureStore.open(folder)
    kept = {k: float(block.x.sum()) for k, block in zip(half.present(), (b for _, b in half.blocks()), strict=True)}
    left = [p.name for p in folder.rglob("*.tmp")]
    before = shards(folder)
    filler.unlink()
    extract(work.data, work.ref, folder=folder, **_OPTIONS)
    after = shards(folder)
    for path in [*folder.rglob("*.*")]:  # the small disk vanishes with this process
        target = out / "full" / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    same = all(after[name] == stamp for name, stamp in before.items())
    return {"message": message, "kept": len(kept), "left": left, "same": same, "total": half.meta.shards}


def main() -> None:
    """Run one experiment and print what happened, with the shards that were computed in each store."""
    name, pictures, out, *rest = sys.argv[1:]
    work, folder = Work(Path(pictures)), Path(out)
    if name == "kill":
        found = kill(work, folder, int(rest[0]))
    elif name == "pair":
        found = pair(work, folder)
    else:
        found = full(work, folder, Path(rest[0]))
    journal = Journal(folder / {"kill": "killed"}.get(name, name) / "journal.jsonl").rows()
    found["computed"] = [row["shard"] for row in journal if row["event"] == "shard"]
    print(json.dumps(found))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
