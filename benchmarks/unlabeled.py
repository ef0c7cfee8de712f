"""What to fit with class names and unlabeled images but no label, over many tasks.

    python benchmarks/unlabeled.py --cells cells.jsonl                  # draw 0 and the development parts: to choose on
    python benchmarks/unlabeled.py --cells fresh.jsonl --fresh          # draws 1 and 2 and the test parts: to report
    python benchmarks/unlabeled.py --cells fresh.jsonl --report         # print the tables of docs/auto.md

Tasks: WHU-RS19 with four encoders, all 19 classes, ten and five of them, all prompts or a weak single one (as in
benchmarks/auto_tasks.py); and the embedded data sets with all that is written of their classes. Half of the images are
the pile that may be looked at, the other half is scored, by the head alone. With a test part, the training part is the
pile and the test part is scored. `PILES` of benchmarks/unlabeled_tasks.py are what a pile may hold. Where strangers are
among the images, a random quarter of the classes is taken off the list and 20 % of the pile is from those; or, far
strangers, from another embedded data set. Only images of listed classes are scored.

Regret is how many points a method stays behind the best candidate of each task and pile, which nobody can know.
Intervals are 95 % percentile intervals of a bootstrap over clusters (four encoders, seven data sets). A method that
asks for texts about the classes counts where there are none as what it is without them.

``--labels`` runs, and with ``--report`` prints, something else: what the pile adds to 1 and 4 labels per class, on draw
1 alone with ``--fresh``.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from benchmarks.evidence import ENCODERS, clustered, markdown, percent
from benchmarks.unlabeled_tasks import PILES, Case, Ints, cases, piles

from clipwright.core.journal import Journal
from clipwright.core.rng import generator
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.methods.transductive import Transductive
from clipwright.protocol.auto import Auto
from clipwright.protocol.candidates import is_described
from clipwright.task import Features

Cell = dict[str, Any]
Rule = Callable[[dict[str, Cell]], str]
AGREEING = make("CODER", agreement="auto", rerank=False, few_shot=False)


class Described(Transductive):
    """Transductive with CODER's answer as the prior."""

    @property
    def _base(self) -> Method:
        return AGREEING


METHODS: dict[str, Method] = {
    "ZeroShot": make("ZeroShot"),
    "Transductive": make("Transductive"),
    "Transductive, anchor 1": make("Transductive", anchor=1),
    "Transductive, as published": make("Transductive", anchor=0, class_prior=0, confident=8),
    "LabelPropagation": make("LabelPropagation"),
    "LabelPropagation, shared part removed": make("LabelPropagation", remove_shared=True),
    "CODER": AGREEING,
    "Transductive on CODER": Described(),
}
WITHOUT = {"CODER": "ZeroShot", "Transductive on CODER": "Transductive"}
"""What a method that reads texts about the classes is without them."""

WITH_LABELS: dict[str, Method] = {
    "auto, labels alone": Auto(),
    "GDA": make("GDA"),
    "TaskRes": make("TaskRes"),
    "Transductive": make("Transductive"),
    "Transductive on GDA": make("Transductive", base="gda"),
    "Transductive on TaskRes": make("Transductive", base="taskres"),
}


# --- running ----------------------------------------------------------------------------------------------------------


def right(logits: torch.Tensor, wanted: Ints) -> float:
    return float((logits.argmax(1).cpu().numpy() == wanted).mean())


def run(case: Case, draw: int) -> Iterator[Cell]:
    """Every method on every pile; what the pile says of itself beside the methods that can be asked."""
    for pile in piles(case, draw):
        task = case.task(pile.text, pile.pile, seed=draw)
        about = {"task": case.name, "cluster": case.cluster, "draw": draw, "pile": pile.kind}
        about |= {"n": len(pile.pile), "classes": pile.text.n_classes, "described": is_described(task)}
        names = None
        for name, method in {**METHODS, "auto": Auto()}.items():
            if name in WITHOUT and not is_described(task):
                continue
            fitted = method.fit(task)
            inside = fitted(task.unlabeled) if task.unlabeled is not None else pile.pile.x
            guess = inside.argmax(1)
            names = guess if names is None else names
            row: Cell = {**about, "method": name, "top1": right(fitted(pile.scored), pile.wanted)}
            row["changed"] = float((guess != names).double().mean())
            if name in {"ZeroShot", "Transductive", "Transductive, anchor 1"}:
                row["guessed"] = torch.bincount(guess, minlength=pile.text.n_classes).tolist()
            if name == "auto":
                row["picked"] = fitted.trace.chosen["method"]
                row["notes"] = fitted.trace.notes
            yield row


