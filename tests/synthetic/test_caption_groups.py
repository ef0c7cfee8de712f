from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clipwright.core.errors import FormatError, UsageError
from clipwright.synthetic.caption_groups import FILE, Group, draw_groups, read_groups, write_groups

NAMES = ("cat", "dog", "owl", "yak")
TAKEN = {f"c{i:03d}": 0 for i in range(50)} | {"d0": 1, "d1": 1} | {"o": 2, "lost": -1}


def test_members_are_of_one_class_and_repeat_only_where_there_are_few() -> None:
    groups = draw_groups(TAKEN, NAMES, per_class=8)
    assert [sum(g.class_index == c for g in groups) for c in range(4)] == [8, 2, 1, 0]  # never more than images
    for group in groups:
        assert len(group.members) == 4
        assert {TAKEN[name] for name in group.members} == {group.class_index}
        assert group.class_index > 0 or len(set(group.members)) == 4
    assert [g.id for g in groups[7:9]] == ["0/7", "1/0"]
    assert groups[-1].members == ("o",) * 4


def test_draws_follow_from_the_seed_and_nothing_else() -> None:
    groups = draw_groups(TAKEN, NAMES, per_class=4)
    assert draw_groups(dict(reversed(TAKEN.items())), NAMES, per_class=4) == groups
    assert draw_groups(TAKEN, NAMES, per_class=9)[:4] == groups[:4]  # more groups leave the first ones as they are
    assert draw_groups(TAKEN, NAMES, per_class=4, seed=1) != groups
    everything = draw_groups(TAKEN, NAMES, per_class=None)
    assert sum(g.class_index == 0 for g in everything) == 50
    assert {len(g.members) for g in draw_groups(TAKEN, NAMES, n_images=7)} == {7}


def test_members_are_drawn_evenly() -> None:
    groups = draw_groups({f"{i}": 0 for i in range(10)}, ("x",), per_class=None)
    many = [draw_groups({f"{i}": 0 for i in range(10)}, ("x",), per_class=None, seed=s) for s in range(100)]
    counts = np.bincount([int(name) for part in many for g in part for name in g.members], minlength=10)
    assert len(groups) == 10
    assert np.abs(counts - 400).max() < 6 * np.sqrt(400)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        draw_groups(TAKEN, NAMES, n_images=0)
    with pytest.raises(UsageError, match="must be positive"):
        draw_groups(TAKEN, NAMES, per_class=0)
    with pytest.raises(UsageError, match="'d0' is taken for class 1, but there are 1"):
        draw_groups(TAKEN, ("cat",))


def test_written_and_read_they_are_the_same(tmp_path: Path) -> None:
    assert read_groups(tmp_path) is None
    groups = draw_groups(TAKEN, NAMES, per_class=3)
    write_groups(tmp_path, groups, {"seed": 0})
    assert read_groups(tmp_path) == (groups, {"seed": 0})
    write_groups(tmp_path, [Group(0, 0, ("größe/ß.png",) * 4)], {})
    found = read_groups(tmp_path)
    assert found is not None
    assert found[0][0].members[0] == "größe/ß.png"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (json.dumps({"format": 2, "groups": [], "about": {}}), "newer clipwright"),
        ("{", "damaged"),
        (json.dumps({"format": 1, "groups": [[0, 1]], "about": {}}), "damaged"),
        (json.dumps([1]), "damaged"),
    ],
)
def test_damaged_and_newer_files_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(FormatError, match=sentence):
        read_groups(tmp_path)
