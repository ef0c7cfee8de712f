"""CaFo and TIPX where some images, or all, are generated, and where there are two image towers.

    python benchmarks/cafo.py                   all tables below
    python benchmarks/cafo.py generated         beside generated images: embedded data, embedded model
    python benchmarks/cafo.py towers            two towers: WHU-RS19

generated: five embedded data sets that the renderer can draw (digits, letters, three styles of shapes), features of the
embedded model, the one template that their tests use. Real support images and scored images both come from the training
part; ``--part test`` scores the test part. Generated ones are posters by the renderer.

towers: WHU-RS19, features of four encoders in the folder that ``--shared`` or the environment variable
CLIPWRIGHT_SHARED names (default: ../shared). Every ordered pair of different encoders is a task: the first gives texts
and image features, the second image features. Images that the largest support set leaves are scored.

Accuracy is the mean over tasks, each the mean over its draws. In brackets is a 95 % percentile interval of a bootstrap
over data sets, or over first encoders; differences are paired.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.evidence import ENCODERS, clustered, markdown, percent, shared_folder

from clipwright.api import generate
from clipwright.backbones import resolve
from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.protocol.splits import pools
from clipwright.task import Features, Task

DATA = ("digits", "letters", "shapes", "shapes-sketch", "shapes-stipple")
SHOTS = (0, 1, 2, 4, 8, 16)
PER_CLASS = 16
METHODS: dict[str, Method] = {
    "CaFo": make("CaFo"),
    "CaFo, keys not tuned": make("CaFo", train=False),
    "TIPX": make("TIPX"),
    "TipAdapter": make("TipAdapter"),
    "TipAdapterF": make("TipAdapterF"),
    "GDA": make("GDA"),
    "ZeroShot": make("ZeroShot"),
}


@dataclass(frozen=True)
class Source:
    """Where the draws of one task come from.

    Attributes:
        cluster: what the interval resamples.
        whole: the task without images.
        pool: real images that support sets are drawn from.
        scored: images to score, or None: what the largest support set leaves of the pool.
        made: generated images, or None.
    """

    cluster: str
    whole: Task
    pool: Features
    scored: Features | None = None
    made: Features | None = None

    def draw(self, shots: int, made: int, seed: int) -> tuple[Task, Features]:
        """The task of one draw and the images to score."""
        rng = generator(seed, "cafo", self.cluster)
        labels = self.pool.labels.numpy()
        orders = [rng.permutation(np.flatnonzero(labels == c)) for c in range(self.whole.n_classes)]
        support = self.pool[np.concatenate([order[:shots] for order in orders])]
        if self.made is not None and made:
            order = np.argsort(self.made.labels.numpy(), kind="stable").reshape(self.whole.n_classes, -1)
            support = joined(support, self.made[order[:, :made].ravel()])
        left = self.pool[np.sort(np.concatenate([order[max(SHOTS) :] for order in orders]))]
        return replace(self.whole, support=support, seed=seed), self.scored if self.scored is not None else left


def joined(real: Features, made: Features) -> Features:
    """Real images first, then generated ones."""
    generated = torch.arange(len(real) + len(made)) >= len(real)
    return Features(torch.cat([real.x, made.x]), torch.cat([real.labels, made.labels]), generated=generated)


def embedded_sources(part: str) -> Iterator[Source]:
    """The data sets that the renderer can draw."""
    ref = resolve("tiny", device="cpu")
    for name in DATA:
        prepared = prepare(open_data(name), ref, quiet=True)
        found = pools(prepared.dataset)
        assert found.test is not None
        with TemporaryDirectory() as folder:
            generate(name, f"{folder}/made", per_class=PER_CLASS, quiet=True)
            made = prepare(open_data(f"{folder}/made"), ref, quiet=True)
        scored = prepared.rows(found.test) if part == "test" else None
        yield Source(name, whole_task(prepared), prepared.rows(found.train), scored, made.features)


def whole_task(prepared: Prepared) -> Task:
    """The task without images."""
    return Task(prepared.dataset.class_names, prepared.text, logit_scale=prepared.logit_scale)


def tower_sources(folder: Path, *, two: bool) -> Iterator[Source]:
    """Every ordered pair of encoders, or every encoder by itself."""
    bundles = [prepare(open_data(folder / f"whurs19_{encoder}.npz"), None) for encoder in ENCODERS]
    for encoder, first in zip(ENCODERS, bundles, strict=True):
        for other in bundles if two else [first]:
            if two and other is first:
                continue
            yield Source(encoder, whole_task(first), replace(first.features, second=other.features.x if two else None))


Column = tuple[int, int]
"""Real and generated images of each class."""


def measure(
    sources: Sequence[Source],
    methods: dict[str, Method],
    columns: Sequence[Column],
    draws: int,
) -> dict[tuple[str, Column], np.ndarray]:
    """Mean accuracy of each task, by method and column; left out where a method has nothing to fit on."""
    found: dict[tuple[str, Column], np.ndarray] = {}
    for column in columns:
        values: dict[str, list[float]] = {name: [] for name in methods}
        for source in sources:
            cases = [source.draw(*column, seed) for seed in range(draws)]
            for name, method in methods.items():
                right = [(method.fit(task)(x).argmax(1) == x.labels).double().mean() for task, x in cases]
                values[name].append(float(torch.stack(right).mean()))
        found |= {(name, column): np.array(v) for name, v in values.items()}
        print(f"{column} done", file=sys.stderr, flush=True)
    return found


def show(
    sources: Sequence[Source],
    methods: dict[str, Method],
    columns: Sequence[Column],
    *,
    draws: int,
    heading: Callable[[Column], str],
) -> None:
    """Accuracy of each method, and below it the paired difference to the first."""
    found, clusters = measure(sources, methods, columns, draws), [source.cluster for source in sources]
    first, *others = methods
    head = [heading(column) for column in columns]
    rows = [[name, *(percent(clustered(found[name, c], clusters)) for c in columns)] for name in methods]
    gaps = [
        [n, *(percent(clustered(found[n, c] - found[first, c], clusters), signed=True) for c in columns)]
        for n in others
    ]
    for table in ([["top-1, %", *head], *rows], [[f"less {first}", *head], *gaps]):
        print("\n" + markdown(table), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="generated, towers")
    parser.add_argument("--part", choices=["development", "test"], default="development")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--shared", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "the embedded model")
    wanted = options.parts or ["generated", "towers"]
    if unknown := set(wanted) - {"generated", "towers"}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; choose among generated, towers.")
    if "generated" in wanted:
        sources = [*embedded_sources(options.part)]
        for made in (0, PER_CLASS):
            columns = [(shots, made) for shots in SHOTS if shots or made]
            show(sources, METHODS, columns, draws=options.draws, heading="{0[0]} real + {0[1]} generated".format)
    if "towers" in wanted:
        folder = shared_folder(options.shared)
        for two in (False, True):
            columns = [(shots, 0) for shots in SHOTS[1:]]
            some = {n: METHODS[n] for n in METHODS if not two or n.startswith(("CaFo", "GDA", "ZeroShot"))}
            print("\n" + ("two towers" if two else "one tower"))
            show(
                [*tower_sources(folder, two=two)], some, columns, draws=options.draws, heading="{0[0]} per class".format
            )


if __name__ == "__main__":
    main()
