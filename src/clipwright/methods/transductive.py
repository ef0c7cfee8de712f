"""Transductive: unlabeled images are clustered around their class texts, all at once; no label is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.base import Head
from clipwright.heads.blend import BlendHead
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags, class_texts, require_labels, working_dtype
from clipwright.methods.gda import GDA
from clipwright.methods.taskres import TaskRes
from clipwright.methods.transductive_fit import (
    affinities,
    confident_shares,
    moments,
    text_anchor,
    transduce,
)
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Access, AveragingRule, Need, Task

Base = Literal["text", "gda", "taskres"]

_BASES: dict[Base, type[Method]] = {"text": ZeroShot, "gda": GDA, "taskres": TaskRes}

ANCHOR_SHARE = 1 / 20
"""The least an anchor counts for, as a share of the images that a class has on average."""


def gathered(task: Task) -> torch.Tensor:
    """(n, D) unit rows of the unlabeled images and, below them, of the query."""
    parts = [rows.unit_x() for rows in (task.unlabeled, task.query) if rows is not None]
    return torch.cat(parts).to(working_dtype(task))


def lacks_rows(task: Task, needs: list[Need]) -> list[Need]:
    """What is missing, where a query stands in for unlabeled images."""
    has_query = task.query is not None and len(task.query) > 0
    return [need for need in needs if need != Need.UNLABELED or not has_query]


@dataclass(frozen=True)
class Transductive(Method):
    """Gaussian classes fitted to unlabeled images, with the texts' answer as their prior, and votes of neighbours.

    The query is answered together with all unlabeled images. Any other image is scored by the Gaussians and the
    prior, ``lambda * prior(x) + log N(x; m_c, v) / T``, which is a linear classifier where the prior is the text.

    Attributes:
        base: whose answer is the prior: ``text`` looks at no label. ``gda`` and ``taskres`` fit that method on the
            labelled images first, and hold the labelled images at their labels.
        averaging: how the prompts of a class become one vector, see ZeroShot.
        neighbours: how many nearest images pull each image; 3 in the paper, section 4.
        temperature: T, what log-densities are divided by; 50 in the released code.
        prior_weight: lambda, how much the prior counts; None = 1 for the texts and 0.5 for a base with labels, as
            published.
        anchor: how many images the text-based guess of a class mean counts for, at least a twentieth of the images
            that a class has on average; it holds classes without images in place. 0 = none, as in the first paper.
        class_prior: how much the logarithm of a class's share of the images counts; 0 as published.
        label_weight: how many unlabeled images a labelled one counts for.
        confident: how many of its most confident images make the first mean of a class; 0 = all, by their shares.
            8 in the released code.
        rounds: how often shares and Gaussians are fitted; 10 as published.
    """

    title: ClassVar[str] = "Transductive"
    summary: ClassVar[str] = "class names and unlabeled images: Gaussian classes around the texts, answered together"
    paper: ClassVar[str] = (
        "Zanella et al., Boosting Vision-Language Models with Transduction, NeurIPS 2024; "
        "Zanella et al., Realistic Test-Time Adaptation of Vision-Language Models, CVPR 2025"
    )
    tags: ClassVar[Tags] = Tags(transductive=True)

    base: Base = "text"
    averaging: AveragingRule = "mean_unit_renorm"
    neighbours: Annotated[int, Field(ge=1, le=100)] = 3
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 50.0
    prior_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    anchor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0
    class_prior: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    label_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 3.0
    confident: Annotated[int, Field(ge=0)] = 0
    rounds: Annotated[int, Field(ge=1, le=1000)] = 10

    @property
    def _base(self) -> Method:
        return ZeroShot(averaging=self.averaging) if self.base == "text" else _BASES[self.base]()

    def requires(self) -> Requirements:
        """Texts and unlabeled images, a query too or instead; labels for a base that needs them."""
        base = self._base.requires()
        needs = base.needs | {Need.TEXT, Need.UNLABELED}
        return Requirements(needs, base.optional | {Need.QUERY}, base.access)

    def missing(self, task: Task) -> tuple[list[Need], list[Access]]:
        """What `task` lacks; a query of at least one image stands in for unlabeled images."""
        needs, access = super().missing(task)
        return lacks_rows(task, needs), access

    def fit(self, task: Task) -> Fitted:
        """Fit the base, then shares and Gaussians in turns.

        Raises:
            NeedsError: there are no texts, neither unlabeled images nor a query, or a base has no labels.
            DataError: a class has no text, or a base finds a class without labels.
        """
        self.check(task)
        labels = self.base != "text"
        weight = (0.5 if labels else 1.0) if self.prior_weight is None else self.prior_weight
        trace = self.trace(task, {"prior_weight": weight} if self.prior_weight is None else None, labels=labels)
        with trace.timed(), torch.no_grad():
            base = self._base.fit(replace(task, unlabeled=None, query=None))
            trace.labels_per_class = base.trace.labels_per_class
            x, dtype = gathered(task), working_dtype(task)
            text = unit_rows(class_texts(task, self.averaging)).to(dtype)
            support = require_labels(task) if labels else None
            known = x[:0] if support is None else support.unit_x().to(dtype)
            one_hot = torch.eye(task.n_classes, dtype=dtype)[[] if support is None else support.labels]
            says = torch.cat([base(rows) for rows in (task.unlabeled, task.query) if rows is not None]).to(dtype)
            graph, pull = affinities(x, known, one_hot, self.neighbours)
            strength = max(self.anchor, ANCHOR_SHARE * len(x) / task.n_classes) if self.anchor else 0.0
            logits, found, common = transduce(
                x,
                weight * says,
                confident_shares(says, self.confident),
                graph,
                pull=pull,
                labelled=moments(known, one_hot, self.label_weight) if labels else None,
                anchor=text_anchor(x, says.softmax(1), text) if self.anchor else 0.0,
                strength=strength,
                temperature=self.temperature,
                class_prior=self.class_prior,
                rounds=self.rounds,
            )
            slope, bias = found.linear()
            slope, bias = slope / self.temperature, bias / self.temperature + common
            head = _with_prior(base.head, LinearHead(slope.to(dtype), bias.to(dtype), scale=1.0), weight)
        few = int((logits.softmax(1).sum(0) < 1).sum())
        if few:
            trace.notes.append(f"{few} of {task.n_classes} classes have next to no image among {len(x)}.")
        answer = None if task.query is None else logits[len(logits) - len(task.query) :]
        return Fitted(head, query_logits=answer, trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """Not possible: other classes need images of their own."""
        raise NeedsError(
            "Transductive can't score classes that it was not fitted on, since it fits every class to unlabeled "
            "images: fit it anew with the names of all classes, or fit ZeroShot."
        )


def _with_prior(prior: Head, densities: LinearHead, weight: float) -> Head:
    """``weight * prior + densities`` as one head: a linear one where the prior is linear."""
    if isinstance(prior, LinearHead) and prior.normalize:
        scale = float(prior.scale)
        slope = weight * prior.weight + densities.weight / scale
        return LinearHead(slope, weight * prior.bias + densities.bias, scale=scale)
    return BlendHead([prior, densities], torch.tensor([weight, 1.0], dtype=densities.weight.dtype))
