"""Names that people give to splits."""

from __future__ import annotations

import pytest

from clipwright.core.errors import DataError
from clipwright.data.dataset import SPLITS
from clipwright.data.splits import ALIASES, FOLDERS, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        (" Training ", "train"),
        ("VALID", "val"),
        ("dev", "val"),
        ("testing", "test"),
        ("generated", "generated"),
        ("", ""),
    ],
)
def test_aliases(name: str, split: str) -> None:
    assert split_of(name, "t.csv") == split


def test_unknown_names_are_refused() -> None:
    said = r"^t.csv has the split 'fold1': use train, val, test or generated, or leave it empty\.$"
    with pytest.raises(DataError, match=said):
        split_of("fold1", "t.csv")


def test_every_alias_is_a_split_and_folders_are_careful() -> None:
    assert set(ALIASES.values()) == set(SPLITS)
    assert "dev" not in FOLDERS
    assert "" not in FOLDERS
    assert "generated" not in FOLDERS
