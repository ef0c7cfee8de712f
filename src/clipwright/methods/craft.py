"""CraFT: a soft prompt found by asking alone, and a small network that corrects the answers, in turns."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.hashing import digest_json
from clipwright.core.progress import progress
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.base import Head
from clipwright.heads.linear import LinearHead
from clipwright.heads.refine import ChainHead, RefineHead, ScaleHead
from clipwright.methods.base import Method, Requirements, Tags, require_labels, working_dtype
from clipwright.methods.craft_fit import Collaboration, initial_network, projection_matrix
from clipwright.methods.scores import behind_scores, class_scores, text_head
from clipwright.task import Access, BlackBox, Need, Task
from clipwright.training.batches import random_views, shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.evolution import CSA, Evolution, Pycma

Parts = Literal["both", "prompt", "head"]


def default_budget(shots: float) -> int:
    """Prompts that are evaluated: 2,000 for one label per class, 4,000 up to four, 8,000 beyond; as released."""
    return 2000 if shots <= 1 else 4000 if shots <= 4 else 8000


@dataclass(frozen=True)
class CraFT(Method):
    """A soft prompt by an evolution strategy, and a residual network on the class scores, each pulled to the other.

    Attributes:
        parts: ``both``; ``prompt`` (the prompt alone: black-box tuning); or ``head`` (the refinement alone, which needs
            class scores and no prompt).
        optimizer: ``csa`` (built in: isotropic, with cumulative step-size adaptation) or ``pycma`` (CMA-ES, extra
            ``craft``).
        intrinsic_dim: k, dimensions of the random subspace that is searched, at least 1; 512 in the paper.
        words: the words whose token embeddings the prompt starts from; their number is the prompt's length m.
        sigma: first step size of the search, positive. Released: 0.02 or 1, by data set.
        std: standard deviation of the subspace matrix's entries, positive; None = such that a step of 1 moves the
            embeddings by their own size. Released: 0.2 or 1, by data set.
        bound: box bound of the search in every coordinate, 0 = none. Released: 5 or 0, by data set.
        popsize: prompts per generation, at least 4; 40 in the paper.
        budget: prompts evaluated in all; None = `default_budget`.
        parallel: the budget counts generations instead of prompts.
        weight: lambda, of the divergence in both losses, at least 0. Released: 0 to 1, by data set.
        until: n: the refinement's divergence counts for the first n-th of the budget, at least 1. Released: 1 or 4.
        hidden: H, width of the refinement, at least 1; 256 as released, 512 for ImageNet.
        learning_rate: Adam's, of the refinement, positive; 1e-3 as released.
        batch_size: rows per step of the refinement, at least 1; 256 as released.
        working: which prompt the refinement and the result use: the ``mean`` of the search, the ``best`` ever
            evaluated (as released for ImageNet), or the mean of as many ``fresh`` draws (as released elsewhere).
        projection: the subspace matrix: ``normal`` entries, or ``uniform`` in ±1/sqrt(k), which `std` doesn't change
            (as released for ImageNet).
        legacy_random_head: start the refinement at random instead of at zero.
        legacy_unnormalised_head: train the refinement on image features of their own length.
        legacy_augmented_fitness: judge prompts on one augmented view of each image, drawn once, where there are views.

    Source: Wang et al. 2024; the losses are those of the released code, whose directions of the divergences they keep.
    """

    title: ClassVar[str] = "CraFT"
    summary: ClassVar[str] = "a few labels and a black box that takes soft prompts: prompt and refinement in turns"
    paper: ClassVar[str] = "Wang et al., Connecting the Dots: Collaborative Fine-tuning for Black-Box VLMs, ICML 2024"

    tags: ClassVar[Tags] = Tags(
        exempt={
            "ties": "once the loss has vanished, Adam turns rounding errors of the gradient into steps, so two classes "
            "that look the same drift apart by about a hundredth of the logits",
            "dtypes": "a rounding error can change which of two prompts is the better one, and with it the search",
        },
    )

    parts: Parts = "both"
    optimizer: Literal["csa", "pycma"] = "csa"
    intrinsic_dim: Annotated[int, Field(ge=1)] = 512
    words: Annotated[str, Field(min_length=1)] = "a photo of a"
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3
    std: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    bound: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    popsize: Annotated[int, Field(ge=4)] = 40
    budget: Annotated[int, Field(ge=1)] | None = None
    parallel: bool = False
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    until: Annotated[int, Field(ge=1)] = 1
    hidden: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    batch_size: Annotated[int, Field(ge=1)] = 256
    working: Literal["mean", "best", "fresh"] = "mean"
    projection: Literal["normal", "uniform"] = "normal"
    legacy_random_head: bool = False
    legacy_unnormalised_head: bool = False
    legacy_augmented_fitness: bool = False

    def requires(self) -> Requirements:
        """Labels and a black box that takes soft prompts and gives scores; for the refinement alone, scores."""
        optional = frozenset({Need.VIEWS})
        if self.parts == "head":
            needs = {Need.LABELS, Need.SCORES}
            if self.legacy_unnormalised_head:
                needs |= {Need.RAW_NORMS}
            return Requirements(frozenset(needs), optional, frozenset({Access.SCORES}))
        needs = {Need.LABELS, *([Need.RAW_NORMS] if self.legacy_unnormalised_head else [])}
        return Requirements(frozenset(needs), optional, frozenset({Access.SOFT_PROMPT, Access.SCORES}))

    def fit(self, task: Task) -> Fitted:
        """Search and refine.

        Raises:
            NeedsError: the task lacks labels, or the model lacks soft prompts or scores.
            DataError: a class has no labelled image.
            DivergedError: the refinement's loss became NaN or infinite.
        """
        self.check(task)
        require_labels(task)
        budget = self.budget or default_budget(sum(task.shots) / task.n_classes)
        trace = self.trace(task, {} if self.budget else {"budget": budget})
        with trace.timed():
            return _Fit(self, task, budget, trace).fitted()


class _Fit:
    """One fit in the making."""

    def __init__(self, craft: CraFT, task: Task, budget: int, trace: FitTrace) -> None:
        self.craft, self.task, self.trace = craft, task, trace
        self.support = require_labels(task)
        self.dtype = working_dtype(task)
        self.generations = budget if craft.parallel else max(1, budget // craft.popsize)
        self.budget = budget * craft.popsize if craft.parallel else budget
        self.box = task.access if craft.parts != "head" and isinstance(task.access, BlackBox) else None
        if craft.parts != "head" and self.box is None:
            raise NeedsError("CraFT needs a model that takes soft prompts: use a backbone with a causal text tower.")
        self.visible = self.box is not None and Access.FEATURES in self.box.access and self.support.dim > 0
        self.start = torch.zeros(0, 0) if self.box is None else self.box.context(craft.words).to(self.dtype)
        self.matrix = self._matrix()

    def fitted(self) -> Fitted:
        before = dataclasses.asdict(self.box.spent) if self.box is not None else {}
        collaboration = self._collaboration()
        with progress("CraFT", self.generations, "generations", quiet=self.task.quiet or self.box is None) as advance:
            collaboration.tick = advance
            point = collaboration.run()
        self.trace.losses = collaboration.losses or collaboration.values
        if collaboration.checkpoint is not None:
            collaboration.checkpoint.clear()
        prompt = None if self.box is None else self._contexts(point[None])[0]
        refine = collaboration.head() if collaboration.network is not None else None
        found = self._answer(prompt, refine)
        if self.box is not None:
            spent = {name: n - before[name] for name, n in dataclasses.asdict(self.box.spent).items()}
            self.trace.spent = spent
            self.trace.calls = spent["requests"]
            search = collaboration.search
            assert search is not None  # noqa: S101 - there is a box
            asked = search.generation * search.population
            self.trace.notes.append(
                f"{asked:,} prompts were judged on {len(self.support):,} labelled images each: "
                f"{asked * len(self.support):,} scorings."
            )
        return found

    def _matrix(self) -> torch.Tensor:
        craft = self.craft
        std = craft.std
        if std is None and self.start.numel():
            std = float(self.start.double().square().mean().sqrt()) / craft.intrinsic_dim**0.5
            self.trace.chosen["std"], self.trace.how["std"] = std, "rule"
        if craft.projection == "uniform":
            std = None
        return projection_matrix(self.start.numel(), craft.intrinsic_dim, std=std, seed=self.task.seed)

    def _collaboration(self) -> Collaboration:
        craft, task = self.craft, self.task
        search: Evolution | None = None
        if self.box is not None:
            kind = CSA if craft.optimizer == "csa" else Pycma
            key = ("craft", "search")
            search = kind(craft.intrinsic_dim, craft.sigma, craft.popsize, bound=craft.bound, seed=task.seed, key=key)
        network = None
        if craft.parts != "prompt":
            network = initial_network(
                task.class_names,
                craft.hidden,
                seed=task.seed,
                random_output=craft.legacy_random_head,
                dtype=self.dtype,
            )
        n = len(self.support)
        return Collaboration(
            contexts=self._contexts,
            scores=self._fitness_scores(),
            head_scores=self._head_scores(),
            labels=self.support.labels,
            classes=task.n_classes,
            search=search,
            network=network,
            batches=shuffled_batches(n, craft.batch_size, drop_last=False, seed=task.seed, key=("craft", "order")),
            generations=self.generations,
            learning_rate=craft.learning_rate,
            weight=craft.weight,
            until=self.budget // craft.until,
            working=craft.working,
            checkpoint=self._checkpoint(),
        )

    def _checkpoint(self) -> Checkpoint | None:
        task = self.task
        if task.workspace is None:
            return None
        content = hashlib.sha256()
        for tensor in (self.support.x, self.support.labels, self.support.scores, self.start):
            if tensor is not None:
                content.update(tensor.double().contiguous().numpy().tobytes())
        facts = {"craft": self.craft.hyper_parameters(), "seed": task.seed, "names": list(task.class_names)}
        digest = digest_json(facts | {"content": content.hexdigest(), "handles": list(self.support.handles or ())})
        return Checkpoint(task.workspace / "craft.safetensors", digest)

    def _contexts(self, points: torch.Tensor) -> torch.Tensor:
        """(P, k) to (P, m, d)."""
        if self.box is None:
            return torch.zeros(len(points), 0, 0)
        return self.start + (points @ self.matrix.T).view(len(points), *self.start.shape).to(self.dtype)

    def _texts(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, C, D) unit class texts."""
        assert self.box is not None  # noqa: S101 - there are contexts
        return unit_rows(self.box.prompt_features(contexts.float()).to(self.dtype))

    def _asked(self, contexts: torch.Tensor) -> torch.Tensor:
        """(P, n, C) scores that the black box gives the labelled images."""
        assert self.box is not None  # noqa: S101 - there are contexts
        if self.support.handles is None:
            raise NeedsError("this black box keeps its features: send it the labelled images first.")
        return self.box.prompt_scores(contexts.float(), self.support.handles).to(self.dtype)

    def _fitness_scores(self) -> Callable[[torch.Tensor], torch.Tensor]:
        if not self.visible:
            return self._asked
        images = self._one_view() if self.craft.legacy_augmented_fitness else self.support.x
        rows = self.task.logit_scale * unit_rows(images).to(self.dtype)
        return lambda contexts: rows @ self._texts(contexts).transpose(1, 2)

    def _one_view(self) -> torch.Tensor:
        if self.support.views is None:
            return self.support.x
        return random_views(self.support.views, seed=self.task.seed, key=("craft", "fitness view"))(0)

    def _head_scores(self) -> Callable[[torch.Tensor, int], torch.Tensor]:
        if self.box is not None and not self.visible:
            return lambda context, _: self._asked(context[None])[0]
        if self.box is None and self.support.scores is not None:
            fixed = class_scores(self.task, self.support).to(self.dtype).mean(1)
            return lambda context, turn: fixed
        views = self.support.views
        draw = None if views is None else random_views(views, seed=self.task.seed, key=("craft", "view"))

        def scores(context: torch.Tensor, turn: int) -> torch.Tensor:
            x = self.support.x if draw is None else draw(turn)
            rows = self.task.logit_scale * unit_rows(x).to(self.dtype)
            if self.craft.legacy_unnormalised_head:
                rows = self.task.logit_scale * x.to(self.dtype)
            texts = text_head(self.task).weight if self.box is None else self._texts(context[None])[0]
            return rows @ texts.T

        return scores

    def _answer(self, prompt: torch.Tensor | None, refine: RefineHead | None) -> Fitted:
        if prompt is None:
            assert refine is not None  # noqa: S101 - the parts are prompt, head, or both
            return Fitted(behind_scores(self.task, refine), trace=self.trace)
        if self.visible:
            first = LinearHead(self._texts(prompt[None])[0], scale=self.task.logit_scale)
            return Fitted(first if refine is None else ChainHead(first, refine), trace=self.trace)
        classes = self.task.n_classes
        head: Head = refine or ScaleHead(torch.ones(1, classes), torch.zeros(classes))
        return Fitted(head, prompt=prompt, box=self.box, trace=self.trace)
