from __future__ import annotations

from pathlib import Path

import pytest

from clipwright import open_data
from clipwright.core.errors import DataError
from clipwright.synthetic.class_source import read_class_source


def test_names_come_from_files_lists_and_data(tmp_path: Path) -> None:
    place = tmp_path / "names.txt"
    place.write_text("tiger_cat\nlion\n")
    assert read_class_source(place) == (("tiger cat", "lion"), None)
    assert read_class_source(["a", "b"]) == (("a", "b"), None)
    place.write_text("n02123159 tiger cat\nn02129165 lion\n")
    assert read_class_source(str(place)).names == ("tiger cat", "lion")
    names, data = read_class_source("digits")
    assert names[0] == "zero"
    assert data is not None
    assert read_class_source(open_data("digits")).names == names


def test_bad_names_are_told(tmp_path: Path) -> None:
    place = tmp_path / "names.txt"
    place.write_text("a\na\n")
    with pytest.raises(DataError):
        read_class_source(place)
    with pytest.raises(DataError, match="there is no"):
        read_class_source(tmp_path / "missing.txt")
