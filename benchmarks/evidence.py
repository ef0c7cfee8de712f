"""The numbers of a method's page: any methods over many tasks, with intervals and paired differences.

    python benchmarks/evidence.py TaskRes GDA 'TipAdapter:alpha=1,beta=5.5' --shots 1,2,4,8,16 --draws 5 --markdown
    python benchmarks/evidence.py TaskRes TaskRes:alpha=1 --group whurs19 --fast --out alpha.json

The first method is the one that the others are compared with. A method may carry a label: ``wide=TaskRes:alpha=1``.

Groups of tasks (``--group whurs19|embedded|all``):

- whurs19: aerial scenes, 1,005 images, features of four encoders, in the folder that ``--shared`` or the environment
  variable CLIPWRIGHT_SHARED names (default: ../shared); 60 tasks: encoder x classes x texts. Classes: all 19, two
  random subsets of 10 and two of 5. Texts: all 106 prompts, and two weak single ones, those at the 10th and the 50th
  percentile of zero-shot accuracy among the 106. Choosing them looks at all labels; that makes the task, and no method
  sees it. Each draw is scored on the images that its largest support set leaves.
- embedded: every data set of the package with the embedded model. With ``--part development``, the default, support
  sets and scored images both come from the training part: choose defaults there. ``--part test`` scores the test part.

Columns are labels per class. Accuracy is the mean over the tasks of a group, each the mean over its draws. Intervals
are 95 % percentile intervals of a bootstrap over clusters (encoder or data set): they say how far the mean depends on
which encoders or data sets were there; with four of them they are coarse. A task counts as won or lost where the 95 %
interval of its paired difference over draws and scored images excludes zero: with fewer than five draws next to
nothing is. ``--fast`` takes 24 of the 60 tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from clipwright.assets import datasets
from clipwright.backbones import resolve
from clipwright.core.errors import ClipwrightError, NeedsError, UsageError
from clipwright.core.intervals import Interval
from clipwright.core.rng import generator
from clipwright.data import open_data
from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.protocol.prepare import Prepared, add_views, prepare
from clipwright.protocol.results import Results
from clipwright.protocol.runner import run, versions
from clipwright.protocol.splits import pools
from clipwright.task import TextFeatures

Part = Literal["development", "test"]
ENCODERS = ("clip_rn50", "clip_vitb32", "remoteclip_vitb32", "georsclip_vitl14")
WEAK = (10, 50)  # percentiles of zero-shot accuracy over the prompts
SUBSETS = ((10, 0), (10, 1), (5, 0), (5, 1))  # classes, number of the subset
FAST_SUBSETS, FAST_WEAK = SUBSETS[::2], WEAK[:1]
REPLICATES = 10_000
LEFT = 4  # images per class that are to be left to score


@dataclass(frozen=True)
class Trial:
    """One task: features, texts and labels, and the cluster that it belongs to."""

    cluster: str
    prepared: Prepared


# --- tasks ------------------------------------------------------------------------------------------------------------


def whurs19(folder: Path, *, fast: bool = False) -> Iterator[Trial]:
    """The tasks of the four bundles in `folder`."""
    for encoder in ENCODERS:
        whole = prepare(open_data(folder / f"whurs19_{encoder}.npz"), None)
        dense = dense_texts(whole)
        weak = weak_prompts(whole, dense, FAST_WEAK if fast else WEAK)
        for name, classes in class_subsets(len(whole.dataset.class_names), FAST_SUBSETS if fast else SUBSETS).items():
            part = of_classes(whole, classes)
            for texts, prompts in {"all prompts": [*range(len(dense))], **weak}.items():
                data = replace(part.dataset, name=f"{encoder} / {name} / {texts}")
                yield Trial(encoder, replace(part, dataset=data, text=TextFeatures(dense[prompts][:, classes])))


def dense_texts(prepared: Prepared) -> torch.Tensor:
    """(P, C, D) text features of a bundle."""
    assert prepared.text is not None
    return prepared.text.x.reshape(-1, len(prepared.dataset.class_names), prepared.text.x.shape[1])


def weak_prompts(prepared: Prepared, dense: torch.Tensor, percentiles: Sequence[int]) -> dict[str, list[int]]:
    """The prompts at these percentiles of zero-shot accuracy; of equals, the first."""
    weight = torch.nn.functional.normalize(dense.float(), dim=-1)
    found = torch.einsum("nd,pcd->pnc", prepared.features.unit_x(), weight).argmax(-1)
    accuracy = (found == prepared.features.labels).double().mean(1).numpy()
    order = np.argsort(accuracy, kind="stable")
    return {f"prompt at {q} %": [int(order[round(q / 100 * (len(order) - 1))])] for q in percentiles}


def class_subsets(total: int, wanted: Sequence[tuple[int, int]]) -> dict[str, list[int]]:
    """All classes, and random subsets of them that are the same for every encoder."""
    drawn = {
        f"{size} classes, {'ab'[number]}": sorted(
            generator(0, "evidence", "classes", size, number).permutation(total)[:size].tolist()
        )
        for size, number in wanted
    }
    return {f"{total} classes": list(range(total))} | drawn


def of_classes(prepared: Prepared, classes: Sequence[int]) -> Prepared:
    """The rows of some classes, relabelled; without texts."""
    data = prepared.dataset
    part = data.take(np.flatnonzero(np.isin(data.labels, classes)))
    return prepare(part.align([data.class_names[c] for c in classes]), None)


def embedded(
    part: Part = "development", *, views: int = 0, only: Sequence[str] = (), texts: bool = False
) -> Iterator[Trial]:
    """Every embedded data set with the embedded model, where asked with all that is written of its classes."""
    ref = resolve("tiny", device="cpu")
    for name in only or datasets.names():
        data = open_data(name)
        rows = data.take(data.rows("train")) if part == "development" else data
        prepared = prepare(rows, ref, bank=name if texts else None, quiet=True)
        if views:
            prepared = add_views(prepared, pools(prepared.dataset).train, views, quiet=True)
        yield Trial(name, prepared)


# --- running ----------------------------------------------------------------------------------------------------------


def parse_method(text: str) -> tuple[str, Method]:
    """``[label=]Name[:field=value,...]`` as the name that tables show and the configured method."""
    labelled = re.fullmatch(r"([^=:]+)=([A-Za-z].*)", text)
    spec = labelled[2] if labelled else text
    name, _, settings = spec.partition(":")
    pairs = re.split(r",(?=\s*\w+=)", settings) if settings else []  # a comma inside a list is no border
    fields = dict(pair.split("=", 1) for pair in pairs)
    return (labelled[1] if labelled else text), make(name, **{k.strip(): v for k, v in fields.items()})


def possible_shots(prepared: Prepared, shots: Sequence[int]) -> list[int]:
    """Those numbers of shots that every class can give; without a test part, some images must be left over."""
    found = pools(prepared.dataset)
    counts = np.bincount(prepared.dataset.labels[found.train], minlength=len(prepared.dataset.class_names))
    most = int(counts.min()) - (0 if found.test is not None else LEFT)
    return [n for n in shots if n <= most]


def run_trial(trial: Trial, methods: dict[str, Method], shots: Sequence[int], draws: int, **options: Any) -> Results:
    """Every method that the task has the means for; the others are named on the error stream."""
    able = dict(methods)
    given = possible_shots(trial.prepared, shots)
    if not given:
        raise UsageError(f"{trial.prepared.dataset.name} has too few images per class for {list(shots)} shots.")
    sample = trial.prepared.task(pools(trial.prepared.dataset).train, unlabeled=[0])
    for name, method in methods.items():
        try:
            asked = trial.prepared.granting(replace(sample, query=trial.prepared.rows([0])), method)
            method.check(asked)
        except NeedsError as error:
            print(f"{trial.prepared.dataset.name}: {name} left out: {error}", file=sys.stderr)
            del able[name]
    if not able:
        raise NeedsError(f"{trial.prepared.dataset.name}: none of the methods can be run.")
    return run(trial.prepared, able, given, draws, quiet=True, keep=0, **options)


@dataclass(frozen=True)
class Outcome:
    """What came of one task."""

    trial: Trial
    results: Results

    @cached_property
    def group(self) -> tuple[str, str]:
        """What results call the task."""
        return self.trial.prepared.dataset.name, self.trial.prepared.backbone

    def shots_of(self, method: str, shots: int) -> int | None:
        """Where to look: a method that looks at no labels was run at 0 shots; None = not run."""
        for asked in (shots, 0):
            if self.results.values(method, asked, self.group) and self._reached(shots):
                return asked
        return None

    def _reached(self, shots: int) -> bool:
        return shots in self.results.runs[0]["shots"]

    def value(self, method: str, shots: int, metric: str = "top1") -> float | None:
        """Mean of a metric over the draws."""
        asked = self.shots_of(method, shots)
        if asked is None:
            return None
        return float(np.mean([*self.results.values(method, asked, self.group, metric).values()]))

    def difference(self, one: str, other: str, shots: int) -> Interval | None:
        """Paired difference over the draws."""
        sides = self.shots_of(one, shots), self.shots_of(other, shots)
        if sides[0] is None or sides[1] is None:
            return None
        return self.results.difference((one, sides[0]), (other, sides[1]), self.group)


# --- figures ----------------------------------------------------------------------------------------------------------


def clustered(values: ArrayLike, clusters: Sequence[str]) -> Interval:
    """Mean of values and its 95 % percentile interval over resampled clusters; unbounded with a single cluster."""
    x = np.asarray(values, dtype=np.float64)
    names, which = np.unique(np.asarray(clusters), return_inverse=True)
    mean = float(x.mean())
    if len(names) < 2:
        return Interval(mean, -np.inf, np.inf)
    sums, counts = np.bincount(which, x), np.bincount(which)
    chosen = generator(0, "evidence", "bootstrap").integers(len(names), size=(REPLICATES, len(names)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


@dataclass(frozen=True)
class Row:
    """One method at one number of shots.

    Attributes:
        accuracy: mean top-1 over tasks.
        difference: mean paired difference to the first method.
        won: tasks won, tied and lost against the first method.
        seconds: mean wall time of a fit.
        tasks: how many tasks there were.
    """

    accuracy: Interval
    difference: Interval
    won: tuple[int, int, int]
    seconds: float
    tasks: int


def row_of(outcomes: Sequence[Outcome], method: str, first: str, shots: int) -> Row | None:
    """The figures of one cell of the table; None where no task has both methods at this number of shots."""
    pairs = [(o, d) for o in outcomes if (d := o.difference(method, first, shots)) is not None]
    if not pairs:
        return None
    clusters = [o.trial.cluster for o, _ in pairs]

    def all_of(metric: str) -> list[float]:
        return [v for o, _ in pairs if (v := o.value(method, shots, metric)) is not None]

    ends = [(d.low > 0, d.high < 0) for _, d in pairs]
    won, lost = sum(a for a, _ in ends), sum(b for _, b in ends)
    return Row(
        clustered(all_of("top1"), clusters),
        clustered([d.mean for _, d in pairs], clusters),
        (won, len(pairs) - won - lost, lost),
        float(np.mean(all_of("seconds_fit"))),
        len(pairs),
    )


def percent(interval: Interval, *, signed: bool = False) -> str:
    """``91.2 (88.0 to 93.5)``, in percent; without brackets where the interval is unknown."""
    form = "{:+.1f}" if signed else "{:.1f}"
    mean, low, high = (form.format(100 * v) for v in (interval.mean, interval.low, interval.high))
    return f"{mean} ({low} to {high})" if interval.known else mean


def tables(outcomes: Sequence[Outcome], methods: Sequence[str], shots: Sequence[int]) -> list[list[list[str]]]:
    """Two tables of text: accuracies, and differences to the first method; first row and column are headings."""
    first, head = methods[0], [f"{n} shot{'s' * (n > 1)}" for n in shots]
    rows = {(m, n): row_of(outcomes, m, first, n) for m in methods for n in shots}

    def line(method: str, show: Callable[[Row], str]) -> list[str]:
        return [method, *(show(row) if (row := rows[method, n]) else "-" for n in shots)]

    seconds = {m: [r.seconds for n in shots if (r := rows[m, n])] for m in methods}
    accuracy = [["top-1, %", *head, "seconds per fit"]]
    accuracy += [
        [*line(m, lambda r: percent(r.accuracy)), f"{np.mean(seconds[m]):.2g}" if seconds[m] else "-"] for m in methods
    ]
    others = [
        line(m, lambda r: f"{percent(r.difference, signed=True)}, {'/'.join(map(str, r.won))}") for m in methods[1:]
    ]
    return [accuracy, [[f"against {first}", *head], *others]] if others else [accuracy]


def plain(table: list[list[str]]) -> str:
    """A table for the terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table)


