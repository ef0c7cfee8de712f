"""Where files are looked for, and the sentence for what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import DataError
from clipwright.data.benchmarks import VARIABLE, find_benchmark
from clipwright.data.benchmarks.places import data_root, found_file, found_folder, missing, read_text


def test_the_argument_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dtd = find_benchmark("dtd")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "env"))
    (tmp_path / "env").mkdir()
    assert data_root(dtd, None) == tmp_path / "env"
    assert data_root(dtd, tmp_path) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root(dtd, "~/env") == tmp_path / "env"


def test_the_first_name_that_is_there_is_taken(tmp_path: Path) -> None:
    pets = find_benchmark("pets")
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.txt").touch()
    assert found_folder(pets, tmp_path, ("a", "c", "b")) == tmp_path / "c"
    assert found_file(pets, tmp_path, ("a.txt", "b.txt")) == tmp_path / "b.txt"
    with pytest.raises(DataError, match=rf"^benchmark:oxford_pets lacks the folder {tmp_path}/x: "):
        found_folder(pets, tmp_path, ("x", "y"))
    with pytest.raises(DataError, match=rf"lacks the file {tmp_path}/b: "):
        found_file(pets, tmp_path, ("b",))
    assert str(missing(pets, tmp_path)).count(". ") == 0


def test_text_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        read_text(tmp_path / "nowhere.txt")
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbfcat")
    assert read_text(tmp_path / "bom.txt") == "cat"
