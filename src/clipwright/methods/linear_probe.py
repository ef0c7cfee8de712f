"""Linear probe: multinomial logistic regression on frozen image features, pulled towards zero or the class texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import DataError
from clipwright.core.folds import stratified_folds
from clipwright.core.metrics import score_rows
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, Source
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import Features, Task
from clipwright.training.selection import labels_used

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID = tuple(float(10 ** (k / 2)) for k in range(13))
"""Strengths that are tried, from the strongest pull to the weakest: 1 to 1e6 in steps of a factor of 3.2."""

FOLDS = 5
PATIENCE = 2  # strengths in a row that may be worse than the best before the search stops
EXACT, ROUGH = 1e-7, 1e-2  # largest entry of the gradient of the summed loss: of the answer, and while C is chosen


class Probe(NamedTuple):
    """Weights of a linear classifier: logits are ``x @ weight.T + bias``."""

    weight: Floats
    bias: Floats


def logistic_regression(
    x: Floats, y: Ints, centre: Floats, *, C: float, intercept: bool = True, tolerance: float = EXACT
) -> Probe:
    """Minimise ``sum_i crossentropy(W x_i + b, y_i) + |W - centre|^2 / (2 C)`` over W and b, by L-BFGS.

    With a centre of zero it is scikit-learn's LogisticRegression(C=C). The problem is strictly convex in W, so the
    answer doesn't depend on where the search starts. The biases are free; they add up to zero.

    Args:
        x: (N, D) features.
        y: (N,) classes.
        centre: (K, D) weights that the penalty pulls towards.
        C: inverse strength of the pull, positive.
        intercept: whether there are biases.
        tolerance: largest entry of the gradient at which the search stops.
    """
    problem = _Problem.of(x, y, centre, intercept=intercept)
    return problem.probe(problem.solve(C, tolerance=tolerance), centre)


@plain_dataclass(frozen=True, eq=False)
class _Problem:
    """The same problem in the coordinates that matter: W - centre lies in the span of the N rows.

    Attributes:
        z: (N, r + 1) rows in an orthonormal basis of their span, r = min(N, D) at most, and a column of ones; without
            intercept the ones are left out.
        y: (N,) classes.
        offset: (N, K) logits of the centre.
        basis: (r, D).
        intercept: whether the last column is one of ones.
    """

    z: Floats
    y: Ints
    offset: Floats
    basis: Floats
    intercept: bool

    @classmethod
    def of(cls, x: Floats, y: Ints, centre: Floats, *, intercept: bool) -> _Problem:
        nothing = np.empty((0, 0))
        return cls(nothing, y, nothing, _row_space(x), intercept).other(x, y, centre)

    def other(self, x: Floats, y: Ints, centre: Floats) -> _Problem:
        """Other rows in the same coordinates, to be scored."""
        z = x @ self.basis.T
        if self.intercept:
            z = np.hstack([z, np.ones((len(z), 1))])
        return _Problem(z, y, x @ centre.T, self.basis, self.intercept)

    def part(self, rows: Ints) -> _Problem:
        """The problem of some of the rows."""
        return _Problem(self.z[rows], self.y[rows], self.offset[rows], self.basis, self.intercept)

    def solve(self, C: float, *, start: Floats | None = None, tolerance: float) -> Floats:
        """(K, columns of z) coordinates of the minimum."""
        from scipy.optimize import minimize

        K = self.offset.shape[1]
        pull = np.full(self.z.shape[1], 1 / C)
        if self.intercept:
            pull[-1] = 0.0
        hot = np.arange(len(self.y)), self.y

        def loss(flat: Floats) -> tuple[float, Floats]:
            theta = flat.reshape(K, -1)
            logits = self.logits(theta)
            logits -= logits.max(axis=1, keepdims=True)
            chosen = logits[hot]
            np.exp(logits, out=logits)
            total = logits.sum(axis=1, keepdims=True)
            value = float((np.log(total[:, 0]) - chosen).sum() + 0.5 * (pull * theta * theta).sum())
            logits /= total
            logits[hot] -= 1
            return value, (logits.T @ self.z + pull * theta).ravel()

        first = np.zeros(K * self.z.shape[1]) if start is None else start.ravel()
        options = {"maxiter": 5000, "maxfun": 10000, "gtol": tolerance, "ftol": 1e-15}
        found: Floats = minimize(loss, first, jac=True, method="L-BFGS-B", options=options).x
        return found.reshape(K, -1)

    def logits(self, theta: Floats) -> Floats:
        """(N, K) logits."""
        found: Floats = self.offset + self.z @ theta.T
        return found

    def probe(self, theta: Floats, centre: Floats) -> Probe:
        """Weights in the original coordinates."""
        rank = len(self.basis)
        bias = theta[:, -1] if self.intercept else np.zeros(len(theta))
        return Probe(centre + theta[:, :rank] @ self.basis, bias - bias.mean())


def _row_space(x: Floats) -> Floats:
    """(r, D) orthonormal basis of a space that holds the rows; all of it where there are more rows than columns."""
    if len(x) >= x.shape[1]:
        return np.eye(x.shape[1])
    _, lengths, basis = np.linalg.svd(x, full_matrices=False)
    kept: Floats = basis[lengths > 1e-12 * lengths.max()]
    return kept


def choose_strength(
    train: Sequence[_Problem], held: Sequence[_Problem], grid: Sequence[float] = GRID, *, calibrated: bool = False
) -> float:
    """The C with the smallest cross-entropy on held-out rows, of equals the smallest.

    The strengths are tried from the smallest C on, each fit starting from the last one's answer, until `PATIENCE` of
    them in a row were worse than the best.

    Args:
        train: what is fitted.
        held: for each of them, the rows that it didn't see.
        grid: the strengths, ascending.
        calibrated: compare at the temperature that is best for each strength, so that confidence doesn't count.
    """
    y = np.concatenate([h.y for h in held])
    starts: list[Floats | None] = [None] * len(train)
    best, least, worse = grid[0], np.inf, 0
    for C in grid:
        thetas = [t.solve(C, start=start, tolerance=ROUGH) for t, start in zip(train, starts, strict=True)]
        logits = np.concatenate([h.logits(theta) for h, theta in zip(held, thetas, strict=True)])
        loss = fit_temperature(logits, y).nll_after if calibrated else float(score_rows(logits, y).nll.mean())
        starts = list(thetas)
        if loss < least:
            best, least, worse = C, loss, 0
        else:
            worse += 1
            if worse == PATIENCE:
                break
    return best


@dataclass(frozen=True)
class LinearProbe(Method):
    """Multinomial logistic regression on image features scaled to length 1; every labelled image counts the same.

    Attributes:
        init: what the penalty pulls the weights towards. ``zero``: the usual linear probe, which needs no text.
            ``text``: the zero-shot classifier, ``logit_scale`` times the unit class text. The problem is strictly
            convex, so where the search starts makes no difference; where the penalty pulls to does.
        C: inverse strength of the pull, positive: the objective is the summed cross-entropy plus
            ``|W - centre|^2 / (2 C)``, as in scikit-learn. ``auto``: of 1 to 1e6 in steps of a factor of 3.2 the
            value with the smallest cross-entropy on the task's validation set, where it has one, else over five folds
            of the support set; towards the text, cross-entropy is taken at the best temperature, because a few rows
            that the class texts get wrong with confidence would decide otherwise. A class with a single image is
            never held out, and where no class has two, C is ``logit_scale^2``.
        intercept: whether there is a free bias per class.

    Source: Radford et al. 2021, appendix A.3, which chooses C on a validation set and leaves features unscaled.
    """

    title: ClassVar[str] = "LinearProbe"
    summary: ClassVar[str] = "labels, no class names needed: logistic regression on the features"
    paper: ClassVar[str] = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021"

    init: Literal["zero", "text"] = "zero"
    C: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    intercept: bool = True

    def requires(self) -> Requirements:
        """Labels; text features where the pull is towards them."""
        return wants(text=self.init == "text", validation=self.C == "auto")

    def fit(self, task: Task) -> Fitted:
        """Choose C where it is open, then solve on the whole support set.

        Raises:
            NeedsError: the task has no labelled images, or no text features where `init` is ``text``.
            DataError: a class has no labelled image or no text, or features hold NaN or infinity.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            centre = self._centre(task, support.dim)
            x, y = _arrays(support)
            if not (np.isfinite(x).all() and np.isfinite(centre).all()):
                raise DataError("the features hold NaN or infinity: remove those rows or extract them again.")
            problem = _Problem.of(x, y, centre, intercept=self.intercept)
            if self.C == "auto":
                C, how = _strength(problem, task, centre, calibrated=self.init == "text")
                trace.chosen["C"], trace.how["C"] = C, how
                if how == "validation":
                    trace.labels_per_class = labels_used(task)
            else:
                C = self.C
            probe = problem.probe(problem.solve(C, tolerance=EXACT), centre)
            weight, bias = (torch.from_numpy(part).to(working_dtype(task)) for part in probe)
            return Fitted(LinearHead(weight / task.logit_scale, bias, scale=task.logit_scale), trace=trace)

    def _centre(self, task: Task, dim: int) -> Floats:
        if self.init == "zero":
            return np.zeros((task.n_classes, dim))
        texts: Floats = unit_rows(class_texts(task, "mean_unit_renorm")).double().numpy()
        return task.logit_scale * texts


