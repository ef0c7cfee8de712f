"""RegFT and what costs seconds, from class names alone: tuned on generated images, scored on real ones.

    python benchmarks/regft.py                     5 seeds on digits and shapes: about half an hour on one core
    python benchmarks/regft.py --sets digits --part train --seeds 1    development: scores the training part

For each seed the renderer makes 64 images per class, and 16 more that nothing is fitted on. Four towers are tuned on
the 64: with cross-entropy alone, with the variance term, with the covariance term, and with both; every merge of each
is scored on the real test part and on the 16. Methods on stored features see the same 64. Unlabeled images, where an
alpha is chosen without labels, are those of the real training part.

Accuracies are means over seeds, in brackets Student's 95 % interval over them; differences are paired by seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from clipwright.api import generate
from clipwright.backbones import resolve
from clipwright.core.intervals import over_draws
from clipwright.core.tensors import unit_rows
from clipwright.data import open_data
from clipwright.methods import make
from clipwright.methods.base import class_texts
from clipwright.methods.image_batches import ImageBatches
from clipwright.methods.merge_choice import GRID, best_alpha, mutual_information, neighbour_agreement
from clipwright.methods.regft import RegFT
from clipwright.methods.regft_fit import JUDGED, Merging, Tuning, chunks, tune
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.protocol.splits import pools
from clipwright.task import Features, Task

PER_CLASS, HELD_OUT = 64, 16
LOSSES: dict[str, dict[str, Any]] = {
    "cross-entropy": {"variance": 0, "covariance": 0},
    "+ V": {"covariance": 0},
    "+ C": {"variance": 0},
    "+ V + C": {},
}
CHEAP = ("ZeroShot", "TipAdapter", "TIPX", "CaFo", "GDA", "NearestMean", "LinearProbe")


@dataclass(frozen=True)
class Seen:
    """Pixels of some rows, decoded once, with what they are scored by."""

    pixels: list[torch.Tensor]
    rows: Features

    @classmethod
    def of(cls, rows: Features, tower: Any) -> Seen:
        """Clean views."""
        with ImageBatches(rows, tower, seed=0) as images:
            return cls([images(part) for part in chunks(len(rows))], rows)

    def logits(self, merging: Merging, alpha: float) -> torch.Tensor:
        """(n, C) of a merge."""
        update, weight, bias = merging(alpha)
        module = merging.applied(update)
        with torch.no_grad():
            x = torch.cat([module(part).float().cpu() for part in self.pixels])
        return torch.nn.functional.normalize(x, dim=1) @ weight.T + bias

    def accuracy(self, logits: torch.Tensor) -> float:
        """In percent."""
        return 100 * float((logits.argmax(1) == self.rows.labels).double().mean())


def made_by_the_renderer(name: str, seed: int, per_class: int, folder: Path) -> Prepared:
    """Generated images of a data set's classes."""
    generate(name, folder, per_class=per_class, seed=seed, quiet=True)
    return prepare(open_data(folder), resolve("tiny", device="cpu"), quiet=True)


