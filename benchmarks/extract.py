"""Extraction against a plain open_clip loop on 500 JPEGs of 500 x 375: ``python benchmarks/extract.py [options]``.

Each way runs in a process of its own, in turn, with the same threads, timed without imports and without loading the
model; ours includes making, syncing and closing the store. ViT-B-32 has random weights (it is bound by computing), the
embedded model is bound by decoding. Peak memory is that of the process and its children, sampled every 20 ms. The
re-run is a fresh process on the complete store, timed from the opening of the data to the open store.

Options: ``--images N`` (500), ``--repeats N`` (3), ``--only tiny|vit``, ``--threads N``,
``--workers N``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parent.parent
TINY = ROOT / "src" / "clipwright" / "assets" / "tiny"


def make_images(root: Path, count: int) -> None:
    """Pictures with detail at all scales, some 35 kB each at quality 90, like photographs."""
    for folder in ("even", "odd"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(len(list(root.rglob("*.jpg"))), count):
        rng = np.random.default_rng(number)
        total = rng.normal(0, 1.5, (375, 500, 3)).astype(np.float32)
        for scale in (2, 4, 8, 16, 32, 64, 128, 250):
            coarse = rng.normal(size=(375 // scale + 2, 500 // scale + 2)).astype(np.float32)
            fine = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
            total += np.asarray(fine)[..., None] * scale**0.8 * rng.uniform(0.4, 1, 3)
        pixels = (total - total.mean()) / total.std() * 55 + 120
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(
            root / ("even", "odd")[number % 2] / f"{number:05d}.jpg", quality=90
        )


def run_baseline(model: str, root: Path, work: Path) -> dict[str, Any]:
    from benchmarks.baselines.extract import extract, load

    from clipwright.assets import tiny

    tiny.register()  # timm doesn't know its image tower otherwise
    loaded = load(f"local-dir:{TINY}", None) if model == "tiny" else load("ViT-B-32", str(work / "vit.safetensors"))
    paths = sorted(root.glob("*/*.jpg"))
    start = time.perf_counter()
    found = extract(*loaded, paths)
    seconds = time.perf_counter() - start
    np.save(work / f"{model}-baseline.npy", found.numpy())
    return {"seconds": seconds}


def run_ours(model: str, root: Path, work: Path, workers: int | None, *, again: bool) -> dict[str, Any]:
    import pyarrow as pa

    from clipwright.backbones import resolve
    from clipwright.data import open_data
    from clipwright.features import extract

    spec = "tiny" if model == "tiny" else f"openclip:ViT-B-32@{work / 'vit.safetensors'}"
    folder = work / f"{model}-store"
    pa.array([0])  # imports pandas, where it is installed
    start = time.perf_counter()
    data, ref = open_data(root), resolve(spec, device="cpu")
    if not again:
        ref.load()
        start = time.perf_counter()
    store = extract(data, ref, folder=folder, workers=workers, quiet=True)
    seconds = time.perf_counter() - start
    if not again:
        baseline = np.load(work / f"{model}-baseline.npy")
        difference = np.abs(store.features().x.numpy() - baseline).max() / np.abs(baseline).max()
        assert difference < 1e-4, difference
    return {"seconds": seconds, "loaded": getattr(ref, "_loaded", None) is not None}


def child(arguments: argparse.Namespace) -> None:
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    root, work = arguments.work / "images", arguments.work
    if arguments.child == "baseline":
        found = run_baseline(arguments.model, root, work)
    else:
        found = run_ours(arguments.model, root, work, arguments.workers, again=arguments.child == "again")
    print(json.dumps(found))


def peak_of(pid: int, stop: threading.Event, found: list[int]) -> None:
    """Sample the resident memory of a process and its children until told to stop."""
    import psutil  # type: ignore[import-untyped] # it has no annotations

    process = psutil.Process(pid)
    while not stop.wait(0.02):
        try:
            tree = [process, *process.children(recursive=True)]
            found.append(sum(p.memory_info().rss for p in tree))
        except psutil.Error:
            continue


def measure(kind: str, model: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", kind, "--model", model, "--work", str(arguments.work)]
    for name in ("threads", "workers"):
        if (value := getattr(arguments, name)) is not None:
            command += [f"--{name}", str(value)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        stop, peaks = threading.Event(), [0]
        watch = threading.Thread(target=peak_of, args=(process.pid, stop, peaks))
        watch.start()
        out, err = process.communicate()
        stop.set()
        watch.join()
    if process.returncode:
        raise SystemExit(err)
    return {**json.loads(out.splitlines()[-1]), "peak": max(peaks) / 1e6}


def compare(model: str, count: int, repeats: int, arguments: argparse.Namespace) -> None:
    ratios, rows = [], []
    for _ in range(repeats):
        theirs = measure("baseline", model, arguments)
        for path in sorted((arguments.work / f"{model}-store").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        ours = measure("ours", model, arguments)
        ratios.append(theirs["seconds"] / ours["seconds"])
        rows.append((theirs, ours))
        print(
            f"{model}: open_clip loop {theirs['seconds']:.2f} s ({count / theirs['seconds']:.1f} images/s, peak "
            f"{theirs['peak']:.0f} MB), ours {ours['seconds']:.2f} s ({count / ours['seconds']:.1f} images/s, peak "
            f"{ours['peak']:.0f} MB): {ratios[-1]:.2f} times as fast"
        )
    again = measure("again", model, arguments)
    assert not again["loaded"]
    first = statistics.median(ours["seconds"] for _, ours in rows)
    print(
        f"{model}: median {statistics.median(ratios):.2f} times as fast; a re-run takes {again['seconds'] * 1e3:.0f} "
        f"ms, {100 * again['seconds'] / first:.2f} % of the first run (model loading not counted)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("tiny", "vit"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        sys.path.insert(0, str(ROOT))
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        arguments.work = arguments.work or Path(folder)
        make_images(arguments.work / "images", arguments.images)
        if arguments.only != "tiny":
            import open_clip
            from safetensors.torch import save_file

            model = open_clip.create_model("ViT-B-32")
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, arguments.work / "vit.safetensors")
        for name, repeats in (("tiny", arguments.repeats), ("vit", arguments.repeats)):
            if arguments.only in {None, name}:
                compare(name, arguments.images, repeats, arguments)


if __name__ == "__main__":
    main()