def _arrays(rows: Features) -> tuple[Floats, Ints]:
    return rows.unit_x().double().numpy(), rows.labels.numpy()


def _strength(problem: _Problem, task: Task, centre: Floats, *, calibrated: bool) -> tuple[float, Source]:
    """C, and where it came from."""
    if task.validation is not None and len(task.validation):
        held = [problem.other(*_arrays(task.validation), centre)]
        return choose_strength([problem], held, calibrated=calibrated), "validation"
    folds = _folds(task)
    if folds is None:
        return task.logit_scale**2, "rule"
    numbers = range(int(folds.max()) + 1)
    train = [problem.part(np.flatnonzero(folds != k)) for k in numbers]
    held = [problem.part(np.flatnonzero(folds == k)) for k in numbers]
    return choose_strength(train, held, calibrated=calibrated), "cross-validation"


def _folds(task: Task) -> Ints | None:
    """(N,) fold of each support row, -1 = in every training part; None where no class has two rows.

    Classes are dealt in the order of their names, so that numbering them differently changes no fold.
    """
    support = require_labels(task)
    place = np.argsort(np.argsort(np.array(task.class_names)))
    several = np.flatnonzero(np.array(task.shots)[support.labels.numpy()] > 1)
    if not len(several):
        return None
    ids = None if support.ids is None else [support.ids[i] for i in several]
    dealt = stratified_folds(place[support.labels.numpy()[several]], FOLDS, task.seed, "linear probe", ids=ids)
    if dealt is None:
        return None
    folds = np.full(len(support), -1, dtype=np.int64)
    folds[several] = dealt
    return folds
