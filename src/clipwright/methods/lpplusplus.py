"""LP++: a linear probe whose weights are class prototypes plus a learned multiple of the class texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Task
from clipwright.training.loop import train
from clipwright.training.selection import Selection, best_state, labels_used
from clipwright.training.threads import threads_for


class Blend(NamedTuple):
    """What LP++ learns: logits are ``f . (weight_k + alpha_k * text_k) + bias_k``."""

    weight: torch.Tensor  # (C, D)
    bias: torch.Tensor  # (C,)
    alpha: torch.Tensor  # (C,)

    def classifier(self, texts: torch.Tensor) -> torch.Tensor:
        """(C, D) weights of the linear classifier that prototypes and (C, D) unit texts make together."""
        return self.weight + self.alpha[:, None] * texts


class Steps(NamedTuple):
    """Step sizes of the two blocks."""

    weight: float
    alpha: float


def step_sizes(f: torch.Tensor, texts: torch.Tensor) -> Steps:
    """Inverse Lipschitz constants of the gradient, block by block, with the paper's approximations.

    ``4 N / lambda_max(F^T F)`` for the prototypes (Eq. 10) and ``N / (4 max_k sum_i (f_i . t_k)^2)`` for the blending
    (Eq. 11). The first is twice what is safe for more than two classes, because the softmax's curvature is bounded by
    1/2 and not by 1/4; in practice it converges.

    Args:
        f: (N, D) unit image features.
        texts: (C, D) unit class texts.

    Returns:
        The step sizes; 0 for a block that the features can't move.

    Raises:
        DataError: the features hold NaN or infinity.
    """
    if not bool(torch.isfinite(f).all()):
        raise DataError("the labelled images' features hold NaN or infinity: extract them again.")
    gram = f.T @ f if f.shape[1] <= len(f) else f @ f.T
    largest = float(torch.linalg.eigvalsh(gram)[-1])
    agreement = float((f @ texts.T).square().sum(0).max())
    return Steps(4 * len(f) / largest if largest > 0 else 0.0, len(f) / (4 * agreement) if agreement > 0 else 0.0)


def initial_blend(
    f: torch.Tensor, y: torch.Tensor, texts: torch.Tensor, *, alpha_scale: float = 250.0, per_class: bool = False
) -> Blend:
    """Minima of the loss without its log-sum-exp term: the start of the descent.

    Args:
        f: (N, D) unit image features, at least one per class.
        y: (N,) int64 classes.
        texts: (C, D) unit class texts.
        alpha_scale: blending per unit of cosine between a class's images and its text.
        per_class: a blending for each class by its own images; False = their mean for all.

    Returns:
        Class means times the mean number of rows per class (with equal counts: class sums), no bias, and the blending.
    """
    counts = torch.bincount(y, minlength=len(texts)).to(f.dtype)
    means = torch.zeros_like(texts).index_add_(0, y, f) / counts[:, None]
    agreement = (means * texts).sum(1)
    alpha = alpha_scale * (agreement if per_class else agreement.mean().expand(len(texts)))
    return Blend(means * (len(f) / len(texts)), torch.zeros_like(counts), alpha.clone())


def lpp_fit(
    f: torch.Tensor,
    y: torch.Tensor,
    texts: torch.Tensor,
    start: Blend,
    steps: Steps,
    *,
    epochs: int = 300,
    momentum: float = 0.9,
    alpha_every: int = 10,
    learn_bias: bool = True,
    accumulate: bool = False,
    watch: Callable[[int, Blend], None] | None = None,
) -> tuple[Blend, list[float]]:
    """Descend on the cross-entropy of ``f . (w_k + alpha_k t_k) + b_k``, full batch, in two blocks.

    Args:
        f: (N, D) unit image features.
        y: (N,) int64 classes.
        texts: (C, D) unit class texts.
        start: where to begin.
        steps: step sizes of the two blocks.
        epochs: gradient steps on the prototypes.
        momentum: of the steps on the prototypes, without dampening.
        alpha_every: one step on the blending after so many on the prototypes.
        learn_bias: whether the bias moves with the prototypes.
        accumulate: step the blending by the sum of all its gradients since the start, as the released code does by
            never clearing them, instead of by the present one.
        watch: called after each epoch with its number and the present state; it must copy what it wants to keep.

    Returns:
        The last state and the loss of each epoch, each before its step.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    with torch.inference_mode(False), threads_for(len(y) * texts.numel()):
        f, y, texts = f.clone(), y.clone(), texts.clone()  # what comes from inference mode can't be trained on
        agreement = f @ texts.T
        weight, bias, alpha = (part.detach().clone().requires_grad_() for part in start)

        def loss(_: None) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(torch.addmm(bias, f, weight.T) + alpha * agreement, y)

        def after(epoch: int, _: float) -> None:
            with torch.no_grad():
                if (epoch + 1) % alpha_every == 0 and alpha.grad is not None:
                    alpha.sub_(alpha.grad, alpha=steps.alpha)
                if not accumulate:
                    alpha.grad = None  # the optimiser doesn't hold it, so the loop leaves it
                if watch is not None:
                    watch(epoch, Blend(weight.detach(), bias.detach(), alpha.detach()))

        sgd = torch.optim.SGD([weight, bias] if learn_bias else [weight], lr=0.0, momentum=momentum)
        losses = train(sgd, loss, lambda _: [None], [steps.weight] * epochs, after_epoch=after)
        return Blend(weight.detach(), bias.detach(), alpha.detach()), losses


