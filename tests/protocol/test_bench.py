"""Draws of a comparison: CoOp's convention through the same bench, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tests.protocol.conftest import MakePrepared

from clipwright.backbones import resolve
from clipwright.core.errors import UsageError
from clipwright.methods import make
from clipwright.protocol.bench import Bench
from clipwright.protocol.coop import coop_draw
from clipwright.protocol.plan import make_plan
from clipwright.protocol.prepare import Prepared
from clipwright.task import TextFeatures


def test_coops_protocol_draws_as_coop_does(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((30, 30, 30), val=6, test=8)
    plan = make_plan([make("GDA"), make("TaskRes")], (2, 8), validation="few-shot", protocol="coop")
    bench = Bench(prepared, plan)
    jobs = {job.key: job for job in bench.jobs()}
    assert set(jobs) == {(m, k, d) for m in ("GDA", "GDA+val", "TaskRes") for k in (2, 8) for d in range(3)}
    for (name, shots, draw), job in jobs.items():
        expected = coop_draw(prepared.dataset, shots, draw + 1)
        np.testing.assert_array_equal(bench.support(draw, shots), expected.support)
        found = bench.validation(draw, shots, job.arm)
        np.testing.assert_array_equal(found, expected.validation if name == "GDA+val" else [])
        np.testing.assert_array_equal(bench.test(draw)[0], prepared.dataset.rows("test"))


def test_coops_protocol_needs_a_test_split(make_prepared: MakePrepared) -> None:
    with pytest.raises(UsageError, match="no test split, which CoOp's protocol scores"):
        Bench(make_prepared(), make_plan([make("GDA")], (2,), protocol="coop"))


def test_without_a_test_split_no_arm_learns_from_what_is_scored(make_prepared: MakePrepared) -> None:
    plan = make_plan([make("GDA"), make("TaskRes")], (2, 4), 2, validation="few-shot")
    bench = Bench(make_prepared((20, 20, 20)), plan)
    for job in bench.jobs():
        task = bench.task(job)
        scored = set(bench.test(job.draw)[1].ids or ())
        for part in (task.support, task.validation):
            assert part is None or not scored & set(part.ids or ())
    assert len(bench.test(0)[0]) == 60 - 3 * (8 + 4)


def generated(make_prepared: MakePrepared) -> Prepared:
    """In each of three classes: 4 rows to learn from, 3 generated ones, 2 to score."""
    return make_prepared((9, 9, 9), splits=(["train"] * 4 + ["generated"] * 3 + ["test"] * 2) * 3)


def test_generated_images_stand_beside_every_support_set_and_are_no_labels(make_prepared: MakePrepared) -> None:
    prepared = generated(make_prepared)
    made = np.flatnonzero(prepared.dataset.splits == "generated")
    assert prepared.rows([0, 4]).is_generated.tolist() == [False, True]
    bench = Bench(prepared, make_plan([make(name) for name in ("ZeroShot", "GDA")], (0, 2), 2))
    without = Bench(make_prepared((9, 9, 9), splits=(["train"] * 4 + ["val"] * 3 + ["test"] * 2) * 3), bench.plan)
    keys = [job.key for job in bench.jobs()]
    assert keys == [("ZeroShot", 0, 0), ("GDA", 0, 0), ("GDA", 2, 0), ("GDA", 2, 1)]
    for job in bench.jobs():
        support = bench.support(job.draw, job.shots)
        drawn = support[: len(support) - len(made)]
        np.testing.assert_array_equal(support[len(drawn) :], made)
        np.testing.assert_array_equal(drawn, without.support(job.draw, job.shots))  # the same draw as without them
        task = bench.task(job)
        assert task.labels_per_class == (job.shots,) * 3
        assert task.shots == (job.shots + 3,) * 3
        assert not set(bench.test(job.draw)[0]) & set(made)
        assert not set(bench._unlabeled(job)) & set(made)
    assert bench.config()["generated"] == 9
    assert "generated" not in without.config()


def test_zero_shots_without_a_test_split_and_beside_few_shot_validation(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((12, 12), splits=([""] * 9 + ["generated"] * 3) * 2)
    bench = Bench(prepared, make_plan([make("GDA")], (0, 2), 2, validation="few-shot"))
    assert {job.key for job in bench.jobs()} == {
        (name, k, d) for name, shots in (("GDA", (0, 2, 4)), ("GDA+val", (2,))) for k in shots for d in (0, 1)
    }
    for job in bench.jobs():
        assert not set(bench.test(job.draw)[0]) & set(bench.support(job.draw, job.shots))
    assert len(bench.test(0)[0]) == 2 * 9 - 2 * (4 + 2)


def test_what_stands_beside_counts_for_finished_cells(make_prepared: MakePrepared) -> None:
    prepared = make_prepared()
    plan = make_plan([make("GDA")], (1,), 1)
    plain = Bench(prepared, plan)
    group = TextFeatures(torch.ones(2, 8), torch.tensor([0, 2]))
    captioned = dataclasses.replace(prepared.features, captions=torch.ones(36, 8))
    others = [
        dataclasses.replace(prepared, second=resolve("tiny", device="cpu")),
        dataclasses.replace(prepared, features=captioned),
        dataclasses.replace(prepared, group_captions=group),
    ]
    digests = {Bench(other, plan).foundation for other in others} | {plain.foundation}
    assert len(digests) == 4
    assert Bench(others[0], plan).config()["second"] == "tiny"
