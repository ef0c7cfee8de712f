"""How far automatic choice is from the best method of each task, beside every method used throughout.

    python benchmarks/auto.py --cells cells.jsonl                 # run (resumes; about an hour a draw on one core)
    python benchmarks/auto.py --cells cells.jsonl --only clip_rn50,digits
    python benchmarks/auto.py --cells cells.jsonl --report        # print the tables of docs/auto.md

Tasks are those of benchmarks/auto_tasks.py. Each method is fitted with its defaults on the same support sets and scored
on the same images. The oracle of a task at a number of labels is the method that is best there on average over draws,
chosen with the test labels: nobody can use it. Draw 0 of WHU-RS19 and the development parts of the embedded data were
looked at while the rules were made; neither is scored here. Regret is how many points a method stays behind it. A task
counts for a method that can't run on it (no names) with what LinearProbe gives, so that it isn't blamed for it.

Intervals are 95 % percentile intervals of a bootstrap over clusters (four encoders, seven embedded data sets).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.auto_tasks import Trial, trials
from benchmarks.evidence import clustered, markdown, percent

from clipwright.core.errors import NeedsError
from clipwright.core.journal import Journal
from clipwright.methods import make, names
from clipwright.methods.base import Method
from clipwright.protocol.auto import Auto

SHOTS = (1, 2, 4, 8, 16)
MANY = 50  # classes from which only 1 and 4 labels are tried, one draw, for the sake of time
LEFT = 4  # images per class that are left to score
FIRST = 1  # draw 0 of WHU-RS19 was looked at while the rules were made
STANDS_IN = "LinearProbe"


def methods() -> dict[str, Method]:
    """Every method that learns from stored features and labels, ZeroShot, and auto."""
    return {name: make(name) for name in names() if name != "ProLIP"} | {"auto": Auto()}


def run(trial: Trial, journal: Journal, done: set[tuple[Any, ...]], draws: int) -> None:
    """All cells of one task that aren't there yet."""
    labels = trial.prepared.dataset.labels
    classes = len(trial.prepared.dataset.class_names)
    most = int(np.bincount(labels[trial.train], minlength=classes).min()) - (0 if trial.test is not None else LEFT)
    shots = [k for k in ((1, 4) if classes > MANY else SHOTS) if k <= most]
    first = FIRST if trial.test is None else 0
    for draw in range(first, first + (1 if classes > MANY else draws)):
        rows = trial.scored(shots[-1], draw)
        features, truth = trial.prepared.rows(rows).without_labels(), labels[rows]
        for k in shots:
            task = trial.prepared.task(trial.support(k, draw), seed=1000 * draw + k)
            for name, method in methods().items():
                if (trial.name, k, draw, name) in done:
                    continue
                try:
                    method.check(task)
                except NeedsError:
                    continue
                start = time.process_time()
                fitted = method.fit(task)
                seconds = time.process_time() - start
                predicted = fitted(features).argmax(1).cpu().numpy()
                row: dict[str, Any] = {"task": trial.name, "cluster": trial.cluster, "names": trial.setting.names}
                row |= {"imbalanced": trial.setting.imbalanced, "shots": k, "draw": draw, "method": name}
                row |= {"top1": float((predicted == truth).mean()), "n": len(truth), "seconds": seconds}
                if name == "auto":
                    row |= {"picked": fitted.trace.chosen["method"], "how": fitted.trace.how["method"]}
                journal.append(row)


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """(task, shots) by method: accuracies averaged over draws.

    Attributes:
        accuracy: (T, M).
        methods: M names, auto last.
        shots: (T,).
        clusters: T names.
        rows: T descriptions.
    """

    accuracy: np.ndarray
    methods: list[str]
    shots: np.ndarray
    clusters: list[str]
    rows: list[dict[str, Any]]

    @classmethod
    def of(cls, cells: Sequence[dict[str, Any]]) -> Table:
        """Average the draws; what a method can't run is filled in."""
        named = [*dict.fromkeys(c["method"] for c in cells if c["method"] != "auto"), "auto"]
        keys = dict.fromkeys((c["task"], c["shots"]) for c in cells if c["method"] == "auto")
        found: dict[tuple[str, int], dict[str, list[float]]] = {key: {} for key in keys}
        about = {(c["task"], c["shots"]): c for c in cells}
        for c in cells:
            if (c["task"], c["shots"]) in found:
                found[c["task"], c["shots"]].setdefault(c["method"], []).append(c["top1"])
        values = np.array([[np.mean(f.get(m, f[STANDS_IN])) for m in named] for f in found.values()])
        shots = np.array([k for _, k in keys])
        return cls(values, named, shots, [about[k]["cluster"] for k in keys], [about[k] for k in keys])

    def regret(self) -> np.ndarray:
        """(T, M) distance to the best method of each task, auto not among those."""
        best = self.accuracy[:, : len(self.methods) - 1].max(axis=1, keepdims=True)
        found: np.ndarray = best - self.accuracy
        return found

    def regret_table(self) -> list[list[str]]:
        """Mean regret of each method, and at each number of labels."""
        gaps = self.regret()
        numbers = sorted(set(self.shots.tolist()))
        order = np.argsort(gaps.mean(axis=0), kind="stable")
        rows = [["regret, points", "all", *(f"{k} label{'s' * (k > 1)}" for k in numbers)]]
        for m in order.tolist():
            parts = [gaps[:, m], *(gaps[self.shots == k, m] for k in numbers)]
            where = [
                self.clusters,
                *([c for c, s in zip(self.clusters, self.shots, strict=True) if s == k] for k in numbers),
            ]
            shown = [percent(clustered(p, w)) for p, w in zip(parts, where, strict=True)]
            rows.append([f"**{self.methods[m]}**" if self.methods[m] == "auto" else self.methods[m], *shown])
        return rows

    def against_best(self) -> list[list[str]]:
        """At each number of labels: the best method used throughout, and the paired difference of auto to it."""
        rows = [["labels per class", "tasks", "best fixed method", "its accuracy", "auto", "auto less it"]]
        for k in sorted(set(self.shots.tolist())):
            here = self.shots == k
            part, where = self.accuracy[here], [c for c, h in zip(self.clusters, here, strict=True) if h]
            best = int(part[:, :-1].mean(axis=0).argmax())
            gap = clustered(part[:, -1] - part[:, best], where)
            one, other = (percent(clustered(part[:, m], where)) for m in (best, -1))
            rows.append([str(k), str(int(here.sum())), self.methods[best], one, other, percent(gap, signed=True)])
        return rows

    def by_setting(self) -> list[list[str]]:
        """Mean regret of auto and of the best fixed methods by what is wrong with the task."""
        gaps = self.regret()
        fixed = [int(m) for m in np.argsort(gaps[:, :-1].mean(axis=0), kind="stable")[:3]]
        rows = [["regret, points", "tasks x labels", "auto", *(self.methods[m] for m in fixed)]]
        kinds: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            embedded = "/" not in row["task"]
            kind = "embedded data" if embedded else f"{row['names']} names" + ", imbalanced" * row["imbalanced"]
            kinds.setdefault(kind, []).append(i)
        for kind, index in kinds.items():
            rows.append([kind, str(len(index)), *(f"{100 * gaps[index, m].mean():.1f}" for m in (-1, *fixed))])
        return rows