def run_labels(case: Case, draw: int) -> Iterator[Cell]:
    """1 and 4 labels per class beside the complete pile."""
    pool, scored = case.halves(draw)
    pool = generator(draw, "unlabeled", "labels").permutation(pool)
    for shots in (1, 4):
        rows = np.concatenate([np.flatnonzero(case.y[pool] == c)[:shots] for c in range(case.text.n_classes)])
        support = Features(case.x[pool[rows]].x, case.y[pool[rows]])
        task = case.task(case.text, case.x[np.delete(pool, rows)], support, seed=draw)
        for name, method in WITH_LABELS.items():
            top1 = right(method.fit(task)(case.x[scored]), case.y[scored])
            yield {"task": case.name, "cluster": case.cluster, "draw": draw, "pile": "labels", "method": name} | {
                "shots": shots,
                "top1": top1,
            }


# --- figures ----------------------------------------------------------------------------------------------------------


def by_presence(otherwise: str, *, least: float = 0.1, images: float = 2, sparse: float = 0) -> Rule:
    """Transductive, unless it gives a class fewer images than `least` of an even pile, or the pile is small.

    Below `sparse` images per class on average it is the one with anchor 1.
    """

    def rule(cells: dict[str, Cell]) -> str:
        even = cells["ZeroShot"]["n"] / cells["ZeroShot"]["classes"]
        what = "Transductive, anchor 1" if even < sparse else "Transductive"
        return what if even >= images and min(cells[what]["guessed"]) >= least * even else otherwise

    return rule


RULES: dict[str, Rule] = {
    "Transductive from 5 images per class, else names": by_presence("ZeroShot", least=0, images=5),
    "Transductive with images of each class, else names": by_presence("ZeroShot"),
    "auto's rule, else LabelPropagation": by_presence("LabelPropagation", images=0, sparse=8),
}


def table(cells: Sequence[Cell]) -> tuple[list[Cell], dict[str, np.ndarray]]:
    """(task, pile) descriptions, and the accuracy of every method and rule on each, averaged over draws."""
    groups: dict[tuple[str, str, int], dict[str, Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["task"], cell["pile"], cell["draw"]), {})[cell["method"]] = cell
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    about: dict[tuple[str, str], Cell] = {}
    for (task, pile, _), methods in groups.items():
        first = methods["ZeroShot"]
        values = {m: methods[m if m in methods else WITHOUT[m]]["top1"] for m in METHODS}
        values |= {name: values[rule(methods)] for name, rule in RULES.items()}
        values |= {"auto": methods["auto"]["top1"]} if "auto" in methods else {}
        found.setdefault((task, pile), []).append(values)
        about[task, pile] = first
    names = [*METHODS, *RULES, "auto"] if all("auto" in v[0] for v in found.values()) else [*METHODS, *RULES]
    return list(about.values()), {m: np.array([np.mean([v[m] for v in vs]) for vs in found.values()]) for m in names}


def methods_table(rows: list[Cell], values: dict[str, np.ndarray], *, regret: bool) -> list[list[str]]:
    """Accuracy or regret of each method, by what the pile holds."""
    best = np.max([values[m] for m in METHODS], axis=0)
    kinds = [k for k in PILES if any(r["pile"] == k for r in rows)]
    clusters = [r["cluster"] for r in rows]
    shown = [["regret, points" if regret else "top-1, %", "all", *kinds]]
    order = sorted(values, key=lambda m: -values[m].mean())
    for m in order:
        x = best - values[m] if regret else values[m]
        parts = [x[[r["pile"] == k for r in rows]].mean() for k in kinds]
        shown.append([m, percent(clustered(x, clusters)), *(f"{100 * p:.1f}" for p in parts)])
    return shown


def against(rows: list[Cell], values: dict[str, np.ndarray], one: str) -> list[list[str]]:
    """Paired differences of one method to the others, WHU-RS19, embedded data and all."""
    clusters = np.array([r["cluster"] for r in rows])
    real = np.isin(clusters, ENCODERS)
    shown = [[f"{one} less", "all", "WHU-RS19", "embedded data", "largest loss on a task and pile"]]
    for m, value in values.items():
        if m != one:
            gap = values[one] - value
            every = (np.full(len(gap), True), real, ~real)
            spans = [percent(clustered(gap[w], clusters[w].tolist()), signed=True) for w in every]
            shown.append([m, *spans, f"{100 * gap.min():.1f}"])
    return shown


WARNINGS = {"unlisted classes": "look less like their", "absent classes": "Next to no", "uneven": "seem to be uneven"}


