"""Every method on every support draw: fitted without a test label, then scored once on the test images."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from clipwright import __version__
from clipwright.core.errors import DataError, UsageError
from clipwright.core.metrics import RowScores, score_rows
from clipwright.core.progress import progress
from clipwright.core.rng import generator
from clipwright.fitted import Fitted
from clipwright.methods.base import Method
from clipwright.protocol.calibrate import temperature, uses_labels
from clipwright.protocol.draws import DrawOrder, Short, draw_order
from clipwright.protocol.results import PREDICTIONS, Results
from clipwright.protocol.splits import Pools, pools
from clipwright.task import Features, Need, Task

if TYPE_CHECKING:
    from clipwright.protocol.prepare import Prepared

Ints = NDArray[np.int64]
Validation = Literal["none", "few-shot"]
Methods = Sequence[Method] | Mapping[str, Method]


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        methods: configured methods by the name that results call them.
        shots: labels per class, ascending; 0 = none.
        draws: how many support sets per number of shots.
        seed: all draws and fits come from it.
        validation: ``none``, or ``few-shot``: min(shots, 4) further images per class.
        short: what to do with a class that has fewer images than shots: ``refuse``, or take ``all``.
        calibrate: also fit a temperature out of fold, at the cost of five more fits per cell.
        keep: predictions of the first `keep` draws are kept.
    """

    methods: dict[str, Method]
    shots: tuple[int, ...]
    draws: int
    seed: int
    validation: Validation
    short: Short
    calibrate: bool
    keep: int


def run(
    prepared: Prepared,
    methods: Methods,
    shots: Sequence[int],
    draws: int = 10,
    seed: int = 0,
    *,
    validation: Validation = "none",
    short: Short = "refuse",
    calibrate: bool = False,
    keep: int = 1,
    quiet: bool = False,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
) -> Results:
    """Fit and score every method at every number of shots on every draw.

    The support set of a draw is the same for all methods, and k shots are part of 2k. A method that looks at no
    labels is fitted once, at 0 shots. Test images are scored once, after fitting; their labels never reach a method.
    Without a test split, a draw is scored on the labelled images that its largest support set leaves.

    Args:
        prepared: features, texts and labels of a data set.
        methods: configured methods, or a mapping that names them.
        shots: labels per class; 0 runs the methods that can do without labels.
        draws: support sets per number of shots, at least 1.
        seed: any integer.
        validation: give each method ``few-shot`` validation labels, min(shots, 4) per class, or ``none``.
        short: what to do with a class that has fewer images than shots: ``refuse``, or take ``all`` it has.
        calibrate: also fit a temperature out of fold and score with it.
        keep: keep each test image's prediction for the first `keep` draws.
        quiet: show no progress.
        on_cell: called with each finished cell.

    Raises:
        UsageError: no methods, shots or draws, or two methods of one name.
        NeedsError: a method lacks something; raised before anything is fitted.
        DataError: a class has too few images, or nothing is left to score.
    """
    named, wanted = _checked(methods, shots, draws)
    plan = Plan(named, wanted, draws, seed, validation, short, calibrate, keep)
    bench = _Bench(prepared, plan)
    jobs = list(bench.jobs())
    if not jobs:
        raise UsageError("nothing to run: every method needs labels, so ask for at least 1 shot.")
    bench.check(jobs)
    rows: list[dict[str, Any]] = []
    kept: list[pa.Table] = []
    with progress(f"fit {prepared.dataset.name}", len(jobs), "fits", quiet=quiet) as advance:
        for job in jobs:
            row, scores = bench.cell(job)
            rows.append(row)
            if job.draw < plan.keep:
                kept.append(bench.predictions(job, scores))
            if on_cell is not None:
                on_cell(row)
            advance()
    return Results.from_rows(rows, [bench.config()], kept)


@dataclass(frozen=True)
class _Job:
    name: str
    shots: int
    draw: int


