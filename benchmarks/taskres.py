"""TaskRes from stored views against re-encoding the images every epoch: ``python benchmarks/taskres.py [options]``.

Embedded model, embedded digits, 16 shots of 10 classes, 200 epochs, one process, the same threads, the model loaded and
every library warmed up before the clock starts. The baseline keeps its decoded images; ours includes making, syncing
and reading a store with 20 views of each image.

Options: ``--threads N`` (torch's default), ``--workers N`` of the extraction (its default; 0 = none beside the
process itself, as in the baseline), ``--repeats N`` (3).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.assets import tiny
from clipwright.backbones import resolve
from clipwright.data import open_data
from clipwright.features import extract
from clipwright.heads.linear import LinearHead
from clipwright.methods.taskres import RAW_TEXT_NORM, TaskRes
from clipwright.task import Features, Task, TextFeatures
from clipwright.training.schedules import dassl_schedule

SHOTS, EPOCHS, VIEWS = 16, 200, 20


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    baseline_fit = import_module("baselines.taskres").fit
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")

    data, ref = open_data("digits"), resolve("tiny", device="cpu")
    backbone = ref.load()
    model, _, preprocess = tiny.load()
    order = np.random.default_rng(0).permutation(len(data))
    rows = np.concatenate([order[data.labels[order] == c][:SHOTS] for c in range(len(data.class_names))])
    rest = np.setdiff1d(order, rows)
    support = data.take(rows)
    text = TextFeatures(
        backbone.texts([(data.templates or ("a photo of a {}.",))[0].format(n) for n in data.class_names])
    )
    images = [data.reader.read(source).image.convert("RGB") for source in support.table["source"].to_pylist()]  # type: ignore[union-attr] # embedded images have one
    y = torch.from_numpy(support.labels)
    rates = dassl_schedule(2e-3, EPOCHS)

    def reencode(epochs: int) -> torch.Tensor:
        weight: torch.Tensor = baseline_fit(
            model.encode_image, images, y, RAW_TEXT_NORM * text.classifier(), learning_rates=rates[:epochs],
            logit_scale=backbone.logit_scale, size=preprocess["size"], mean=preprocess["mean"], std=preprocess["std"],
        )  # fmt: skip
        return weight

    def stored(folder: Path) -> Features:
        store = extract(
            support, ref, folder=folder, views=VIEWS, recipe="crop(0.08,1)+flip", workers=options.workers, quiet=True
        )
        return store.features()

    def fit(features: Features) -> Any:
        labelled = Features(features.x, y, views=features.views)
        published = TaskRes(
            epochs=EPOCHS, learning_rate=2e-3, legacy_schedule=True, legacy_weight_decay=True, legacy_drop_last=True
        )  # as in the baseline
        return published.fit(Task(data.class_names, text, labelled, logit_scale=backbone.logit_scale))

    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        test = extract(data.take(rest), ref, folder=work / "test", quiet=True).features()
        fit(stored(work / "warm-up"))
        reencode(2)
        runs = []
        for repeat in range(options.repeats):
            slow, weight = timed(lambda: reencode(EPOCHS))
            extraction, features = timed(lambda repeat=repeat: stored(work / str(repeat)))  # type: ignore[misc] # bound now
            quick, fitted = timed(lambda features=features: fit(features))  # type: ignore[misc] # bound now
            runs.append((slow / quick, slow / (quick + extraction)))
            print(
                f"{SHOTS} shots, {EPOCHS} epochs, {torch.get_num_threads()} thread(s): re-encoding {slow:.2f} s; "
                f"extracting {VIEWS} views {extraction:.2f} s; fit {quick:.3f} s: the fit alone is {runs[-1][0]:.0f} "
                f"times as fast, with extraction {runs[-1][1]:.1f} times"
            )
    truth = torch.from_numpy(data.labels[rest])
    found = {"re-encoding": LinearHead(weight)(test.x), "stored views": fitted(test)}
    shown = ", ".join(f"{name} {100 * float((z.argmax(1) == truth).float().mean()):.1f} %" for name, z in found.items())
    print(f"accuracy on the other {len(rest)} images: {shown}")
    alone, together = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"median: the fit alone {alone:.0f} times as fast (goal 50), with extraction {together:.1f} times (goal 7)")


if __name__ == "__main__":
    main()
