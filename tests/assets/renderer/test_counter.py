import numpy as np

from clipwright.assets.renderer.counter import mix, uniform


def test_numbers_are_pinned() -> None:
    assert mix(1, 2, 3) == 7702586659592502839
    assert uniform(7, np.arange(3)).tolist() == [0.7215081806049702, 0.6497043364684557, 0.5493743249193239]


def test_a_draw_depends_on_its_counter_alone() -> None:
    whole = uniform(5, np.arange(100))
    assert np.array_equal(uniform(5, np.arange(90, 100)), whole[90:])
    assert np.array_equal(uniform(5, np.arange(100).reshape(4, 25)), whole.reshape(4, 25))


def test_draws_fill_the_unit_interval() -> None:
    u = uniform(11, np.arange(100_000))
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(5000)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.02


def test_order_and_sign_of_counters_matter() -> None:
    assert len({mix(1, 2), mix(2, 1), mix(1), mix(1, 2, 0), mix(-1), mix(0)}) == 6