def markdown(table: list[list[str]]) -> str:
    """A table for a page."""
    head, *body = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *body])


def caption(outcomes: Sequence[Outcome], group: str, options: argparse.Namespace) -> str:
    """What the table below shows."""
    clusters = len({o.trial.cluster for o in outcomes})
    what = "4 encoders" if group == "whurs19" else f"embedded data sets, {options.part} part"
    what = f"{clusters} {what}" if group == "embedded" else what
    fewer = {n: sum(n in o.results.runs[0]["shots"] for o in outcomes) for n in options.shots}
    lacking = "".join(f", {k} of them at {n} shots" for n, k in fewer.items() if k < len(outcomes))
    return f"{group}: {len(outcomes)} tasks ({what}){lacking}, {options.draws} draws each, seed {options.seed}."


def record(outcomes: Sequence[Outcome], group: str) -> Iterator[dict[str, Any]]:
    """Every cell, for the file."""
    for outcome in outcomes:
        for cell in outcome.results.cells.drop_columns(["right", "notes"]).to_pylist():
            yield {"group": group, "cluster": outcome.trial.cluster, **cell}


# --- the command ------------------------------------------------------------------------------------------------------


def shared_folder(given: Path | None) -> Path:
    """Where the bundles lie."""
    found = given or Path(os.environ.get("CLIPWRIGHT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (found / "realdata").is_dir():
        raise UsageError(f"the WHU-RS19 bundles are not in {found / 'realdata'}: set CLIPWRIGHT_SHARED, or --shared.")
    return found / "realdata"


def groups_of(options: argparse.Namespace) -> list[str]:
    """The groups asked for; all of them are those that are there."""
    if options.group != "all":
        return [options.group]
    try:
        shared_folder(options.shared)
    except UsageError as error:
        print(f"only the embedded data sets: {error}", file=sys.stderr)
        return ["embedded"]
    return ["whurs19", "embedded"]


def numbers(text: str) -> list[int]:
    return sorted({int(n) for n in text.split(",")})


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=["TaskRes", "ZeroShot"], metavar="METHOD")
    parser.add_argument("--shots", type=numbers, default=[1, 2, 4, 8, 16])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--group", choices=["whurs19", "embedded", "all"], default="all")
    parser.add_argument("--part", choices=["development", "test"], default="development", help="of the embedded data")
    parser.add_argument("--sets", default="", help="only these embedded data sets, with commas between them")
    parser.add_argument("--texts", action="store_true", help="give methods the texts of the embedded data's own banks")
    parser.add_argument("--views", type=int, default=0, help="augmented views of embedded training images")
    parser.add_argument("--fast", action="store_true", help="24 of the 60 WHU-RS19 tasks")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--out", type=Path, help="every cell, as JSON")
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    parser.add_argument("--threads", type=int, default=1, help="more than one slows such small fits down")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", "the embedded model")
    methods = dict(parse_method(text) for text in options.methods)
    groups = groups_of(options)
    cells: list[dict[str, Any]] = []
    for group in groups:
        outcomes: list[Outcome] = []
        start = time.perf_counter()
        trials = (
            whurs19(shared_folder(options.shared), fast=options.fast)
            if group == "whurs19"
            else embedded(
                options.part,
                views=options.views,
                only=[name for name in options.sets.split(",") if name],
                texts=options.texts,
            )
        )
        for trial in trials:
            more = {"seed": options.seed}
            outcomes.append(Outcome(trial, run_trial(trial, methods, options.shots, options.draws, **more)))
            at = f"{time.perf_counter() - start:.0f} s"
            print(f"{trial.prepared.dataset.name} done, {at}", file=sys.stderr)
        shown = tables(outcomes, list(methods), options.shots)
        print("\n" + caption(outcomes, group, options) + "\n")
        print("\n\n".join((markdown if options.markdown else plain)(table) for table in shown))
        cells += record(outcomes, group)
    if options.out:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
        document = {"options": settings, "versions": versions(), "cells": cells}
        options.out.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except ClipwrightError as error:
        sys.exit(f"error: {error}")
