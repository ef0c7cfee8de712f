"""ScoreScaling: class scores rescaled by a few labels, and those of several models stacked, nothing else asked for."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.folds import stratified_folds
from clipwright.fitted import Fitted
from clipwright.heads.refine import ScaleHead
from clipwright.methods.base import Method, Requirements, require_labels, working_dtype
from clipwright.methods.scores import behind_scores, class_scores
from clipwright.task import Access, Need, Task

Floats = NDArray[np.float64]

GRID = (1.0, 10.0, 100.0, 1000.0)
"""Strengths that cross-validation chooses among."""

UNKNOWN = 100.0
"""The strength where a class has a single label, so that none can be held out."""

PRIOR = 1.0
"""How strongly the weight of a model is held at its even share, in rows."""


def scale_scores(
    scores: Floats, y: NDArray[np.int64], *, vector: bool = True, strength: float = UNKNOWN
) -> tuple[Floats, Floats]:
    """Weights and biases that make stacked scores fit labels.

    With ``l_s = log_softmax(scores[:, s])`` the logits are ``sum_s (w_s + d_sc) l_sc + b_c``. Minimised is the summed
    log-loss plus ``PRIOR / 2 * sum_s (w_s - 1 / S)^2 + strength / 2 * (sum d^2 + sum b^2)``, which is convex.

    Args:
        scores: (n, S, C) logits of S models.
        y: (n,) classes.
        vector: whether classes have weights (d) and biases (b) of their own; else a weight per model is all there is.
        strength: of the ridge on them, positive.

    Returns:
        (S, C) weights w + d, and (C,) biases b.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, models, classes = scores.shape
    logs = log_softmax(scores, axis=-1)
    even = 1 / models

    def parts(x: Floats) -> tuple[Floats, Floats, Floats]:
        w, rest = x[:models], x[models:]
        if not vector:
            return w, np.zeros((models, classes)), np.zeros(classes)
        return w, rest[: models * classes].reshape(models, classes), rest[models * classes :]

    def loss(x: Floats) -> tuple[float, Floats]:
        w, d, b = parts(x)
        logp = log_softmax(np.einsum("nsc,sc->nc", logs, w[:, None] + d) + b, axis=-1)
        error = np.exp(logp)
        error[np.arange(n), y] -= 1
        slope = np.einsum("nc,nsc->sc", error, logs)
        value = -logp[np.arange(n), y].sum() + PRIOR / 2 * ((w - even) ** 2).sum()
        gradient = [slope.sum(1) + PRIOR * (w - even)]
        if vector:
            value += strength / 2 * ((d**2).sum() + (b**2).sum())
            gradient += [(slope + strength * d).ravel(), error.sum(0) + strength * b]
        return float(value), np.concatenate(gradient)

    first = np.concatenate([np.full(models, even), np.zeros((models + 1) * classes if vector else 0)])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-12, "gtol": 1e-8})
    w, d, b = parts(np.asarray(found.x, dtype=np.float64))
    return w[:, None] + d, b


@dataclass(frozen=True)
class ScoreScaling(Method):
    """Temperature or vector scaling of class scores, and stacking where several models scored the images.

    Attributes:
        scaling: ``vector`` (every class of every model has its own weight and every class a bias, held together by a
            ridge), or ``temperature`` (one weight per model: with a single model only confidences change).
        strength: of the ridge, positive; None = the one of 1, 10, 100 and 1000 with the least log-loss on held-out
            folds, and 100 where a class has a single label.
        folds: folds of the choice, at least 2.

    Source: vector and temperature scaling, Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section
    4.2; stacking, Wolpert, Stacked Generalization, 1992; ridge and its choice are this project's.
    """

    title: ClassVar[str] = "ScoreScaling"
    summary: ClassVar[str] = "a few labels and class scores, of one black box or several: rescaled and stacked"
    paper: ClassVar[str] = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017"

    scaling: Literal["vector", "temperature"] = "vector"
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    folds: Annotated[int, Field(ge=2)] = 5

    def requires(self) -> Requirements:
        """Scores and labels."""
        return Requirements(frozenset({Need.LABELS, Need.SCORES}), access=frozenset({Access.SCORES}))

    def fit(self, task: Task) -> Fitted:
        """Fit weights and biases on the labelled rows.

        Raises:
            NeedsError: there are no scores or no labels.
            DataError: a class has no labelled image.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            scores = class_scores(task, support).double().cpu().numpy()
            y = support.labels.numpy()
            strength = self.strength
            if strength is None:
                strength, source = self._chosen(scores, y, task, support.ids)
                trace.chosen["strength"] = strength
                trace.how["strength"] = "cross-validation" if source else "rule"
            weight, bias = scale_scores(scores, y, vector=self.scaling == "vector", strength=strength)
            dtype = working_dtype(task)
            head = ScaleHead(torch.from_numpy(weight).to(dtype), torch.from_numpy(bias).to(dtype))
            return Fitted(behind_scores(task, head), trace=trace)

    def _chosen(
        self, scores: Floats, y: NDArray[np.int64], task: Task, ids: tuple[str, ...] | None
    ) -> tuple[float, bool]:
        """The strength, and whether held-out rows chose it."""
        from scipy.special import log_softmax

        dealt = None
        if self.scaling == "vector" and min(task.shots) > 1:
            dealt = stratified_folds(y, self.folds, task.seed, "score scaling", ids=ids)
        if dealt is None:
            return UNKNOWN, False
        losses = []
        for strength in GRID:
            total = 0.0
            for fold in range(int(dealt.max()) + 1):
                held = dealt == fold
                weight, bias = scale_scores(scores[~held], y[~held], strength=strength)
                logits = np.einsum("nsc,sc->nc", log_softmax(scores[held], axis=-1), weight) + bias
                total -= float(log_softmax(logits, axis=-1)[np.arange(held.sum()), y[held]].sum())
            losses.append(total)
        return GRID[int(np.argmin(losses))], True
