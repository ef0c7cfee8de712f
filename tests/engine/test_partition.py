"""Dealing out work without coordination."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import UsageError
from clipwright.engine import parse_shard, part_of


@given(st.lists(st.text(max_size=5), max_size=40), st.integers(1, 9))
def test_parts_are_disjoint_even_and_whole(keys: list[str], parts: int) -> None:
    dealt = [part_of(keys, (part, parts)) for part in range(1, parts + 1)]
    assert sorted(i for part in dealt for i in part) == list(range(len(keys)))
    assert all(part == sorted(part) for part in dealt)
    sizes = [len(part) for part in dealt]
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20, unique=True), st.integers(1, 5), st.randoms())
def test_parts_follow_keys_not_positions(keys: list[str], parts: int, chance: object) -> None:
    other = list(keys)
    chance.shuffle(other)  # type: ignore[attr-defined]
    for part in range(1, parts + 1):
        assert {keys[i] for i in part_of(keys, (part, parts))} == {other[i] for i in part_of(other, (part, parts))}


def test_shards_are_read_from_text() -> None:
    assert parse_shard(" 2/8 ") == (2, 8)
    for text in ("", "2", "0/3", "4/3", "1/0", "-1/2", "a/b", "1/2/3"):
        with pytest.raises(UsageError):
            parse_shard(text)
