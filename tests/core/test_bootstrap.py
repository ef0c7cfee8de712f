"""The paired bootstrap against closed forms, and by how often it holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from clipwright.core.bootstrap import over_tasks
from clipwright.core.errors import DataError


def coins(rng: np.random.Generator, shares: list[float], draws: int = 1, images: int = 1000) -> list[np.ndarray]:
    """(M, n) outcomes per draw; all methods see the same luck."""
    luck = rng.random(images)
    return [np.stack([luck < s for s in shares]) for _ in range(draws)]


def test_means_are_means_and_one_task_is_a_binomial(rng: np.random.Generator) -> None:
    right = rng.random((2, 900)) < 0.8
    found = over_tasks([[right]], ["a"], replicates=4000)
    np.testing.assert_allclose(found.means, right.mean(1))
    for m in range(2):
        p = right[m].mean()
        error = np.sqrt(p * (1 - p) / 900)
        interval = found.interval(m)
        assert interval.low == pytest.approx(p - 1.96 * error, abs=0.004)
        assert interval.high == pytest.approx(p + 1.96 * error, abs=0.004)


def test_differences_are_paired(rng: np.random.Generator) -> None:
    found = over_tasks([coins(rng, [0.80, 0.82], draws=5)], ["a"])
    gap = found.difference(1, 0)
    assert gap.mean == pytest.approx(0.02, abs=0.02)
    assert gap.high - gap.low < 0.6 * (found.interval(0).high - found.interval(0).low)
    assert found.difference(0, 0).low == found.difference(0, 0).high == 0


def test_the_same_seed_gives_the_same_interval(rng: np.random.Generator) -> None:
    tasks = [coins(rng, [0.6, 0.7], draws=3) for _ in range(4)]
    one, other = (over_tasks(tasks, list("aabb"), replicates=300) for _ in range(2))
    np.testing.assert_array_equal(one.replicates, other.replicates)


def test_clusters_come_and_go_together(rng: np.random.Generator) -> None:
    """Ten copies of a task tell no more about other tasks than one does."""
    easy, hard = (coins(rng, [s], images=2000) for s in (0.9, 0.5))
    alone = over_tasks([easy, hard], ["e", "h"]).interval(0)
    copied = over_tasks([easy] * 10 + [hard] * 10, ["e"] * 10 + ["h"] * 10).interval(0)
    independent = over_tasks([easy] * 10 + [hard] * 10, [str(i) for i in range(20)]).interval(0)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, abs=0.02)
    assert independent.high - independent.low < 0.6 * (copied.high - copied.low)


def test_it_holds_the_truth_about_as_often_as_it_says(rng: np.random.Generator) -> None:
    truth, held = 0.75, 0
    for _ in range(60):
        shares = np.clip(rng.normal(truth, 0.08, 12), 0, 1)
        tasks = [[rng.random((1, 200)) < s] for s in shares]
        held += truth in over_tasks(tasks, [str(i) for i in range(12)], replicates=200).interval(0)
    assert 0.83 <= held / 60 <= 1.0


def test_images_of_their_own_are_resampled_by_draw(rng: np.random.Generator) -> None:
    right = [rng.random((1, 100)) < 0.7] * 9
    own = over_tasks([right], ["a"], shared_images=[False]).interval(0)
    same = over_tasks([right], ["a"]).interval(0)
    assert own.high - own.low < 0.6 * (same.high - same.low)


def test_what_makes_no_mean_is_refused() -> None:
    with pytest.raises(DataError, match="at least one task"):
        over_tasks([], [])
    with pytest.raises(DataError, match="the same methods"):
        over_tasks([[np.ones((1, 3))], [np.ones((2, 3))]], ["a", "b"])
