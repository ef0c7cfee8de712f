"""Two classifiers of one backbone, merged in weight space without training: image towers and linear classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clipwright.backbones.loaded import TowerBackbone
from clipwright.classifier import Classifier, checked
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.dataset import Dataset, UnreadableImageError
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.protocol.evaluation import Evaluation
from clipwright.task import TowerUpdate
from clipwright.training.weight_space import interpolate, reestimate_batch_norm

_EMBEDDED = 64
_STATISTICS = ".running_"  # in the name of what a batch norm counts


@dataclass(frozen=True, eq=False)
class Ends:
    """Two classifiers of the same classes and backbone, checked to be so.

    Attributes:
        base: where alpha = 0 is.
        tuned: where alpha = 1 is, its classes in the order of the base's.
    """

    base: Classifier
    tuned: Classifier

    @classmethod
    def of(cls, base: Classifier, tuned: Classifier) -> Ends:
        """The ends of a merge.

        Raises:
            DataError: other classes, another backbone, or heads that are not linear.
        """
        if base.backbone is None or tuned.backbone is None:
            raise DataError("a classifier of ready-made features has no tower to merge: fit both on images.")
        same = all(base.backbone.get(part) == tuned.backbone.get(part) for part in ("files", "preprocess"))
        if not same or base.second != tuned.second:
            raise DataError(
                f"the classifiers were fitted on different backbones ({base.backbone['spec']} and "
                f"{tuned.backbone['spec']}): merge two that began from the same weights."
            )
        if set(base.class_names) != set(tuned.class_names):
            other = sorted(set(base.class_names) ^ set(tuned.class_names))[0]
            raise DataError(f"only one of the classifiers knows the class {other!r}: merge two of the same classes.")
        heads = base.fitted.head, tuned.fitted.head
        for found in heads:
            if not isinstance(found, LinearHead):
                raise DataError(
                    f"a {type(found).__name__} can't be merged, only linear classifiers can: fit ZeroShot for the "
                    "base, and RegFT, TaskRes, LinearProbe or another linear method for the other."
                )
        if len({found.normalize for found in heads if isinstance(found, LinearHead)}) > 1:
            raise DataError(
                "one of the classifiers scales features to length 1 and the other doesn't: merge two alike."
            )
        if base.class_names != tuned.class_names:
            order = torch.tensor([tuned.class_names.index(name) for name in base.class_names])
            fitted = replace(tuned.fitted, head=_reordered(tuned.fitted.head, order))
            tuned = _like(tuned, fitted, base.class_names, temperature=tuned.temperature)
        return cls(base, tuned)

    @cached_property
    def states(self) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The tensors of the tower that the two don't share, at either end."""
        updates = [end.fitted.tower for end in (self.base, self.tuned)]
        names = sorted({n for u in updates if u is not None for n in (*u.tensors, *u.factors)})
        if not names:
            return {}, {}
        state = self._module().state_dict()
        ends = []
        for update in updates:
            mine = {name: state[name].detach().clone() for name in names}
            if update is not None:
                update.apply(mine)
            ends.append(mine)
        return ends[0], ends[1]

    @cached_property
    def _backbone(self) -> TowerBackbone:
        assert self.base.backbone is not None  # noqa: S101 - checked
        backbone = checked(self.base.backbone, self.base.device).load()
        assert isinstance(backbone, TowerBackbone)  # noqa: S101 - what a changed tower belongs to
        return backbone

    def _module(self) -> nn.Module:
        return self._backbone.image_module().eval().requires_grad_(False)

    def with_statistics(self, tensors: Mapping[str, torch.Tensor], images: Dataset) -> dict[str, torch.Tensor]:
        """Tensors with the statistics of batch norms estimated anew on images.

        Raises:
            DataError: there is no image to look at.
        """
        backbone, reader = self._backbone, images.reader
        if reader is None or not len(images):
            raise DataError(f"{images.name} has no images, on which batch norms could be estimated anew.")
        module = backbone.image_module().eval().requires_grad_(False)
        TowerUpdate(backbone.spec, backbone.digest, tensors).apply(module.state_dict())
        sources = images.table["source"].to_pylist()

        def batches() -> Any:
            parts = -(-len(sources) // _EMBEDDED)
            for rows in torch.arange(len(sources)).tensor_split(parts):  # evenly: batch norms count all the same
                pixels = []
                for row in rows.tolist():
                    with suppress(UnreadableImageError):
                        pixels.append(torch.from_numpy(backbone.pixels(reader.read(sources[row]).image)))
                if pixels:
                    yield torch.stack(pixels)

        reestimate_batch_norm(module, batches())
        found = module.state_dict()
        return {n: found[n].detach().cpu().clone() if _STATISTICS in n else t for n, t in tensors.items()}


def merge(
    base: Classifier, tuned: Classifier, alpha: float, *, statistics: Dataset | str | Path | None = None
) -> Classifier:
    """``(1 - alpha) * base + alpha * tuned``, tensor by tensor of image tower and linear classifier.

    Source: WiSE-FT (Wortsman et al., CVPR 2022). A classifier's scale counts as part of its weights.

    Args:
        base: a classifier of some backbone, such as a fit of ZeroShot.
        tuned: one of the same classes and backbone, such as a fit of RegFT with alpha = 1.
        alpha: 0 gives the logits of `base`, 1 those of `tuned`, to the bit.
        statistics: images on which the statistics of batch norms are estimated anew, where the tuning changed them;
            the means of two networks' statistics are not the statistics of the mixed network. A test split is left
            out, and no label is looked at.

    Returns:
        A classifier without a temperature, unless alpha is 0 or 1.

    Raises:
        DataError: the two don't belong together.
        UsageError: alpha is not in [0, 1].
    """
    return merge_ends(Ends.of(base, tuned), alpha, statistics=_images(statistics, base.class_names))


def merge_ends(ends: Ends, alpha: float, *, statistics: Dataset | None = None) -> Classifier:
    """As `merge`, of two classifiers that were checked before."""
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha must lie in [0, 1]; it is {alpha}.")
    if alpha in {0, 1}:
        end = ends.tuned if alpha else ends.base
        return _like(end, end.fitted, ends.base.class_names, temperature=end.temperature, card=_card(ends, alpha))
    weights = [_weights(end.fitted.head) for end in (ends.base, ends.tuned)]
    mixed = interpolate(weights[0], weights[1], alpha)
    first, last = ends.states
    tensors = interpolate(first, last, alpha)
    if statistics is not None and any(_STATISTICS in name for name in tensors):
        tensors = ends.with_statistics(tensors, statistics)
    update = None
    if tensors:
        made_from = ends.tuned.fitted.tower or ends.base.fitted.tower
        assert made_from is not None  # noqa: S101 - one of them changed the tensors
        update = TowerUpdate(made_from.base, made_from.base_digest, tensors)
    head = LinearHead(mixed["weight"], mixed["bias"], scale=1.0, normalize=_normalizes(ends.base.fitted.head))
    trace = FitTrace(
        chosen={"alpha": alpha}, how={"alpha": "user"}, labels_per_class=ends.tuned.fitted.trace.labels_per_class
    )
    merged = _like(ends.base, Fitted(head, tower=update, trace=trace), ends.base.class_names, card=_card(ends, alpha))
    both = (*ends.base.support_contents, *ends.tuned.support_contents)
    merged.support_contents = tuple(dict.fromkeys(both))
    return merged


def averages_statistics(base: Classifier, tuned: Classifier) -> bool:
    """Whether the two differ in the statistics of batch norms, so that a merge should estimate them anew."""
    updates = [end.fitted.tower for end in (base, tuned)]
    return any(_STATISTICS in name for update in updates if update is not None for name in update.tensors)


def merge_curve(
    base: Classifier,
    tuned: Classifier,
    alphas: Sequence[float],
    data: Sequence[Dataset],
    measure: Callable[[Classifier, Dataset], Evaluation],
    *,
    statistics: Dataset | str | Path | None = None,
) -> list[dict[str, Any]]:
    """Accuracy of merges on labelled data.

    Choosing an alpha by this curve and reporting the accuracy on the same images would be choosing on test images.

    Args:
        base: see `merge`.
        tuned: see `merge`.
        alphas: which merges.
        data: labelled data.
        measure: evaluates a classifier on one of them.
        statistics: see `merge`.

    Returns:
        rows with alpha, data, n, accuracy, low and high (95 % interval over images), fractions.
    """
    ends, rows, images = Ends.of(base, tuned), [], _images(statistics, base.class_names)
    for alpha in alphas:
        merged = merge_ends(ends, alpha, statistics=images)
        for dataset in data:
            found = measure(merged, dataset)
            figures = {"n": found.n, "accuracy": found.top1, "low": found.low, "high": found.high}
            rows.append({"alpha": alpha, "data": dataset.name, **figures})
    return rows


def _images(given: Dataset | str | Path | None, class_names: Sequence[str]) -> Dataset | None:
    """Images that need no labels, without those of a test split."""
    if given is None:
        return None
    if isinstance(given, Dataset):
        found = given
    else:
        try:
            found = open_data(given)
        except DataError:  # a folder of images brings no class names
            found = open_data(given, list(class_names), labels=False)
    inside = np.flatnonzero(found.splits != "test")
    return found.take(inside) if len(inside) else found


def _reordered(head: nn.Module, order: torch.Tensor) -> LinearHead:
    assert isinstance(head, LinearHead)  # noqa: S101 - checked
    return LinearHead(head.weight[order], head.bias[order], scale=float(head.scale), normalize=head.normalize)


def _weights(head: nn.Module) -> dict[str, torch.Tensor]:
    assert isinstance(head, LinearHead)  # noqa: S101 - checked
    return {"weight": (head.scale * head.weight).cpu(), "bias": head.bias.cpu()}


def _normalizes(head: nn.Module) -> bool:
    assert isinstance(head, LinearHead)  # noqa: S101 - checked
    return head.normalize


def _card(ends: Ends, alpha: float) -> dict[str, Any]:
    named = {name: end.card.get("method", "?") for name, end in (("base", ends.base), ("tuned", ends.tuned))}
    return {**ends.tuned.card, "method": "merge", "merged": {**named, "alpha": alpha}, "calibration": ""}


def _like(
    made: Classifier,
    fitted: Fitted,
    names: Sequence[str],
    *,
    temperature: float = 1.0,
    card: Mapping[str, Any] | None = None,
) -> Classifier:
    contents = made.support_contents
    return Classifier(
        fitted,
        names,
        backbone=made.backbone,
        second=made.second,
        temperature=temperature,
        card=made.card if card is None else card,
        support_contents=contents,
        device=made.device,
    )
