"""Draws of a comparison: CoOp's convention through the same bench, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from tests.protocol.conftest import MakePrepared

from clipwright.core.errors import UsageError
from clipwright.methods import make
from clipwright.protocol.bench import Bench
from clipwright.protocol.coop import coop_draw
from clipwright.protocol.plan import make_plan


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
