"""Automatic choice: which method, or which blend of methods, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright import methods as catalogue
from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import NeedsError
from clipwright.core.metrics import score_rows
from clipwright.fitted import Fitted, FitTrace, OutOfFold
from clipwright.heads.base import Head
from clipwright.heads.blend import BlendHead
from clipwright.heads.refine import ScaleHead
from clipwright.methods.base import SUPPLY, Method, Requirements
from clipwright.protocol.blending import blend_weights
from clipwright.protocol.candidates import (
    ALONE,
    AS_THEY_ARE,
    BLEND,
    DESCRIBED,
    FEW_MEMBERS,
    GAUSS,
    MEMBERS,
    NAMES,
    PILED,
    PROMPTED,
    REFINED,
    STACKED,
    NamesTrust,
    candidate,
    is_described,
    is_large,
    names_trust,
)
from clipwright.protocol.crossfit import CrossFit, cross_fit
from clipwright.protocol.label_free import judge
from clipwright.task import Access, Features, Need, Task

Floats = NDArray[np.float64]

NAME = "auto"
FEW, ROWS = 2, 8
"""Up to this many labels per class on average, or below this many rows that can be held out, rules decide."""

LEFT_OUT = (
    "Generated images were left out: what does well on them need not on real ones, so no method can be chosen by them; "
    "name the one that shall learn from them."
)
"""What the reason says where there are generated images."""

UNCHECKED = "No label could check this choice."
"""What the reason says where unlabeled images had a say."""

ENOUGH = 6
"""From this many labels per class on average, held-out scores can tell whether a cheaper method is as good."""


@plain_dataclass(frozen=True, eq=False)
class Scored:
    """A candidate on the held-out rows.

    Attributes:
        logits: (n, C) of held-out rows, each by a fit that did not see it.
        loss: (n,) log-loss of each row at the candidate's own best temperature, in nats.
        right: how many rows it names right.
        seconds: wall time of its fits.
    """

    logits: Floats
    loss: Floats
    right: int
    seconds: float

    @classmethod
    def of(cls, logits: Floats, labels: NDArray[np.int64], seconds: float) -> Scored:
        """Score logits."""
        rows = score_rows(logits / fit_temperature(logits, labels).value, labels)
        return cls(logits, rows.nll, int(rows.correct.sum()), seconds)


@dataclass(frozen=True)
class Auto(Method):
    """Chooses among a few strong methods and a blend of them, on held-out labels where there are enough, else by rule.

    1. Without labels, or with a class that has none: Transductive where there are unlabeled images of every class by
       its own count, and at least two per class on average; else names alone, or CODER where texts describe the
       classes. It says on how many images that changed the answer, and warns where the images look unlike the classes.
    2. How much the class names are worth is judged by the labelled images that names alone get right. From 65 % on they
       fit; below 25 % they are left out, with a word about it; between the two, methods that lean less on names join.
    3. With one or two labels per class on average, it is an even blend of the methods that, over many tasks, then
       proved best; where the names are doubtful, CLIPAdapter.
    4. With more, every candidate is fitted on five folds and scored on what each leaves out, and the blend gets its
       weights on those rows. From six labels per class on average, the cheapest candidate is taken whose log-loss is
       within `tolerance` standard errors of the blend's (paired, row by row) and that names no fewer rows right.
    5. Behind a black box that keeps its features: CraFT where it takes soft prompts, else its refinement of the class
       scores alone, and ScoreScaling where there are scores of several models.
    6. Generated images have no say: how a method does on them says little about real ones.
    7. If names alone get more held-out rows right than what was picked, names alone are taken, and it says so.

    Attributes:
        folds: folds of the held-out scores, at least 2.
        tolerance: standard errors within which a cheaper candidate is preferred, at least 0.

    Source: this project; the evidence is on the page about choosing. The one-standard-error rule is that of Breiman et
    al., Classification and Regression Trees, 1984.
    """

    title: ClassVar[str] = NAME
    summary: ClassVar[str] = "whatever is there: chooses among methods and a blend of them, and says why"

    folds: Annotated[int, Field(ge=2)] = 5
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0

    def requires(self) -> Requirements:
        """Texts or labels, both where there are both; unlabeled images are looked at where a class has no label."""
        return Requirements(optional=frozenset({Need.TEXT, Need.LABELS, Need.VIEWS, Need.VALIDATION, Need.UNLABELED}))

    def fit(self, task: Task) -> Fitted:
        """Choose and fit.

        Raises:
            NeedsError: there are neither texts nor labels of every class.
            DataError: the task's features can't be used.
        """
        trace = self.trace(task, labels=False)
        with trace.timed():
            return _Choice(self, task, trace).fitted()

    def missing(self, task: Task) -> tuple[list[Need], list[Any]]:
        """Nothing, where there are texts or labels of every class."""
        scored = Access.FEATURES not in task.grants() and Access.SCORES in task.grants()
        able = scored or task.text is not None or min(task.labels_per_class) > 0
        return ([] if able else [Need.TEXT]), []

    def check(self, task: Task) -> None:
        """Refuse a task with nothing to go by.

        Raises:
            NeedsError: says what to give.
        """
        if self.missing(task)[0]:
            raise NeedsError(f"nothing can be fitted: give {SUPPLY[Need.TEXT]}, or {SUPPLY[Need.LABELS]}.")


class _Choice:
    """One choice in the making."""

    def __init__(self, auto: Auto, task: Task, trace: FitTrace) -> None:
        auto.check(task)
        self.auto, self.task, self.trace = auto, real_only(task), trace
        self.looked = False  # whether labels had a say
        self._left_out = self.task is not task  # whether there are generated images

    @property
    def _support(self) -> Features:
        assert self.task.support is not None  # noqa: S101 - asked for only where there are labels
        return self.task.support

    def fitted(self) -> Fitted:
        task = self.task
        if Access.FEATURES not in task.grants():
            return self._behind_scores()
        if min(task.shots) == 0:
            return self._by_names()
        self.looked = True
        return self._by_labels()

    def _by_names(self) -> Fitted:
        """Some class has no labelled image."""
        unseen = sum(count == 0 for count in self.task.shots)
        described = is_described(self.task)
        if unseen < self.task.n_classes:
            reason = f"{unseen} of {self.task.n_classes} classes have no labelled image, so labels can't decide."
        elif described:
            reason = "There are class names with texts that describe them, and no labels."
        else:
            reason = "There are class names and no labels."
        names = DESCRIBED if described else NAMES
        if self.task.unlabeled is None or not len(self.task.unlabeled) or self.task.n_classes < 2:
            return self._single(names, reason)
        found = judge(self.task)
        self.trace.notes += found.notes
        reason = f"{reason} {found.reason} {UNCHECKED}"
        return self._single(names, reason) if found.fitted is None else self._single(PILED, reason, fitted=found.fitted)

    def _by_labels(self) -> Fitted:
        task = self.task
        trust = names_trust(task)
        self._warn(trust)
        if is_large(task):
            reason = "There are so many labelled images and classes that no fit is repeated."
            return self._single(GAUSS if trust.level in {"fine", "doubtful"} else FEW_MEMBERS[trust.level][0], reason)
        if ALONE[trust.level] == MEMBERS[trust.level]:
            return self._single(MEMBERS[trust.level][0], "Without names to go by, it did best over many tasks.")
        wanted = {name: candidate(name, task) for name in dict.fromkeys((*ALONE[trust.level], *MEMBERS[trust.level]))}
        found = None
        if len(self._support) > FEW * task.n_classes:
            found = cross_fit(wanted, task, self.auto.folds)
        if found is None or len(found.rows) < ROWS:
            return self._by_rule(trust)
        return self._by_score(trust, found)

    def _behind_scores(self) -> Fitted:
        """The model behind the images keeps its features: its class scores are all there is, perhaps under prompts."""
        task = self.task
        seen = (task.support, task.validation, task.unlabeled, task.query)
        models = next((rows.scores.shape[1] for rows in seen if rows is not None and rows.scores is not None), 1)
        if task.support is None or min(task.shots) == 0:
            self._explain(AS_THEY_ARE, "There are class scores and too few labels to change them.", "rule")
            even = torch.full((models, task.n_classes), 1 / models)
            return Fitted(ScaleHead(even, torch.zeros(task.n_classes)), trace=self.trace)
        self.looked = True
        if Access.SOFT_PROMPT in task.grants():
            return self._single(PROMPTED, "The model keeps its features but takes soft prompts.")
        if models > 1:
            return self._single(STACKED, f"{models} models give class scores and nothing else.")
        return self._single(REFINED, "The model gives class scores and nothing else; over 24 tasks this did best then.")

    def _warn(self, trust: NamesTrust) -> None:
        share = None if trust.share is None else f"{100 * trust.share:.0f} %"
        if trust.level == "wrong":
            self.trace.notes.append(
                f"The class names fit only {share} of the labelled images, so they were left out: check that the names "
                "are in the order of the classes and say what the images show."
            )
        elif trust.level == "doubtful":
            self.trace.notes.append(
                f"The class names fit {share} of the labelled images, so methods that lean less on them were tried too."
            )

    def _by_rule(self, trust: NamesTrust) -> Fitted:
        members = FEW_MEMBERS[trust.level]
        reason = "There are too few labels to hold any out; over many tasks this did best at so few."
        if len(members) == 1:
            return self._single(members[0], reason)
        return self._blend(dict.fromkeys(members, 1 / len(members)), reason, how="rule")

    def _by_score(self, trust: NamesTrust, found: CrossFit) -> Fitted:
        members, labels = MEMBERS[trust.level], found.labels
        scores = {name: Scored.of(found.logits[name], labels, found.seconds[name]) for name in ALONE[trust.level]}
        own = [found.logits[name] for name in members]
        solved = blend_weights(own, labels)
        weights = dict(zip(members, solved.tolist(), strict=True))
        mixed = np.tensordot(solved, np.stack(own), axes=1)
        scores[BLEND] = Scored.of(mixed, labels, sum(found.seconds[name] for name in members))
        enough = len(self._support) >= ENOUGH * self.task.n_classes
        picked, reason = cheapest_within(scores, self.auto.tolerance) if enough else (BLEND, _few(scores))
        if NAMES in scores and scores[NAMES].right > scores[picked].right:
            picked, reason = NAMES, f"Names alone get more held-out images right than {picked}, so they are kept."
            self.trace.notes.append("Labels did not help here: on held-out labelled images names alone did better.")
        held = OutOfFold(scores[picked].logits, labels, self._ids(found), found.folds)
        self._record(scores, picked)
        if picked == BLEND:
            return self._blend(weights, reason, how="cross-validation", held=held)
        return self._single(picked, reason, how="cross-validation", held=held)

    def _ids(self, found: CrossFit) -> tuple[str, ...] | None:
        ids = self._support.ids
        return None if ids is None else tuple(ids[i] for i in found.rows.tolist())

    def _record(self, scores: Mapping[str, Scored], picked: str) -> None:
        n = len(scores[picked].loss)
        self.trace.candidates = [
            {
                "method": name,
                "log_loss": float(s.loss.mean()),
                "error": _error(s.loss),
                "right": s.right,
                "of": n,
                "seconds": round(s.seconds, 4),
                "picked": name == picked,
            }
            for name, s in scores.items()
        ]

    def _single(
        self, name: str, reason: str, how: Any = "rule", held: OutOfFold | None = None, fitted: Fitted | None = None
    ) -> Fitted:
        fitted = candidate(name, self.task).fit(self.task) if fitted is None else fitted
        inner = {f"{name}: {key}": (value, fitted.trace.how[key]) for key, value in fitted.trace.chosen.items()}
        self._explain(name, reason, how)
        self.trace.chosen |= {key: value for key, (value, _) in inner.items()}
        self.trace.how |= {key: source for key, (_, source) in inner.items()}
        self._count([fitted])
        self.trace.notes += fitted.trace.notes
        self.trace.calls, self.trace.spent = fitted.trace.calls, fitted.trace.spent
        return replace(fitted, trace=self.trace, out_of_fold=held)

    def _blend(self, weights: Mapping[str, float], reason: str, how: Any, held: OutOfFold | None = None) -> Fitted:
        kept = {name: weight for name, weight in weights.items() if weight > 0} or dict(weights)
        fits = [candidate(name, self.task).fit(self.task) for name in kept]
        heads: list[Head] = [fitted.head for fitted in fits]
        dtype = next(t.dtype for t in heads[0].state_dict().values() if t.is_floating_point())
        self._explain(BLEND, reason, how)
        self.trace.chosen["weights"] = {name: float(weight) for name, weight in kept.items()}
        self.trace.how["weights"] = how
        self._count(fits)
        head = BlendHead(heads, torch.tensor(list(kept.values()), dtype=dtype))
        return Fitted(head, trace=self.trace, out_of_fold=held)

    def _count(self, fits: Sequence[Fitted]) -> None:
        """Labels that were looked at: by the choice, or by any of the fits."""
        seen = [fitted.trace.labels_per_class for fitted in fits] + [self.task.labels_per_class if self.looked else ()]
        self.trace.labels_per_class = tuple(max(counts) for counts in zip(*(s for s in seen if s), strict=True))

    def _explain(self, name: str, reason: str, how: Any) -> None:
        self.trace.chosen["method"], self.trace.how["method"] = name, how
        self.trace.reason = f"{reason} {LEFT_OUT}" if self._left_out else reason


def real_only(task: Task) -> Task:
    """The task without generated images; the same one where there are none."""
    if task.support is None or not bool((made := task.support.is_generated).any()):
        return task
    real = task.support[~made]
    return replace(task, support=real if len(real) else None)


def cheapest_within(scores: Mapping[str, Scored], tolerance: float) -> tuple[str, str]:
    """The first candidate as good as the last, the blend: close in log-loss, and right no less often.

    Args:
        scores: candidates from the cheapest up, the blend last, on the same rows.
        tolerance: standard errors of the paired difference in log-loss.

    Returns:
        its name, and why.
    """
    blend = scores[BLEND]
    of = len(blend.loss)
    for name, found in scores.items():
        gap = found.loss - blend.loss
        if name != BLEND and gap.mean() <= tolerance * _error(gap) and found.right >= blend.right:
            errors = "standard error" if tolerance == 1 else "standard errors"
            return name, (
                f"It is the cheapest within {tolerance:g} {errors} of the blend of all: {found.right} of {of} "
                f"held-out labelled images right, log-loss {found.loss.mean():.3f} against {blend.loss.mean():.3f}."
            )
    return BLEND, (
        f"No cheaper method is as good on {of} held-out labelled images: it names {blend.right} of them right, with a "
        f"log-loss of {blend.loss.mean():.3f}."
    )


def _few(scores: Mapping[str, Scored]) -> str:
    blend = scores[BLEND]
    return (
        "There are too few labels to tell whether a cheaper method is as good. Its weights were found on "
        f"{len(blend.loss)} held-out labelled images, of which it names {blend.right} right."
    )


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def configured(name: str, **hyper_parameters: Any) -> Method:
    """A method of the catalogue, or automatic choice, by name.

    Raises:
        UsageError: no such method, or a value out of its range.
    """
    if name.lower() == NAME:
        return catalogue.make_kind(Auto, **hyper_parameters)
    return catalogue.make(name, **hyper_parameters)
