"""ProKeR: kernel ridge regression of the labels that starts from the zero-shot classifier instead of from zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.choice import near_best
from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.heads.blend import BlendHead
from clipwright.heads.kernel import KernelHead, radial_kernel
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

GRID = tuple(10 ** (i / 2) for i in range(-5, 4))
"""The regularizations tried: 0.003 to 30 in half decades."""

ONE_SHOT, MORE_SHOTS = 0.5, 0.1
"""The regularization where there is nothing to choose it on: below two labelled images per class, and from there on."""

MOST = 3000
"""Above so many labelled images none are left out in turn: that takes the eigenvectors of their kernel matrix."""


def proximal_coefficients(kernel: torch.Tensor, residual: torch.Tensor, regularization: float) -> torch.Tensor:
    """``A = (K + r I)^-1 (Y - P)``: with it, ``f(x) = p(x) + k(x, X) A`` minimises ``|f(X) - Y|^2 + r |f - p|^2``.

    The second norm is that of the kernel's function space; p is the prior predictor, P its answers on the rows X.

    Args:
        kernel: (N, N) K, positive semi-definite.
        residual: (N, C) ``Y - P``, one-hot labels less the prior's answers.
        regularization: r, positive.

    Returns:
        (N, C).

    Source: Bendou et al. 2025, section 4.
    """
    system = kernel.clone()
    system.diagonal().add_(regularization)
    return torch.cholesky_solve(residual, torch.linalg.cholesky(system))


def left_out_errors(kernel: torch.Tensor, residual: torch.Tensor, regularizations: Sequence[float]) -> torch.Tensor:
    """(R, N, C) what each row's label is above the answer of the fit without that row: that of refitting, exactly.

    It is ``A_i / G_ii`` with ``G = (K + r I)^-1``; one eigendecomposition serves every regularization.

    Args:
        kernel: (N, N) K.
        residual: (N, C) ``Y - P``.
        regularizations: R positive numbers.

    Source: Rifkin and Lippert, Notes on Regularized Least Squares, 2007, section 3; a prior that no label entered
    shifts answers and labels alike.
    """
    values, basis = torch.linalg.eigh(kernel)
    rotated = basis.T @ residual
    inverses = [1 / (values + r) for r in regularizations]
    return torch.stack([basis @ (rotated * g[:, None]) / (basis.square() @ g)[:, None] for g in inverses])


@dataclass(frozen=True)
class ProKeR(Method):
    """``logit_scale * unit(x) . t_c + sum over labelled images i: exp(-beta * (1 - unit(x) . x_i)) * a_ic``.

    The second part is a kernel ridge regression of what the zero-shot classifier leaves of the one-hot labels.

    Attributes:
        regularization: how strongly the answer is held to the zero-shot one, positive; infinite would be zero-shot.
            ``auto`` takes, of a grid from 0.003 to 30, the value with the most images right, where a value ten times
            off 0.1 must get four more right: on the validation set where the task has one, else on each labelled image
            left out in turn, in closed form. It is 0.5 with fewer than two labelled images per class on average, 0.1
            with more than 3,000 labelled images. The released settings are 0.05 to 0.1, by shots.
        beta: how fast an image's say falls with its distance, positive; the released settings are 1.5 to 3, by shots.
        prior: what zero-shot logits are multiplied by to be compared with labels 0 and 1, positive; 0.05 turns CLIP's
            100 times cosine into 5 times cosine. Chosen here; see the page.
        averaging: how the prompts of a class become one vector t_c of length 1.

    Source: Bendou et al. 2025, section 4.
    """

    title: ClassVar[str] = "ProKeR"
    summary: ClassVar[str] = "a few labels: kernel ridge regression that starts from zero-shot, in closed form"
    paper: ClassVar[str] = (
        "Bendou et al., ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language Models, CVPR 2025"
    )

    regularization: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    prior: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    averaging: AveragingRule = "mean_unit_renorm"

    def requires(self) -> Requirements:
        """Text features and labels; validation labels where there are any."""
        return wants(validation=self.regularization == "auto")

    def fit(self, task: Task) -> Fitted:
        """Solve for what each labelled image adds to each class.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed(), threads_for(len(support) ** 2 * (len(support) + support.dim)):
            texts = unit_rows(class_texts(task, self.averaging)).double()
            problem = _Problem(support, self.prior * task.logit_scale * texts, self.beta)
            regularization = self._regularization(task, problem, trace)
            values = proximal_coefficients(problem.kernel, problem.residual, regularization) / self.prior
            dtype = working_dtype(task)
            zero_shot = LinearHead(texts.to(dtype), scale=task.logit_scale)
            added = KernelHead(problem.x.to(dtype), values.to(dtype), beta=self.beta)
            return Fitted(BlendHead([zero_shot, added], torch.ones(2, dtype=dtype)), trace=trace)

    def _regularization(self, task: Task, problem: _Problem, trace: FitTrace) -> float:
        if self.regularization != "auto":
            return float(self.regularization)
        enough = len(problem.y) >= 2 * task.n_classes
        value = MORE_SHOTS if enough else ONE_SHOT
        how: Source = "rule"
        if task.validation is not None and len(task.validation):
            how, value = "validation", near_best(problem.right_on(task.validation), GRID, value)
            trace.labels_per_class = labels_used(task)
        elif enough and len(problem.y) <= MOST:
            how, value = "cross-validation", near_best(problem.right_left_out(), GRID, value)
        trace.chosen["regularization"], trace.how["regularization"] = value, how
        return value


class _Problem:
    """The system to be solved: what depends on the labelled images but not on the regularization."""

    def __init__(self, support: Features, prior: torch.Tensor, beta: float) -> None:
        self.x, self.y = support.unit_x().double(), support.labels
        self.prior, self.beta = prior, beta
        self.kernel = radial_kernel(self.x, self.x, beta)
        self.labels = torch.nn.functional.one_hot(self.y, len(prior))
        self.residual = self.labels - self.x @ prior.T
        if not bool(torch.isfinite(self.residual).all()):
            raise DataError("features or texts hold NaN or infinity: extract them again.")

    def right_on(self, rows: Features) -> list[int]:
        """How many other rows are right at each regularization of the grid."""
        x = rows.unit_x().double()
        zero_shot, near = x @ self.prior.T, radial_kernel(x, self.x, self.beta)
        answers = [zero_shot + near @ proximal_coefficients(self.kernel, self.residual, r) for r in GRID]
        return [int((answer.argmax(1) == rows.labels).sum()) for answer in answers]

    def right_left_out(self) -> list[int]:
        """How many support rows, of classes that have another, are right when left out."""
        others = torch.bincount(self.y)[self.y] > 1
        answers = self.labels - left_out_errors(self.kernel, self.residual, GRID)
        right: list[int] = ((answers.argmax(-1) == self.y) & others).sum(-1).tolist()
        return right
