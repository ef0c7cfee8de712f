"""CODER: images described by their cosines with what is known of the classes in words."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.heads.base import Head
from clipwright.heads.metric_cache import MetricCacheHead
from clipwright.heads.rerank import RerankHead
from clipwright.methods.base import Method, Requirements, require_labels, working_dtype
from clipwright.methods.coder_few_shot import Choice, Held, Memory, exact_search, gram_root, released_search
from clipwright.methods.coder_texts import KINDS, NAMING, Kind, Pairs, first_kind, pair_vectors, prompts, text_blocks
from clipwright.methods.text_value import helpful
from clipwright.methods.tip_adapter import support_keys
from clipwright.task import AveragingRule, Need, Task, TextFeatures
from clipwright.training.selection import labels_used

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

ANCHOR = (24.0, 3.0)
"""(beta, alpha) that wins among pairs that classify equally many rows right."""

ONE_SHOT = (24.0, 1.7)
"""(beta, alpha) where no class has a second image to hold out."""

BETAS = (0.1, 200.0)
ALPHAS = (0.1, 100.0)
"""Ends of what is searched."""


@dataclass(frozen=True)
class CODER(Method):
    """Scores from many texts per class: what it looks like, what looks like it, what else it is called.

    Without labels: ``logit_scale * mean(cosines with the texts that describe the class, and the largest cosine with its
    name and synonyms)``; then, where the two largest probabilities are nearly equal, the leading classes are compared
    two by two by texts that tell just those apart. With labels: the zero-shot logits of the prompt templates plus a
    memory of the labelled images, compared in the metric that the texts give (see `MetricCacheHead`).

    Attributes:
        kinds: which kinds of text are read besides names and prompt templates, out of ``attribute``, ``analogue``,
            ``description``, ``synonym`` and ``one-vs-one``; None = those that there are. The published method has no
            descriptions.
        agreement: leave out texts that agree less than this with their class's name against other classes' names, a
            difference of cosines (see `clipwright.methods.text_value.agreement`); ``auto`` = half of how far the name
            is from the nearest other one; None = none are left out, as published. What names a class always stays.
        rerank: compare leading classes by their one-vs-one texts; ``auto``: where at least one pair of classes has
            texts in both directions.
        gap: difference of the two largest probabilities, above 0, at most 1, below which classes are compared. The
            released code has one for each data set, 0.05 to 0.6, without saying how it was found; 0.1 is their median.
        top: how many leading classes are compared, at least 2; 5 as released, 2 in an earlier version.
        few_shot: use labelled images; ``auto``: where there are any.
        beta: with labels, how fast an image's vote falls with its distance, positive; None = searched.
        alpha: with labels, how much the memory counts, positive; None = searched.
        steps: values of beta that are tried, at least 2, at equal ratios from 0.1 to 200; for each, all alphas from
            0.1 to 100 are.
        legacy_search: where neither beta nor alpha is given, search them in three rounds on the released grids and take
            the first best pair.
        averaging: with labels, how the prompts of a class become one vector of the zero-shot logits.
        use_views: with labels, make each key from the mean of the image's stored views, where there are any, as
            published.

    A class without a ``name`` row is named by the mean of its prompt templates. The search looks at the task's
    validation rows where there are any, else at each labelled row with its own key left out.

    Source: Yi et al. 2024; the formulas are those of the released code.
    """

    title: ClassVar[str] = "CODER"
    summary: ClassVar[str] = "texts about the classes: attributes, look-alikes, synonyms, pairs; a memory with labels"
    paper: ClassVar[str] = (
        "Yi et al., Leveraging Cross-Modal Neighbor Representation for Improved CLIP Classification, CVPR 2024"
    )

    kinds: tuple[Kind, ...] | None = None
    agreement: Annotated[float, Field(ge=-2, le=2)] | Literal["auto"] | None = None
    rerank: bool | Literal["auto"] = "auto"
    gap: Annotated[float, Field(gt=0, le=1)] = 0.1
    top: Annotated[int, Field(ge=2)] = 5
    few_shot: bool | Literal["auto"] = "auto"
    beta: Positive | None = None
    alpha: Positive | None = None
    steps: Annotated[int, Field(ge=2, le=10_000)] = 200
    legacy_search: bool = False
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True

    def requires(self) -> Requirements:
        """Text features; labels, with their views and validation labels, where they are used."""
        needs: set[Need] = {Need.TEXT}
        optional: set[Need] = set()
        if self.few_shot is not False:
            (needs if self.few_shot is True else optional).add(Need.LABELS)
            optional |= {Need.VIEWS} if self.use_views else set()
            optional |= {Need.VALIDATION} if self.beta is None or self.alpha is None else set()
        return Requirements(frozenset(needs), frozenset(optional))

    def fit(self, task: Task) -> Fitted:
        """Sum up the texts; with labels, store the images and search beta and alpha.

        Raises:
            NeedsError: the task has no text features, or no labelled images where they are wanted.
            DataError: a class has no text or, with labels, no labelled image; or there is no pair to compare.
        """
        self.check(task)
        text = task.text
        assert text is not None  # noqa: S101 - checked
        kept, text = text, self._agreeing(text)
        few = self.few_shot is True or (self.few_shot == "auto" and Need.LABELS in task.supplies())
        trace = self.trace(task, self._rules(text, few), labels=few)
        if len(text) < len(kept):
            trace.notes.append(f"{len(kept) - len(text)} of {len(kept)} texts agree too little and were left out.")
        if few and self.rerank is True:
            trace.notes.append(
                "Labels are used, so leading classes aren't compared again: set few_shot to false for that."
            )
        with trace.timed():
            head = self._few_shot(task, text, trace) if few else self._zero_shot(task, text, trace)
            return Fitted(head, trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The texts of the other classes are their classifier, unless labels were used."""
        return super().extend(fitted, task) if isinstance(fitted.head, MetricCacheHead) else self.fit(task)

    def _agreeing(self, text: TextFeatures) -> TextFeatures:
        """The texts that agree enough, told without labels."""
        if self.agreement is None:
            return text
        text = text[torch.tensor([kind in {*NAMING, *KINDS} for kind in text.kind], dtype=torch.bool)]
        return text[helpful(text, least=self.agreement, same=torch.inf)]

    def _kinds(self, text: TextFeatures) -> list[str]:
        there = set(text.kind)
        return [k for k in KINDS if k in (there if self.kinds is None else self.kinds)]

    def _rules(self, text: TextFeatures, few: bool) -> dict[str, object]:
        rules: dict[str, object] = {}
        if self.kinds is None:
            rules["kinds"] = tuple(self._kinds(text))
        if self.few_shot == "auto":
            rules["few_shot"] = few
        if self.rerank == "auto":
            rules["rerank"] = False  # until pairs are found
        return rules

    # --- without labels -----------------------------------------------------------------------------------------------

    def _zero_shot(self, task: Task, text: TextFeatures, trace: FitTrace) -> Head:
        dtype, kinds = working_dtype(task), self._kinds(text)
        head = text_blocks(text, kinds, dtype, task.class_names).head(task.logit_scale)
        wanted = self.rerank is True or (self.rerank == "auto" and "one-vs-one" in kinds)
        if not wanted:
            return head
        found = pair_vectors(text, dtype)
        if len(found.pairs):
            trace.chosen["rerank"] = True
            trace.notes.append(coverage(found, task.n_classes))
            return RerankHead(head, found.pairs, found.vectors, gap=self.gap, top=self.top)
        if self.rerank is True:
            raise DataError(
                "re-ranking compares classes by one-vs-one texts in both directions, and no pair of classes has them: "
                "give such texts, or leave rerank at auto."
            )
        if found.one_sided:
            trace.notes.append(coverage(found, task.n_classes))
        return head

    # --- with labels --------------------------------------------------------------------------------------------------

    def _few_shot(self, task: Task, text: TextFeatures, trace: FitTrace) -> Head:
        support, dtype = require_labels(task), working_dtype(task)
        blocks = text_blocks(text, self._kinds(text), dtype, task.class_names)
        rows = torch.cat([blocks.described, unit_rows(text.x[first_kind(text, NAMING)]).to(dtype)])
        root = gram_root(rows)
        keys = unit_rows(support_keys(support, use_views=self.use_views).to(dtype) @ root.T)
        weight = unit_rows(prompts(text).classifier(self.averaging)).to(dtype)
        memory = Memory(weight, root, keys, support.labels.clone(), task.logit_scale)
        found, how = self._search(memory, task)
        trace.chosen |= {"beta": found.beta, "alpha": found.alpha}
        if how is not None:
            trace.how |= {n: how for n in ("beta", "alpha") if getattr(self, n) is None}
            trace.labels_per_class = labels_used(task) if how == "validation" else task.labels_per_class
        trace.notes.append(f"Images are compared by their cosines with {len(rows)} texts, in {len(root)} dimensions.")
        return memory.head(found.beta, found.alpha)

    def _search(self, memory: Memory, task: Task) -> tuple[Choice, Source | None]:
        """Beta and alpha, and how those not given were found; None = both were given."""
        if self.beta is not None and self.alpha is not None:
            return Choice(self.beta, self.alpha, 0), None
        held, how = self._held(memory, task)
        if held is None:
            return Choice(self.beta or ONE_SHOT[0], self.alpha or ONE_SHOT[1], 0), "rule"
        if self.legacy_search and self.beta is None and self.alpha is None:
            return released_search(memory, held)[-1].best, how
        betas = torch.logspace(0, 1, self.steps, BETAS[1] / BETAS[0], dtype=torch.float64) * BETAS[0]
        if self.beta is not None:
            betas = torch.tensor([self.beta], dtype=torch.float64)
        ends = ALPHAS if self.alpha is None else (self.alpha, self.alpha)
        return exact_search(memory, held, betas, ends, ANCHOR), how

    def _held(self, memory: Memory, task: Task) -> tuple[Held | None, Source]:
        """The rows that a pair is judged on: validation rows, else labelled rows whose class has another."""
        dtype = memory.weight.dtype
        if task.validation is not None and len(task.validation):
            return Held(task.validation.unit_x().to(dtype), task.validation.labels), "validation"
        support = require_labels(task)
        rows = (torch.tensor(task.shots)[support.labels] > 1).nonzero()[:, 0]
        if not len(rows):
            return None, "rule"
        return Held(support.unit_x()[rows].to(dtype), support.labels[rows], rows), "cross-validation"


def coverage(found: Pairs, n_classes: int) -> str:
    """How many pairs of classes can be compared, in one sentence."""
    every = n_classes * (n_classes - 1) // 2
    missing = every - len(found.pairs)
    sided = f", {found.one_sided} of them with texts in one direction only" if found.one_sided else ""
    return (
        f"One-vs-one texts compare {len(found.pairs)} of {every} pairs of classes; {missing} are missing{sided}, "
        "and a missing pair counts 0."
    )
