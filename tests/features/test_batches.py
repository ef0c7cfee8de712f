"""How rows become batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clipwright.features.batches import Plan


@given(st.integers(0, 50), st.integers(0, 90), st.integers(1, 70), st.integers(1, 20))
def test_batches_and_tasks_cover_each_row_once_in_order(start: int, count: int, batch: int, task: int) -> None:
    plan = Plan(batch, task)
    rows = range(start, start + count)
    batches = list(plan.batches(rows))
    assert [i for part in batches for i in part] == list(rows)
    assert all(len(part) == batch for part in batches[:-1])
    for part in batches:
        tasks = list(plan.tasks(part))
        assert [i for t in tasks for i in t] == list(part)
        assert len(tasks) <= plan.per_batch