def picks(cells: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Share of fits in which auto picked each candidate, by number of labels."""
    numbers = sorted({c["shots"] for c in cells})
    chosen = {k: Counter(c["picked"] for c in cells if c["method"] == "auto" and c["shots"] == k) for k in numbers}
    every = sorted({name for c in chosen.values() for name in c})
    rows = [["picked, % of fits", *(f"{k} label{'s' * (k > 1)}" for k in numbers)]]
    return rows + [[name, *(f"{100 * chosen[k][name] / chosen[k].total():.0f}" for k in numbers)] for name in every]


def costs(cells: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Median processor seconds of one fit."""
    by: dict[str, list[float]] = {}
    for c in cells:
        by.setdefault(c["method"], []).append(c["seconds"])
    order = sorted(by, key=lambda m: float(np.median(by[m])))
    return [["", *order], ["median seconds of a fit", *(f"{np.median(by[m]):.2g}" for m in order)]]


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, nargs="+", required=True, help="JSON lines of finished cells")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("CLIPWRIGHT_SHARED", "../shared")))
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--only", help="clusters, with commas between them")
    parser.add_argument("--part", choices=("development", "test"), default="test", help="of the embedded data")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if not args.report:
        journal = Journal(args.cells[0])
        done = {(r["task"], r["shots"], r["draw"], r["method"]) for r in journal.rows()}
        for trial in trials(args.shared / "realdata", part=args.part):
            if args.only and trial.cluster not in args.only.split(","):
                continue
            start = time.perf_counter()
            run(trial, journal, done, args.draws)
            print(f"{trial.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        return
    cells = [row for path in args.cells for row in Journal(path).rows()]
    table = Table.of(cells)
    clusters = len(set(table.clusters))
    print(f"{len({c['task'] for c in cells})} tasks in {clusters} clusters, {len(table.rows)} tasks x labels.\n")
    for part in (table.against_best(), table.regret_table(), table.by_setting(), picks(cells), costs(cells)):
        print(markdown(part) + "\n")


if __name__ == "__main__":
    main()