class _Bench:
    """One data set and backbone, with what its cells share."""

    def __init__(self, prepared: Prepared, plan: Plan) -> None:
        self.prepared = prepared
        self.plan = plan
        self.pools: Pools = pools(prepared.dataset)
        self.labels: Ints = prepared.dataset.labels
        self._order: tuple[int, DrawOrder] | None = None
        self._test: tuple[int, tuple[Ints, Features]] | None = None
        self._task: tuple[tuple[int, int], Task] | None = None

    def jobs(self) -> Iterator[_Job]:
        """Cells in an order in which neighbours share their draw."""
        for draw in range(self.plan.draws):
            for shots in self.plan.shots:
                for name, method in self.plan.methods.items():
                    if self._runs(method, shots, draw):
                        yield _Job(name, shots, draw)

    def _runs(self, method: Method, shots: int, draw: int) -> bool:
        if shots == 0:
            # With fixed test images no draw changes the answer; otherwise it is scored on what each draw leaves.
            once = self.pools.test is not None
            return Need.LABELS not in method.requires().needs and (draw == 0 or not once)
        return uses_labels(method)

    def check(self, jobs: Sequence[_Job]) -> None:
        """Refuse what can't be fitted or drawn before anything is."""
        first = {(job.name, job.shots): job for job in jobs if job.draw == 0}
        for job in first.values():
            self.plan.methods[job.name].check(self.task(job))

    # --- what a draw consists of ------------------------------------------------------------------------------

    def order(self, draw: int) -> DrawOrder:
        """The order in which a draw takes the training pool; kept for the draw in work."""
        if self._order is None or self._order[0] != draw:
            hidden = np.full(len(self.labels), -1, dtype=np.int64)
            hidden[self.pools.train] = self.labels[self.pools.train]
            names = self.prepared.dataset.class_names
            self._order = draw, draw_order(hidden, draw, self.plan.seed, ids=self.ids, class_names=names)
        return self._order[1]

    @cached_property
    def ids(self) -> list[str]:
        """The identifiers of all rows."""
        return self.prepared.dataset.ids

    def support(self, draw: int, shots: int) -> Ints:
        """Rows of a support set."""
        return self.order(draw).support(shots, short=self.plan.short)

    def validation(self, draw: int, shots: int) -> Ints:
        """Rows of a validation set; empty where the plan has none."""
        if self.plan.validation == "none":
            return np.empty(0, dtype=np.int64)
        return self.order(draw).validation(shots, short=self.plan.short)

    def test(self, draw: int) -> tuple[Ints, Features]:
        """Rows to score and their features without labels."""
        slot = 0 if self.pools.test is not None else draw
        if self._test is None or self._test[0] != slot:
            rows = self.pools.test if self.pools.test is not None else self._rest(draw)
            self._test = slot, (rows, self.prepared.rows(rows).without_labels())
        return self._test[1]

    def _rest(self, draw: int) -> Ints:
        most = self.plan.shots[-1]
        used = np.concatenate([self.support(draw, most), self.validation(draw, most)])
        rest = np.setdiff1d(self.pools.train, used)
        if not len(rest):
            raise DataError(
                f"{most} shots take every labelled image of {self.prepared.dataset.name}, so nothing is left to score: "
                "ask for fewer shots, or add a test split."
            )
        return rest

    def task(self, job: _Job) -> Task:
        """What the method of a job may see."""
        key = (job.draw, job.shots)
        if self._task is None or self._task[0] != key:
            support, validation = self.support(*key), self.validation(*key)
            seed = int(generator(self.plan.seed, "fit", *key).integers(2**31))
            self._task = key, self.prepared.task(support, validation=validation, seed=seed)
        task = self._task[1]
        requirements = self.plan.methods[job.name].requires()
        wants = requirements.needs | requirements.optional
        if Need.UNLABELED in wants:
            task = replace(task, unlabeled=self.prepared.rows(self._unlabeled(*key)))
        if Need.QUERY in wants:
            task = replace(task, query=self.test(job.draw)[1])
        return task

    def _unlabeled(self, draw: int, shots: int) -> Ints:
        """Images of the training side whose labels the method is not given; never test images."""
        used = [self.support(draw, shots), self.validation(draw, shots)]
        if self.pools.test is None:
            used.append(self.test(draw)[0])
        side = np.union1d(self.pools.unlabeled, self.pools.train)
        return np.setdiff1d(side, np.concatenate(used))

    # --- fitting and scoring ----------------------------------------------------------------------------------

    def cell(self, job: _Job) -> tuple[dict[str, Any], RowScores]:
        """Fit, then score the test images once."""
        method, task = self.plan.methods[job.name], self.task(job)
        rows, features = self.test(job.draw)
        start = time.perf_counter()
        fitted = method.fit(task)
        fitted_at = time.perf_counter()
        logits = _logits(fitted, features, task)
        scored_at = time.perf_counter()
        scores = score_rows(logits, self.labels[rows])
        row = self._row(job, task, fitted) | scores.summary() | {"right": np.packbits(scores.correct).tobytes()}
        row |= {"seconds_fit": fitted_at - start, "seconds_predict": scored_at - fitted_at, "n_test": len(rows)}
        if self.plan.calibrate:
            found, _ = temperature(method, task)
            if found is not None:
                scores = score_rows(logits / found.value, self.labels[rows])
                after = scores.summary()
                row |= {"temperature": found.value, "nll_calibrated": after["nll"], "ece_calibrated": after["ece"]}
        return row, scores

    def _row(self, job: _Job, task: Task, fitted: Fitted) -> dict[str, Any]:
        given = [f.labels for f in (task.support, task.validation) if f is not None and len(f)]
        labels = torch.bincount(torch.cat(given), minlength=task.n_classes) if given else torch.zeros(task.n_classes)
        return {
            "dataset": self.prepared.dataset.name,
            "backbone": self.prepared.backbone,
            "method": job.name,
            "shots": job.shots,
            "draw": job.draw,
            "labels_per_class": [int(n) for n in labels],
            "chosen": json.dumps(fitted.trace.chosen, default=str, ensure_ascii=False),
            "how": json.dumps(fitted.trace.how),
            "notes": list(fitted.trace.notes),
            "seed": task.seed,
        }

    def predictions(self, job: _Job, scores: RowScores) -> pa.Table:
        """What was said of each test image."""
        rows, _ = self.test(job.draw)
        n = len(rows)
        columns = {
            "dataset": [self.prepared.dataset.name] * n,
            "backbone": [self.prepared.backbone] * n,
            "method": [job.name] * n,
            "shots": np.full(n, job.shots, dtype=np.int32),
            "draw": np.full(n, job.draw, dtype=np.int32),
            "id": [self.ids[i] for i in rows],
            "label": scores.label.astype(np.int32),
            "predicted": scores.predicted.astype(np.int32),
            "confidence": scores.confidence,
        }
        return pa.table(columns, schema=PREDICTIONS)

    def config(self) -> dict[str, Any]:
        """What was run, as JSON."""
        prepared, plan = self.prepared, self.plan
        fixed = self.pools.test is not None
        return {
            "dataset": prepared.dataset.name,
            "dataset_digest": prepared.dataset.digest,
            "class_names": list(prepared.dataset.class_names),
            "backbone": prepared.backbone,
            "backbone_digest": prepared.digest,
            "templates": list(prepared.templates),
            "methods": {
                name: {"method": type(m).__name__, "hyper_parameters": _plain(m.hyper_parameters())}
                for name, m in plan.methods.items()
            },
            "shots": list(plan.shots),
            "draws": plan.draws,
            "seed": plan.seed,
            "validation": plan.validation,
            "short": plan.short,
            "calibrate": plan.calibrate,
            "images": len(prepared.dataset),
            "train_pool": len(self.pools.train),
            "test": len(self.test(0)[0]),
            "test_rule": "split" if fixed else "rest of each draw",
            "notes": [self.pools.note, *prepared.dataset.notes, *prepared.notes],
            "skipped": [list(problem) for problem in prepared.problems],
            "seconds_prepare": prepared.seconds,
            "versions": versions(),
        }


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "clipwright": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def _logits(fitted: Fitted, features: Features, task: Task) -> NDArray[np.float64]:
    answered = fitted.query_logits is not None and task.query is not None
    logits = fitted.query_logits if answered else fitted(features)
    assert logits is not None  # noqa: S101 - one of the two
    return logits.detach().double().cpu().numpy()


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _checked(methods: Methods, shots: Sequence[int], draws: int) -> tuple[dict[str, Method], tuple[int, ...]]:
    """Methods by name, and the numbers of shots ascending, 0 among them where a method looks at no labels."""
    pairs = list(methods.items()) if isinstance(methods, Mapping) else [(type(m).__name__, m) for m in methods]
    named = dict(pairs)
    if not named:
        raise UsageError("there are no methods to run: name at least one.")
    if len(named) < len(pairs):
        raise UsageError("two configurations of one method need names: give a mapping of names to methods.")
    if draws < 1:
        raise UsageError(f"at least one draw is needed; draws is {draws}.")
    if not shots or min(shots) < 0:
        raise UsageError(f"shots must be numbers of labels per class, none negative; they are {list(shots)}.")
    nameless = any(not uses_labels(method) for method in named.values())
    return named, tuple(sorted(set(shots) | ({0} if nameless else set())))
