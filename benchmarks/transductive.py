"""Transductive and LabelPropagation: ``python benchmarks/transductive.py [all partial embedded labels open speed]``.

Parts (default: all of them):

- all: every image of the four WHU-RS19 bundles as the query, average prompt, beside the published TransCLIP accuracy
  (`whurs19_results.json`), one setting for all.
- partial: batches that hold few of the classes, few images, or a long tail, of the same bundles; what a batch holds is
  drawn from a seed (``--seeds 3``).
- embedded: the embedded data sets, ``--part development`` or ``test``; unlabeled images are the training part, the
  scored ones the test part (or the second half of the training part), as a query and, by the head alone, as images
  that come later.
- labels: with 1 and 4 labels per class on WHU-RS19, what the unlabeled query adds to GDA (with ``--taskres``: to
  TaskRes), 10 draws; the query is every image but the first four of each class in the draw's order. Intervals: 95 %,
  Student's t over the paired differences of the draws.
- open: `open_set_share` and `class_shares` on the WHU-RS19 bundles with classes taken from the list.
- speed: seconds for 4,000, 8,000 and 16,000 made-up images of 100 classes.

Bundles are looked for in ``--shared`` or CLIPWRIGHT_SHARED (default: ../shared).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.evidence import ENCODERS, embedded, shared_folder

from clipwright.core.intervals import paired_difference
from clipwright.core.neighbours import neighbour_graph
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.data import open_data
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.methods.unlabeled_checks import class_shares, open_set_share
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.protocol.splits import pools
from clipwright.task import Features, Task, TextFeatures

PARTS = ("all", "partial", "embedded", "labels", "open", "speed")
METHODS: dict[str, Method] = {
    "zero-shot": make("ZeroShot"),
    "Transductive": make("Transductive"),
    "as published": make("Transductive", anchor=0, class_prior=0, confident=8),
    "LabelPropagation": make("LabelPropagation"),
    "LabelPropagation, shared part removed": make("LabelPropagation", remove_shared=True),
}


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return 100 * float((logits.argmax(1) == labels).double().mean())


def answer(method: Method, task: Task, query: Features) -> torch.Tensor:
    """Logits of the query, looked at together where the method does."""
    fitted = method.fit(replace(task, query=query.without_labels()))
    return fitted(query) if fitted.query_logits is None else fitted.query_logits


def bundle(folder: Path, encoder: str) -> tuple[Task, Features]:
    """The task of a bundle without images, and all its images."""
    prepared = prepare(open_data(folder / f"whurs19_{encoder}.npz"), None)
    return prepared.task([]), prepared.features


def show(head: Sequence[str], rows: Iterator[list[str]]) -> None:
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def part_all(folder: Path) -> None:
    records = json.loads((folder.parent / "golden" / "real" / "whurs19_results.json").read_text())
    published = [
        next(
            r["published"] for r in records if r["dataset"] == f"whurs19_{e}#all1005" and r["method"] == "transclip_zs"
        )
        for e in ENCODERS
    ]
    bundles = [bundle(folder, e) for e in ENCODERS]

    def rows() -> Iterator[list[str]]:
        for name, method in METHODS.items():
            yield [name, *(f"{accuracy(answer(method, t, x), x.labels):.2f}" for t, x in bundles)]
        yield ["TransCLIP, published", *(f"{value:.2f}" for value in published)]

    show(["top-1, %", *ENCODERS], rows())


def batches(labels: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Rows of batches that are not what a method hopes for."""
    rng = generator(seed, "transductive", "batches")
    order = rng.permutation(classes)
    found = {f"{k} classes": np.flatnonzero(np.isin(labels, order[:k])) for k in (2, 5, 10)}
    found["2 classes, 20 images"] = np.sort(rng.permutation(found["2 classes"])[:20])
    found["64 images"] = np.sort(rng.permutation(len(labels))[:64])
    tail = []
    for place, c in enumerate(order):
        rows = rng.permutation(np.flatnonzero(labels == c))
        tail.append(rows[: max(1, int(len(rows) * 20 ** (-place / max(1, classes - 1))))])
    return found | {"long tail, 20 to 1": np.sort(np.concatenate(tail))}


def part_partial(folder: Path, seeds: int) -> None:
    bundles = [bundle(folder, e) for e in ENCODERS]
    names = list(batches(bundles[0][1].labels.numpy(), 19, 0))

    def rows() -> Iterator[list[str]]:
        for name, method in METHODS.items():
            found: dict[str, list[float]] = {n: [] for n in names}
            for task, x in bundles:
                for seed in range(seeds):
                    for n, rows in batches(x.labels.numpy(), task.n_classes, seed).items():
                        found[n].append(accuracy(answer(method, task, x[rows]), x.labels[rows]))
            yield [name, *(f"{np.mean(found[n]):.1f}" for n in names)]

    show(["top-1, %, mean of four encoders", *names], rows())


def halves(prepared: Prepared) -> tuple[np.ndarray, np.ndarray]:
    """Unlabeled rows and rows to score: the two parts, or two random halves where there is one."""
    found = pools(prepared.dataset)
    if found.test is not None:
        return found.train, found.test
    order = generator(0, "transductive", prepared.dataset.name).permutation(found.train)
    return np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])


