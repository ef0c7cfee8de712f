from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import DataError
from clipwright.texts import say
from clipwright.texts.readers.class_list import read_class_list


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "classnames.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_name_on_each_line(tmp_path: Path) -> None:
    bank = read_class_list(written(tmp_path, "air_plane\r\nbig  cat\n2012 Audi S4\n\n"))
    assert bank.class_names == ("air_plane", "big cat", "2012 Audi S4")
    assert dict(bank.counts) == {"name": 3}
    assert [s.text for s in say(bank, kinds=["name"])] == [
        "a photo of air plane",
        "a photo of big cat",
        "a photo of 2012 Audi S4",
    ]


def test_wordnet_ids_are_not_said(tmp_path: Path) -> None:
    bank = read_class_list(written(tmp_path, "n01440764 tench\nn03773504 missile\nn04008634 missile\n"))
    assert bank.class_names == ("tench", "missile (n03773504)", "missile (n04008634)")
    assert [s.text for s in say(bank, templates="a {}", kinds=["template"])] == ["a tench", "a missile", "a missile"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("cat\n\ndog\n", "line 2 of .* is empty, which would shift"),
        ("cat\ncat\n", "has the class 'cat' on two lines"),
        ("n01440764 tench\ncat\n", "line 2 of .* has no WordNet id"),
        ("cat\nNone\n", "can't be told from a missing one"),
    ],
)
def test_lists_that_would_go_wrong(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        read_class_list(written(tmp_path, text))
