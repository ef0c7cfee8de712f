"""One data set and backbone: the support sets, validation sets and test images of a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.rng import generator
from clipwright.protocol.coop import coop_draw
from clipwright.protocol.draws import DrawOrder, draw_order
from clipwright.protocol.plan import Arm, Plan, equal_labels
from clipwright.protocol.splits import Pools, pools
from clipwright.task import Features, Need, Task

if TYPE_CHECKING:
    from clipwright.protocol.prepare import Prepared

Ints = NDArray[np.int64]
_NONE: Ints = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Job:
    """One cell to be run: an arm at a number of shots on a draw."""

    arm: Arm
    shots: int
    draw: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Name of the arm, shots, draw."""
        return self.arm.name, self.shots, self.draw


class Bench:
    """A data set and backbone, with what its cells share.

    Args:
        prepared: features, texts and labels.
        plan: what to run.

    Raises:
        DataError: there are no labelled images to learn from.
        UsageError: CoOp's convention without a test split, or full validation without a validation split.
    """

    def __init__(self, prepared: Prepared, plan: Plan) -> None:
        self.prepared = prepared
        self.pools: Pools = pools(prepared.dataset)
        self.plan = replace(plan, generated=len(self.pools.generated) > 0)
        self.labels: Ints = prepared.dataset.labels
        self._order: tuple[int, DrawOrder] | None = None
        self._test: tuple[int, tuple[Ints, Features]] | None = None
        self._task: tuple[tuple[int, int, str], Task] | None = None
        name = prepared.dataset.name
        if plan.protocol == "coop" and self.pools.test is None:
            raise UsageError(f"{name} has no test split, which CoOp's protocol scores: use protocol 'draws'.")
        if plan.validation == "full" and not len(self.pools.validation):
            raise UsageError(
                f"{name} has no validation split, so full validation can't be had: use few-shot validation, or none."
            )

    def jobs(self) -> Iterator[Job]:
        """Cells in an order in which neighbours share their draw."""
        shots_of = {arm.name: self._possible(arm) for arm in self.plan.arms}
        for draw in range(self.plan.draws):
            for shots in sorted({k for found in shots_of.values() for k in found}):
                for arm in self.plan.arms:
                    # With fixed test images no draw changes an answer that needs no labels.
                    once = shots == 0 and self.pools.test is not None and draw > 0
                    if shots in shots_of[arm.name] and not once:
                        yield Job(arm, shots, draw)

    def _possible(self, arm: Arm) -> tuple[int, ...]:
        """The plan's shots, without those beyond what was asked for where a class can't give as many."""
        counts = np.bincount(self.labels[self.pools.train], minlength=len(self.prepared.dataset.class_names))
        most = int(counts.min()) if len(counts) else 0
        return tuple(k for k in self.plan.shots_of(arm) if k in self.plan.shots or k <= most)

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what can't be fitted or drawn before anything is."""
        first = {(job.arm.name, job.shots): job for job in jobs if job.draw == 0}
        for job in first.values():
            job.arm.method.check(self.task(job))

    # --- what a draw consists of ----------------------------------------------------------------------------------

    @cached_property
    def ids(self) -> list[str]:
        """The identifiers of all rows."""
        return self.prepared.dataset.ids

    def order(self, draw: int) -> DrawOrder:
        """The order in which a draw takes the training pool; kept for the draw in work."""
        if self._order is None or self._order[0] != draw:
            hidden = np.full(len(self.labels), -1, dtype=np.int64)
            hidden[self.pools.train] = self.labels[self.pools.train]
            names = self.prepared.dataset.class_names
            self._order = draw, draw_order(hidden, draw, self.plan.seed, ids=self.ids, class_names=names)
        return self._order[1]

    def support(self, draw: int, shots: int) -> Ints:
        """Rows of a support set: those that a draw takes, then all generated ones."""
        return np.concatenate([self.drawn(draw, shots), self.pools.generated])

    def drawn(self, draw: int, shots: int) -> Ints:
        """Rows that a draw takes: none of them generated."""
        if self.plan.protocol == "coop":
            return coop_draw(self.prepared.dataset, shots, draw + 1).support if shots else _NONE
        return self.order(draw).support(shots, short=self.plan.short)

    def validation(self, draw: int, shots: int, arm: Arm) -> Ints:
        """Rows of the validation set that an arm is given; empty where it is given none."""
        if arm.validation == "none" or not shots:
            return _NONE
        if arm.validation == "full":
            return self.pools.validation
        if self.plan.protocol == "coop":
            return coop_draw(self.prepared.dataset, shots, draw + 1).validation
        return self.order(draw).validation(shots, short=self.plan.short)

    def test(self, draw: int) -> tuple[Ints, Features]:
        """Rows to score and their features without labels."""
        slot = 0 if self.pools.test is not None else draw
        if self._test is None or self._test[0] != slot:
            rows = self.pools.test if self.pools.test is not None else self._rest(draw)
            self._test = slot, (rows, self.prepared.rows(rows).without_labels())
        return self._test[1]

    def _rest(self, draw: int) -> Ints:
        most = max((k for arm in self.plan.arms for k in self._possible(arm)), default=0)
        used = [self.support(draw, most)]
        used += [self.validation(draw, max(self.plan.shots), arm) for arm in self.plan.arms]
        rest = np.setdiff1d(self.pools.train, np.concatenate(used))
        if not len(rest):
            raise DataError(
                f"{most} shots take every labelled image of {self.prepared.dataset.name}, so nothing is left to score: "
                "ask for fewer shots, or add a test split."
            )
        return rest

    def task(self, job: Job) -> Task:
        """What the method of a job may see."""
        key = (job.draw, job.shots, job.arm.validation)
        if self._task is None or self._task[0] != key:
            support, validation = self.support(job.draw, job.shots), self.validation(job.draw, job.shots, job.arm)
            seed = int(generator(self.plan.seed, "fit", job.draw, job.shots).integers(2**31))
            self._task = key, self.prepared.task(support, validation=validation, seed=seed)
        task = self.prepared.granting(self._task[1], job.arm.method)
        requirements = job.arm.method.requires()
        wants = requirements.needs | requirements.optional
        # Where they are optional they stand in for labels: beside labels they are neither given nor counted.
        if Need.UNLABELED in requirements.needs or (Need.UNLABELED in wants and not job.shots):
            task = replace(task, unlabeled=self.prepared.rows(self._unlabeled(job)))
        if Need.QUERY in wants:
            task = replace(task, query=self.test(job.draw)[1])
        return task

    def _unlabeled(self, job: Job) -> Ints:
        """Images of the training side whose labels the method is not given; never test images."""
        used = [self.support(job.draw, job.shots), self.validation(job.draw, job.shots, job.arm)]
        if self.pools.test is None:
            used.append(self.test(job.draw)[0])
        side = np.union1d(self.pools.unlabeled, self.pools.train)
        return np.setdiff1d(side, np.concatenate(used))

    # --- what is recorded -----------------------------------------------------------------------------------------

    @cached_property
    def foundation(self) -> str:
        """Digest of all that cells share: images, labels, splits, classes, features' origin and texts."""
        prepared = self.prepared
        texts = "" if prepared.text is None else _digest(prepared.text.x)
        given = _digest(prepared.features.x) if prepared.ref is None else ""  # a bundle's features are its own origin
        return digest_json(
            {
                "data": [prepared.dataset.digest, list(prepared.dataset.class_names), list(prepared.contents)],
                "rows": [self.labels.tolist(), prepared.dataset.splits.tolist()],
                "backbone": [prepared.backbone, prepared.digest, prepared.logit_scale],
                "features": given,
                "texts": texts,
                "views": 0 if prepared.views is None else int(prepared.views.shape[1]),
                **self._extras,
            }
        )

    @property
    def _extras(self) -> dict[str, Any]:
        """What a second backbone and captions add to the foundation; nothing where there are none."""
        prepared = self.prepared
        found: dict[str, Any] = {}
        if prepared.second is not None:
            found["second"] = [prepared.second.spec, prepared.second.digest]
        if prepared.features.captions is not None:
            found["captions"] = [_digest(prepared.features.captions)]
        if (groups := prepared.group_captions) is not None:
            found["group_captions"] = [_digest(groups.x), groups.classes.tolist()]
        return found

    def digest(self, arm: Arm) -> str:
        """What a finished cell of an arm depends on."""
        return digest_json([self.foundation, self.plan.cell_digest(arm)])

    def config(self) -> dict[str, Any]:
        """What was run, as JSON."""
        prepared = self.prepared
        equal = self.plan.validation == "few-shot" and self.plan.protocol == "draws"
        return {
            "dataset": prepared.dataset.name,
            "dataset_digest": prepared.dataset.digest,
            "class_names": list(prepared.dataset.class_names),
            "backbone": prepared.backbone,
            "backbone_digest": prepared.digest,
            "templates": list(prepared.templates),
            **self.plan.describe(),
            "equal_labels": {str(k): equal_labels(k) for k in self.plan.shots if k} if equal else {},
            "images": len(prepared.dataset),
            "train_pool": len(self.pools.train),
            **({"generated": len(self.pools.generated)} if len(self.pools.generated) else {}),
            **({} if prepared.second is None else {"second": prepared.second.spec}),
            "test": len(self.test(0)[0]),
            "test_rule": "split" if self.pools.test is not None else "rest of each draw",
            "notes": [self.pools.note, *prepared.dataset.notes, *prepared.notes],
            "skipped": [list(problem) for problem in prepared.problems],
            "seconds_prepare": prepared.seconds,
        }


def _digest(rows: torch.Tensor) -> str:
    return hashlib.sha256(rows.contiguous().cpu().view(torch.uint8).numpy().tobytes()).hexdigest()