def run_seed(name: str, seed: int, part: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All figures of one seed, as rows."""
    real = prepare(open_data(name), resolve("tiny", device="cpu"), quiet=True)
    found = pools(real.dataset)
    assert found.test is not None
    scored = found.test if part == "test" else found.train
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        made = made_by_the_renderer(name, 1 + seed, PER_CLASS, Path(folder) / "made")
        apart = made_by_the_renderer(name, 1001 + seed, HELD_OUT, Path(folder) / "apart")
        support = replace(made.rows(np.arange(len(made.dataset))), generated=torch.ones(len(made.dataset)) > 0)
        task = real.granting(replace(real.task(seed=seed), support=support), RegFT())
        order = np.random.default_rng(seed).permutation(found.train)[:JUDGED]
        judged = real.rows(np.sort(order)).without_labels()
        sets = {"real": real.rows(scored), "generated": apart.rows(np.arange(len(apart.dataset)))}
        seen = {role: Seen.of(features, task.access) for role, features in sets.items()}
        seen["unlabeled"] = Seen.of(judged, task.access)
        for title, terms in LOSSES.items():
            rows += tuned_rows(title, RegFT(**terms, **options), task, seen)
        for method in CHEAP:
            start = time.perf_counter()
            fitted = make(method).fit(replace(task, access=None))
            seconds = time.perf_counter() - start
            scores = {role: 100 * float((fitted(f).argmax(1) == f.labels).double().mean()) for role, f in sets.items()}
            rows.append({"arm": method, "alpha": None, "seconds": seconds, **scores})
    return [{"data": name, "seed": seed, **row} for row in rows]


def tuned_rows(title: str, method: RegFT, task: Task, seen: Mapping[str, Seen]) -> list[dict[str, Any]]:
    """One tuning, and every merge of it."""
    assert task.support is not None
    begun = time.perf_counter()
    tuning = Tuning.of(method, task, task.support)
    tuned = tune(tuning, task.logit_scale * unit_rows(class_texts(task, method.averaging)).float())
    seconds = time.perf_counter() - begun
    merging, rows = Merging(tuning, tuned), []
    for alpha in GRID:
        row: dict[str, Any] = {"arm": title, "alpha": alpha, "seconds": seconds}
        row |= {role: seen[role].accuracy(seen[role].logits(merging, alpha)) for role in ("real", "generated")}
        logits = seen["unlabeled"].logits(merging, alpha)
        row["mutual information"] = mutual_information(logits)
        row["neighbour agreement"] = neighbour_agreement(logits, seen["unlabeled"].rows.x.float())
        row["variance"], row["covariance"] = (tuned.log[-1][n] for n in ("variance", "covariance"))
        rows.append(row)
    return rows


def cell(values: Sequence[float], *, sign: bool = False) -> str:
    """Mean with its interval over seeds."""
    mean, found = np.mean(values), over_draws(values)
    form = "+.1f" if sign else ".1f"
    return f"{mean:{form}}" + (f" ({found.low:{form}} to {found.high:{form}})" if len(values) > 1 else "")


@dataclass(frozen=True)
class Scores:
    """The rows of one data set."""

    rows: Sequence[dict[str, Any]]

    @property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({row["seed"] for row in self.rows})

    def of(self, arm: str, alpha: float | None, role: str) -> list[float]:
        """A figure per seed."""
        found = {row["seed"]: row[role] for row in self.rows if (row["arm"], row["alpha"]) == (arm, alpha)}
        return [found[seed] for seed in self.seeds]

    def chosen(self, arm: str, by: str, role: str) -> list[float]:
        """A figure per seed, at the alpha that is best by another one."""
        values = []
        for seed in self.seeds:
            curve = {row["alpha"]: row for row in self.rows if (row["arm"], row["seed"]) == (arm, seed)}
            values.append(curve[best_alpha({alpha: row[by] for alpha, row in curve.items()})][role])
        return values

    def table(self) -> dict[str, tuple[list[float], list[float]]]:
        """Accuracy on real and on generated images by what was done; the latter may be empty."""
        both = ("real", "generated")
        arms: dict[str, tuple[list[float], ...]] = {"ZeroShot": tuple(self.of("ZeroShot", None, r) for r in both)}
        for title in LOSSES:
            arms[f"{title}, alpha 1"] = tuple(self.of(title, 1.0, role) for role in both)
        for title, shown in (("cross-entropy", "cross-entropy, merged"), ("+ V + C", "RegFT: + V + C, merged")):
            arms[f"{shown}, alpha 0.5"] = tuple(self.of(title, 0.5, role) for role in both)
            for by in ("neighbour agreement", "mutual information"):
                arms[f"{shown}, alpha by {by}"] = tuple(self.chosen(title, by, role) for role in both)
            arms[f"{shown}, alpha by the scored part (no method)"] = (self.chosen(title, "real", "real"), [])
        for method in CHEAP[1:]:
            arms[method] = tuple(self.of(method, None, role) for role in both)
        return {title: (values[0], values[1]) for title, values in arms.items()}

    def show(self) -> None:
        """Print tables."""
        print("| | real | less ZeroShot | generated, held out |\n|---|---|---|---|")
        base = self.of("ZeroShot", None, "real")
        for title, (real, apart) in self.table().items():
            less = "" if title == "ZeroShot" else cell(np.subtract(real, base).tolist(), sign=True)
            print(f"| {title} | {cell(real)} | {less} | {cell(apart) if apart else ''} |")
        gain = [np.subtract(self.of("+ V + C", a, "real"), self.of("cross-entropy", a, "real")) for a in (0.5, 1.0)]
        words = [cell(values.tolist(), sign=True) for values in gain]
        print(f"\nV and C add {words[0]} points at alpha 0.5, {words[1]} at alpha 1.\n")
        print("| alpha | " + " | ".join(f"{a:g}" for a in GRID) + " |\n|" + "---|" * (len(GRID) + 1))
        for title in LOSSES:
            for role in ("real", "generated"):
                means = (np.mean(self.of(title, alpha, role)) for alpha in GRID)
                print(f"| {title}, {role} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |")
        times = {arm: np.mean([r["seconds"] for r in self.rows if r["arm"] == arm]) for arm in (*LOSSES, *CHEAP)}
        print("\nSeconds: " + ", ".join(f"{arm} {value:.1f}" for arm, value in times.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="digits,shapes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--set", action="append", default=[], metavar="key=value", help="a field of RegFT")
    parser.add_argument("--rows", type=Path, help="where to keep rows; those there are not computed again")
    parsed = parser.parse_args()
    warnings.filterwarnings("ignore", message="the embedded model")
    torch.set_num_threads(1)
    options = {key: json.loads(value) for key, _, value in (pair.partition("=") for pair in parsed.set)}
    kept: list[dict[str, Any]] = []
    if parsed.rows is not None and parsed.rows.exists():
        kept = [json.loads(line) for line in parsed.rows.read_text().splitlines()]
    for name in parsed.sets.split(","):
        for seed in range(parsed.seeds):
            if any(row["data"] == name and row["seed"] == seed for row in kept):
                continue
            fresh = run_seed(name, seed, parsed.part, options)
            kept += fresh
            if parsed.rows is not None:
                with parsed.rows.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in fresh)
            print(f"{name}, seed {seed}: done", file=sys.stderr, flush=True)
    for name in dict.fromkeys(row["data"] for row in kept):
        print(f"\n## {name}\n")
        Scores([row for row in kept if row["data"] == name]).show()


if __name__ == "__main__":
    main()
