"""Copies on both sides of a split."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.data import duplicates_across


def test_pairs_and_sentences() -> None:
    contents = ["a", "b", "a", "c", "b", "a", None]
    groups = ["support", "support", "test", "test", "val", "test", "test"]
    found = duplicates_across(contents, groups, ["s0", "s1", "t2", "t3", "v4", "t5", "t6"])
    assert found.pairs == ((2, 0), (4, 1), (5, 0))
    assert found.sentences == (
        (
            "2 test images are exact copies of support images, such as 't2' of 's0': "
            "remove them from one side, or the accuracy says more than it should."
        ),
        (
            "1 val image is an exact copy of support images, such as 'v4' of 's1': "
            "remove them from one side, or the accuracy says more than it should."
        ),
    )
    assert found


def test_no_copies_no_words() -> None:
    for contents, groups in (([], []), (["a", "a"], ["x", "x"]), (["a", "b"], ["x", "y"]), (["", ""], ["x", "y"])):
        found = duplicates_across(contents, groups)
        assert not found
        assert found.sentences == ()
    assert not duplicates_across(["a", "a"], ["x", ""])
    with pytest.raises(ValueError, match="2 contents but 1 groups"):
        duplicates_across(["a", "b"], ["x"])


def test_many_copies_stay_linear() -> None:
    n = 20_000
    found = duplicates_across(["black"] * 2 * n, ["support"] * n + ["test"] * n)
    assert len(found.pairs) == n
    assert found.sentences[0].startswith("20000 test images")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=12))
def test_equal_to_the_plain_definition(rows: list[tuple[str, str]]) -> None:
    """Two groups share a content if and only if a pair says so, and each later row is told once per earlier group."""
    pairs = duplicates_across([c for c, _ in rows], [g for _, g in rows]).pairs
    rank = {g: i for i, g in enumerate(dict.fromkeys(g for _, g in rows))}
    expected = {
        (i, rank[rows[j][1]])
        for i, j in product(range(len(rows)), repeat=2)
        if rows[i][0] == rows[j][0] and rank[rows[i][1]] > rank[rows[j][1]]
    }
    assert {(later, rank[rows[earlier][1]]) for later, earlier in pairs} == expected
    assert len(pairs) == len(expected)
    assert all(rows[later][0] == rows[earlier][0] for later, earlier in pairs)