@dataclass(frozen=True)
class LPPlusPlus(Method):
    """``f . (w_k + alpha_k t_k)``: prototypes and the texts' share, learned in two blocks with given step sizes.

    Attributes:
        epochs: full-batch steps on the prototypes, at least 1; 300 as released.
        momentum: of those steps, 0 to below 1; 0.9 as released, 0 = the paper's descent.
        alpha_every: one step on the texts' share after so many on the prototypes, at least 1; 10 as released.
        alpha_scale: the texts' share at the start per unit of cosine between images and their class text, positive;
            250 as released.
        alpha_start: ``mean`` = every class starts with the same share, as released; ``class`` = each with its own.
        bias: whether the classifier has a bias, starting at 0; the paper's has none, the released one starts at random.
        selection: which epoch is kept where the task has a validation set: that of the lowest validation ``loss``
            (of equal ones the first), that of the highest validation ``accuracy`` (of equal ones the last; as
            released), or the ``last``. Without a validation set it is always the last.
        averaging: how the prompts of a class become one vector.
        legacy_accumulate: step the texts' share by the sum of all gradients since the start, which the released code
            never clears.

    Source: Huang et al. 2024, Eqs. 10 and 11 (step sizes) and 15 (start).
    """

    title: ClassVar[str] = "LPPlusPlus"
    summary: ClassVar[str] = "a few labels: a linear probe blended with the class texts, no learning rate to choose"
    paper: ClassVar[str] = "Huang et al., LP++: A Surprisingly Strong Linear Probe for Few-Shot CLIP, CVPR 2024"

    epochs: Annotated[int, Field(ge=1)] = 300
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    alpha_every: Annotated[int, Field(ge=1)] = 10
    alpha_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 250.0
    alpha_start: Literal["mean", "class"] = "mean"
    bias: bool = False
    selection: Selection = "loss"
    averaging: AveragingRule = "mean_unit_renorm"
    legacy_accumulate: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; validation labels where there are any."""
        return wants(validation=self.selection != "last")

    def fit(self, task: Task) -> Fitted:
        """Learn prototypes and blending on the support set.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        dtype = working_dtype(task)
        trace = self.trace(task)
        with trace.timed():
            texts = unit_rows(class_texts(task, self.averaging)).to(dtype)
            f = support.unit_x().to(dtype)
            steps = step_sizes(f, texts)
            start = initial_blend(
                f, support.labels, texts, alpha_scale=self.alpha_scale, per_class=self.alpha_start == "class"
            )
            best = best_state(task, self.selection)
            last, trace.losses = lpp_fit(
                f,
                support.labels,
                texts,
                start,
                steps,
                epochs=self.epochs,
                momentum=self.momentum,
                alpha_every=self.alpha_every,
                learn_bias=self.bias,
                accumulate=self.legacy_accumulate,
                watch=None if best is None else lambda at, b: best.look(at, b.classifier(texts), b.bias),
            )
            trace.chosen |= {"weight_step": steps.weight, "alpha_step": steps.alpha, "epoch": self.epochs - 1}
            trace.how |= {"weight_step": "closed form", "alpha_step": "closed form", "epoch": "rule"}
            if best is None:
                return Fitted(LinearHead(last.classifier(texts), last.bias, scale=1.0), trace=trace)
            trace.chosen["epoch"], trace.how["epoch"] = best.at, "validation"
            trace.labels_per_class = labels_used(task)
            return Fitted(LinearHead(best.weight, best.bias, scale=1.0), trace=trace)
