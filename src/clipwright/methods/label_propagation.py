"""LabelPropagation: class texts spread their labels over a graph of unlabeled images."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.neighbours import NeighbourHead, text_links
from clipwright.methods.base import Method, Requirements, Tags, class_texts, working_dtype
from clipwright.methods.propagation import build_graph, project, propagate, shared_removed
from clipwright.methods.transductive import gathered, lacks_rows
from clipwright.task import Access, AveragingRule, Need, Task

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-6}
"""Of the linear system, relative to its right side."""


@dataclass(frozen=True)
class LabelPropagation(Method):
    """The say of class c at an image: all paths to it from the text of c, in a graph of images and class texts.

    Every image is linked to the images nearest to it and to the class texts that it scores highest; a path of m steps
    counts ``alpha^m`` times the weights of its links, which are scaled by the square roots of the degrees of their
    ends. The query is answered together with all unlabeled images. Any other image takes the votes of its nearest
    stored images and texts; the stored images are part of the classifier.

    Attributes:
        averaging: how the prompts of a class become one vector, see ZeroShot.
        neighbours: images that every image is linked to.
        links: class texts that every image is linked to.
        alpha: how much a step counts, in [0, 1).
        power: what cosines of images are raised to; larger = only the closest count.
        text_weight: how much links to texts count beside those to images.
        remove_shared: compare images and texts only where class texts differ, without the direction that all of
            them share, as ReCLIP does (Hu et al. 2024, section 3.1).
    """

    title: ClassVar[str] = "LabelPropagation"
    summary: ClassVar[str] = "class names and unlabeled images: labels spread from the texts over a graph of images"
    paper: ClassVar[str] = (
        "Stojnic et al., Label Propagation for Zero-shot Classification with Vision-Language Models, CVPR 2024; "
        "Hu et al., ReCLIP: Refine Contrastive Language Image Pre-Training with Source Free Domain Adaptation, "
        "WACV 2024"
    )
    tags: ClassVar[Tags] = Tags(transductive=True)

    averaging: AveragingRule = "mean_unit_renorm"
    neighbours: Annotated[int, Field(ge=1, le=1000)] = 10
    links: Annotated[int, Field(ge=1, le=1000)] = 3
    alpha: Annotated[float, Field(ge=0, lt=1)] = 0.9
    power: Annotated[float, Field(ge=0, le=100)] = 3.0
    text_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.3
    remove_shared: bool = False

    def requires(self) -> Requirements:
        """Texts and unlabeled images, a query too or instead."""
        return Requirements(frozenset({Need.TEXT, Need.UNLABELED}), frozenset({Need.QUERY}))

    def missing(self, task: Task) -> tuple[list[Need], list[Access]]:
        """What `task` lacks; a query of at least one image stands in for unlabeled images."""
        needs, access = super().missing(task)
        return lacks_rows(task, needs), access

    def fit(self, task: Task) -> Fitted:
        """Build the graph and solve the linear system.

        Raises:
            NeedsError: there are no texts, or neither unlabeled images nor a query.
            DataError: a class has no text.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed(), torch.no_grad():
            x = gathered(task)
            text, basis, near = unit_rows(class_texts(task, self.averaging)).to(x.dtype), None, x
            if self.remove_shared:
                basis = shared_removed(text)
                near, text = project(x, text)
            graph = build_graph(
                near,
                text_links(task.logit_scale * (x @ text.T), self.links),
                self.neighbours,
                self.power,
                self.text_weight,
            )
            images, texts = propagate(graph, self.alpha, TOLERANCE[working_dtype(task)])
            head = NeighbourHead(
                near,
                (images / graph.degree.sqrt()[:, None]).clamp(min=0),
                text,
                self.text_weight * (texts / graph.text_degree.sqrt()[:, None]).clamp(min=0),
                basis,
                scale=task.logit_scale,
                k=self.neighbours,
                links=self.links,
                power=self.power,
            )
            said = images.clamp(min=torch.finfo(images.dtype).tiny).log()
        answer = None if task.query is None else said[len(said) - len(task.query) :]
        return Fitted(head, query_logits=answer, trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """Not possible: the graph holds the classes of the fit."""
        raise NeedsError(
            "LabelPropagation can't score classes that are not in its graph: fit it anew with the names of all "
            "classes, or fit ZeroShot."
        )
