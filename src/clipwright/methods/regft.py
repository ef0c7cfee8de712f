"""RegFT: the image tower tuned on generated images, held back by its own variance and covariance, then half undone."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags, require_labels
from clipwright.methods.merge_choice import GRID, best_alpha
from clipwright.methods.regft_fit import Merging, Tuning, held_out_scores, split_real, tune
from clipwright.methods.text_means import rows_of
from clipwright.task import Access, AveragingRule, Need, Task
from clipwright.training.full_batch import Precision
from clipwright.training.selection import labels_used

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class RegFT(Method):
    """Tune image tower and text classifier together on labelled images, then go back part of the way in weight space.

    The loss of a batch with raw embeddings E is ``cross_entropy * CE + variance * V + covariance * Cv``, where V is
    how much the standard deviation of each dimension of E falls short of 1, and Cv the mean squared covariance of two
    dimensions. The classifier starts as the logit scale times the class texts, with no bias, and is trained too.
    With theta_0 before and theta_1 after tuning, the result is ``(1 - alpha) theta_0 + alpha theta_1``, tower and
    classifier alike.

    Attributes:
        alpha: 0..1, how much of the tuning is kept; ``labels`` takes the best of 0, 0.1, ..., 1 on real labelled
            images: the validation set, else the real images of the support set, which are then not trained on;
            ``unlabeled`` takes the one that tells the unlabeled images clearly and uses all classes
            (`mutual_information`).
        variance: weight of V, at least 0; 0.16 in the released README.
        covariance: weight of Cv, at least 0; 0.02 in the released README.
        embedding_scale: what embeddings are multiplied by in V and Cv, positive. The published weights refer to the
            length of CLIP's raw features, about 10 at 512 dimensions; ``auto`` brings those of the backbone to it
            (``10 * sqrt(D / 512)`` on average over the training images before tuning), which leaves CLIP's about as
            they are. 1 = raw embeddings, as published.
        cross_entropy: weight of the cross-entropy, at least 0.
        label_smoothing: 0..1, share of each label that is spread over all classes.
        learning_rate: AdamW's peak rate, positive; None = `default_rate`: 3e-5 for a ViT-B, as WiSE-FT has it, more
            for smaller towers. The released default of 1e-3 is an untouched parser default.
        epochs: passes over the images, at least 1.
        batch_size: images per step, at least 2 with V or Cv; an incomplete last batch is left out.
        weight_decay: AdamW's, at least 0, on all that trains.
        warmup: share of the steps in which the rate rises, 0..1.
        clip: largest norm of the gradient, positive; None = any.
        train: what of the tower trains: ``all``, ``last:K`` (its last K blocks and what comes after), or ``head``
            (nothing: the classifier alone).
        freeze_statistics: keep the running statistics of batch norms, which generated images would shift.
        low_rank: rank of updates that are trained in the place of the tower's weights, 0 = train the weights.
        recipe: how views are made for training, as extraction has it; None = the clean view.
        kinds: kinds of texts that the classifier starts from: ``template``, or others that a bank has, such as
            ``description`` (published: CuPL's); a class without any starts from its name or prompt templates.
        averaging: how the texts of a class become one vector.
        merge: ``mean``, or ``fisher``: means weighted by the Fisher information of both ends on the training images.
        micro_batch_size: images embedded at a time; fewer need less memory and give the same gradient. None = all.
        precision: what the tower computes in: ``auto`` (bfloat16 on a GPU that has it), ``fp32`` or ``bf16``.
        legacy_warmup: warm up for 500 steps, as released, even where there are fewer.

    Source: arXiv 2406.05432, and WiSE-FT (Wortsman et al., CVPR 2022) for the classifier and the merge.
    """

    title: ClassVar[str] = "RegFT"
    summary: ClassVar[str] = "generated images: the image tower tuned with variance and covariance held, then merged"
    paper: ClassVar[str] = "Regularized fine-tuning on generated images for name-only transfer, arXiv 2406.05432, 2024"
    tags: ClassVar[Tags] = Tags(
        exempt={
            "dtypes": "a tower is trained in float32 whatever the features are",
        }
    )

    alpha: Share | Literal["labels", "unlabeled"] = 0.5
    variance: Weight = 0.16
    covariance: Weight = 0.02
    embedding_scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] = "auto"
    cross_entropy: Weight = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 128
    weight_decay: Weight = 0.1
    warmup: Share = 0.1
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    train: str = "all"
    freeze_statistics: bool = True
    low_rank: Annotated[int, Field(ge=0)] = 0
    recipe: str | None = "crop(0.9,1)"
    kinds: tuple[str, ...] = ("template",)
    averaging: AveragingRule = "mean_unit_renorm"
    merge: Literal["mean", "fisher"] = "mean"
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None
    precision: Precision = "auto"
    legacy_warmup: bool = False

    def requires(self) -> Requirements:
        """Texts, labelled images (generated ones will do) and the model's weights."""
        needs = {Need.TEXT, Need.LABELS, Need.IMAGES}
        optional = {Need.VALIDATION} if self.alpha == "labels" else set()
        if self.alpha == "unlabeled":
            needs.add(Need.UNLABELED)
        return Requirements(frozenset(needs), frozenset(optional), frozenset({Access.WEIGHTS, Access.FEATURES}))

    def fit(self, task: Task) -> Fitted:
        """Tune, then merge.

        Raises:
            NeedsError: the task lacks texts, images, labels or weights, or real labels to choose alpha on.
            DataError: a class has no image or no text, or an image can't be read any more.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        require_labels(task)
        rows, judged = split_real(task) if self.alpha == "labels" else (task.support, None)
        if self.alpha == "unlabeled":
            judged = task.unlabeled
        assert rows is not None  # noqa: S101 - checked
        if isinstance(self.alpha, str) and (judged is None or len(judged) < (2 if self.alpha == "unlabeled" else 1)):
            raise NeedsError("there are too few images to choose alpha on: give more, or set alpha to a number.")
        trace = self.trace(task)
        with trace.timed():
            texts = rows_of(task, self.kinds, trace).classifier(self.averaging)
            start = task.logit_scale * unit_rows(texts).float()
            tuning = Tuning.of(self, task, rows)
            tuned = tune(tuning, start)
            merging = Merging(tuning, tuned, fisher=self.merge == "fisher")
            alpha = self.alpha
            if isinstance(alpha, str):
                assert judged is not None  # noqa: S101 - checked
                scores = held_out_scores(merging, judged, GRID, by=alpha)
                alpha = best_alpha(scores)
                trace.how["alpha"] = "validation" if self.alpha == "labels" else "rule"
                if judged is task.validation:
                    trace.labels_per_class = labels_used(task)
                trace.curve = {"by": self.alpha, "alpha": list(scores), "score": list(scores.values())}
            update, weight, bias = merging(alpha)
            trace.chosen |= {"alpha": alpha, "learning_rate": tuning.rate, "embedding_scale": tuning.scale}
            trace.how |= {n: "rule" for n in ("learning_rate", "embedding_scale") if getattr(self, n) in {None, "auto"}}
            trace.losses = [epoch["loss"] for epoch in tuned.log]
            trace.loss_parts = {name: [epoch[name] for epoch in tuned.log] for name in tuned.log[0]}
            trace.notes += tuning.notes
            head = LinearHead(weight, bias, scale=1.0)
            tuning.close(start)
        return Fitted(head, tower=update, trace=trace)