def part_embedded(part: str) -> None:
    trials = [(t.cluster, t.prepared) for t in embedded(part)]  # type: ignore[arg-type] # one of the two

    def rows() -> Iterator[list[str]]:
        for name, method in METHODS.items():
            for later in (False, True):
                values = []
                for _, prepared in trials:
                    pile, scored = halves(prepared)
                    task, query = prepared.task([], unlabeled=pile), prepared.rows(scored)
                    logits = method.fit(task)(query) if later else answer(method, task, query)
                    values.append(accuracy(logits, query.labels))
                if not later or method.tags.transductive:
                    label = f"{name}, later images" if later else name
                    yield [label, *(f"{v:.1f}" for v in values), f"{np.mean(values):.1f}"]

    show([f"top-1, %, {part} part", *(name for name, _ in trials), "mean"], rows())


def part_labels(folder: Path, draws: int, bases: Sequence[str]) -> None:
    for base in bases:
        for encoder in ENCODERS:
            task, x = bundle(folder, encoder)
            labels = x.labels.numpy()
            for shots in (1, 4):
                pairs = []
                for draw in range(draws):
                    rng = generator(draw, "transductive", "labels")
                    orders = [rng.permutation(np.flatnonzero(labels == c)) for c in range(task.n_classes)]
                    support = x[np.concatenate([o[:shots] for o in orders])]
                    query = x[np.sort(np.concatenate([o[4:] for o in orders]))]
                    given = replace(task, support=support, seed=draw)
                    both = (make(base), make("Transductive", base=base))
                    pairs.append([accuracy(answer(method, given, query), query.labels) for method in both])
                alone, joined = np.array(pairs).T
                gain = paired_difference(joined, alone)
                print(
                    f"| {base} | {encoder} | {shots} | {alone.mean():.2f} | {joined.mean():.2f} | "
                    f"{gain.mean:+.2f} ({gain.low:+.2f} to {gain.high:+.2f}) |",
                    flush=True,
                )


def part_open(folder: Path) -> None:
    def rows() -> Iterator[list[str]]:
        for encoder in ENCODERS:
            task, x = bundle(folder, encoder)
            text = task.text.classifier() if task.text is not None else x.x
            order = generator(0, "transductive", "open").permutation(task.n_classes)
            cells = []
            for kept in (19, 17, 14, 10):
                truth = 1 - np.isin(x.labels.numpy(), order[:kept]).mean()
                found = open_set_share(x.unit_x() @ text[order[:kept]].T)
                cells.append(f"{100 * found:.0f} ({100 * truth:.0f})")
            tail = batches(x.labels.numpy(), task.n_classes, 0)["long tail, 20 to 1"]
            true = np.bincount(x.labels.numpy()[tail], minlength=task.n_classes) / len(tail)
            texts = task.logit_scale * x.unit_x()[tail] @ text.T
            joint = answer(METHODS["Transductive"], task, x[tail])
            guesses = (class_shares(joint), class_shares(texts), texts.double().softmax(1).mean(0))
            errors = [np.abs(guess.numpy() - true).sum() / 2 for guess in guesses]
            yield [encoder, *cells, *(f"{100 * e:.0f}" for e in errors)]

    head = ["open-set share found (true), %, of 19 classes"] + [f"{k} listed" for k in (19, 17, 14, 10)]
    show([*head, "class shares of a long tail, % misplaced", "from zero-shot", "mean zero-shot softmax"], rows())


def part_speed() -> None:
    """Seconds of the graph and of all the rest, D = 512, C = 100."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((100, 512))
    text = torch.from_numpy(centres).float()

    def rows() -> Iterator[list[str]]:
        for n in (4000, 8000, 16000):
            x = torch.from_numpy(centres[np.arange(n) % 100] + 2 * rng.standard_normal((n, 512))).float()
            task = Task(tuple(f"class {c}" for c in range(100)), TextFeatures(text), query=Features(x))
            start = time.perf_counter()
            neighbour_graph(unit_rows(x), 3)
            graph = time.perf_counter() - start
            fits = [METHODS[name].fit(task).trace.seconds for name in ("Transductive", "LabelPropagation")]
            yield [f"{n}", f"{graph:.2f}", *(f"{seconds:.2f}" for seconds in fits)]

    show(["images", "graph, s", "Transductive, s, graph included", "LabelPropagation, s, graph included"], rows())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--part", choices=["development", "test"], default="test")
    parser.add_argument("--taskres", action="store_true")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "the embedded model")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose among {', '.join(PARTS)}.")
    wanted = options.parts or PARTS
    if "all" in wanted:
        part_all(shared_folder(options.shared))
    if "partial" in wanted:
        part_partial(shared_folder(options.shared), options.seeds)
    if "embedded" in wanted:
        part_embedded(options.part)
    if "open" in wanted:
        part_open(shared_folder(options.shared))
    if "speed" in wanted:
        part_speed()
    if "labels" in wanted:
        print("\n| base | encoder | labels per class | alone | with the query | gain |\n|---|---|---|---|---|---|")
        part_labels(shared_folder(options.shared), options.draws, ["taskres"] if options.taskres else ["gda"])


if __name__ == "__main__":
    main()
