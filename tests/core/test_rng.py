"""Draws that depend on their key alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.rng import generator

_KEYS = st.lists(st.integers() | st.text(max_size=6), max_size=4)


@given(st.integers(), _KEYS)
def test_equal_keys_give_equal_streams_whatever_was_drawn_before(seed: int, key: list[int | str]) -> None:
    first = generator(seed, *key).random(3)
    generator(seed, *key, "other").random(5)
    assert np.array_equal(first, generator(seed, *key).random(3))


@given(st.tuples(st.integers(), _KEYS), st.tuples(st.integers(), _KEYS))
def test_different_keys_give_different_streams(
    one: tuple[int, list[int | str]], other: tuple[int, list[int | str]]
) -> None:
    same = one == other
    assert np.array_equal(generator(one[0], *one[1]).random(2), generator(other[0], *other[1]).random(2)) == same


def test_numbers_and_texts_are_different_keys() -> None:
    assert generator(0, 1).random() != generator(0, "1").random()


def test_the_stream_never_changes() -> None:
    values = generator(3, "view", "abc", 7).integers(0, 1000, 4).tolist()
    assert values == _FROZEN
    program = (
        "from clipwright.core.rng import generator as g; print(g(3, 'view', 'abc', 7).integers(0, 1000, 4).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(_FROZEN)


_FROZEN = [747, 399, 931, 637]


def test_draws_look_uniform() -> None:
    draws = np.array([generator(0, "image", i).random() for i in range(4000)])
    assert abs(draws.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.05