def warnings_table(cells: Sequence[Cell]) -> list[list[str]]:
    """How often auto picks Transductive, and how often it warns of what, on WHU-RS19 and embedded data."""
    shown = [["% of WHU-RS19 / embedded data", "piles", "picks Transductive", *(f"warns: {w}" for w in WARNINGS)]]
    for kind in PILES:
        groups = [
            [c for c in cells if c["method"] == "auto" and c["pile"] == kind and (c["cluster"] in ENCODERS) == real]
            for real in (True, False)
        ]
        picked = [[c["picked"] == "Transductive" for c in group] for group in groups]
        told = [[[any(w in n for n in c["notes"]) for c in group] for group in groups] for w in WARNINGS.values()]
        shares = [" / ".join(f"{100 * np.mean(x):.0f}" if x else "-" for x in pair) for pair in (picked, *told)]
        shown.append([kind, " / ".join(str(len(group)) for group in groups), *shares])
    return shown


def changes_table(cells: Sequence[Cell]) -> list[list[str]]:
    """What auto gains where it picks Transductive, by the share of answers that this changes."""
    names = {(c["task"], c["pile"], c["draw"]): c["top1"] for c in cells if c["method"] == "ZeroShot"}
    auto = [c for c in cells if c["method"] == "auto" and c["picked"] == "Transductive"]
    gains = np.array([c["top1"] - names[c["task"], c["pile"], c["draw"]] for c in auto])
    changed = np.array([c["changed"] for c in auto])
    shown = [["answers changed", "fits", "mean gain, points", "smallest", "largest"]]
    for low, high in ((0, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 1.01)):
        if (here := (changed >= low) & (changed < high)).any():
            x = 100 * gains[here]
            figures = [str(here.sum()), *(f"{v:+.1f}" for v in (x.mean(), x.min(), x.max()))]
            shown.append([f"{100 * low:.0f} to {min(100, 100 * high):.0f} %", *figures])
    return shown


def labels_table(cells: Sequence[Cell]) -> list[list[str]]:
    """What the pile adds to few labels."""
    shown = [["top-1, %", *(f"{k} label{'s' * (k > 1)}, {w}" for k in (1, 4) for w in ("WHU-RS19", "embedded data"))]]
    means: dict[tuple[str, int, str, str], list[float]] = {}
    for c in cells:
        means.setdefault((c["method"], c["shots"], c["cluster"], c["task"]), []).append(c["top1"])
    for m in WITH_LABELS:
        line = [m]
        for k in (1, 4):
            for real in (True, False):
                keys = [key for key in means if key[:2] == (m, k) and (key[2] in ENCODERS) == real]
                x = np.array([np.mean(means[key]) for key in keys])
                base = np.array([np.mean(means["auto, labels alone", *key[1:]]) for key in keys])
                where = [key[2] for key in keys]
                gap = "" if m.startswith("auto") else f", {percent(clustered(x - base, where), signed=True)}"
                line.append(f"{100 * x.mean():.1f}{gap}")
        shown.append(line)
    return shown


def report(cells: Sequence[Cell]) -> None:
    """All tables."""
    rows, values = table(cells)
    print(f"{len({r['task'] for r in rows})} tasks, {len(rows)} tasks x piles.\n")
    one = "auto" if "auto" in values else "Transductive"
    for part in (
        methods_table(rows, values, regret=False),
        methods_table(rows, values, regret=True),
        against(rows, values, one),
        warnings_table(cells),
        changes_table(cells),
    ):
        print(markdown(part) + "\n")


def main() -> None:
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, required=True, help="JSON lines of finished cells")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("CLIPWRIGHT_SHARED", "../shared")))
    parser.add_argument("--fresh", action="store_true", help="draws 1 and 2, test parts of the embedded data")
    parser.add_argument("--labels", action="store_true", help="1 and 4 labels per class beside the pile")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    journal = Journal(args.cells)
    if args.report:
        cells = journal.rows()
        labelled = [c for c in cells if c["pile"] == "labels"]
        print(markdown(labels_table(labelled))) if args.labels else report([c for c in cells if c not in labelled])
        return
    done = {(c["task"], c["draw"], c["pile"] == "labels") for c in journal.rows()}
    for case in cases(args.shared / "realdata", "test" if args.fresh else "development"):
        for draw in (1,) if args.fresh and args.labels else (1, 2) if args.fresh else (0,):
            if (case.name, draw, args.labels) not in done and not (case.parts is not None and draw > 1):
                journal.extend([*(run_labels if args.labels else run)(case, draw)])
        print(case.name, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
