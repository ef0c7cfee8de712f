"""Lists of images, and what is wrong with them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import DataError
from clipwright.data.benchmarks import find_benchmark, read_split
from clipwright.data.benchmarks.rows import read_variants

GOOD: dict[str, Any] = {
    "train": [["b/1.jpg", 7, "bee"], ["a/1.jpg", 3, "ant"]],
    "val": [["a/2.jpg", 3, "ant"]],
    "test": [["b/2.jpg", 7, "bee"]],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "split.json"


def test_rows_keep_their_order_and_labels_theirs(path: Path) -> None:
    path.write_text(json.dumps(GOOD))
    rows = read_split(path)
    assert rows.paths == ["b/1.jpg", "a/1.jpg", "a/2.jpg", "b/2.jpg"]
    assert rows.labels.tolist() == [1, 0, 0, 1]
    assert rows.class_names == ("ant", "bee")
    assert rows.splits == ["train", "train", "val", "test"]


def test_a_packed_file_says_the_same(path: Path) -> None:
    packed = path.with_name("split.json.gz")
    packed.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert read_split(packed).paths == ["b/1.jpg", "a/1.jpg", "a/2.jpg", "b/2.jpg"]
    packed.write_bytes(packed.read_bytes()[:30])
    with pytest.raises(DataError, match="can't be read"):
        read_split(packed)


def test_dropped_classes_leave_no_gap(path: Path) -> None:
    entries = [["x/1.jpg", 0, "BACKGROUND_Google"], ["a/1.jpg", 1, "Faces"], ["b/1.jpg", 2, "ant"]]
    path.write_text(json.dumps({"train": entries, "val": [], "test": []}))
    rows = read_split(path, find_benchmark("caltech101").edits)
    assert rows.class_names == ("face", "ant")
    assert rows.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [["a.jpg", 0]]}, "as entry 0 of train, not"),
        ({"train": [["a.jpg", "0", "ant"]]}, "not \\[path, label, class name\\]"),
        ({"train": [["a.jpg", True, "ant"]]}, "not \\[path"),
        ({"train": [["a.jpg", -1, "ant"]]}, "not \\[path"),
        ({"train": [3]}, "not \\[path"),
        ({"val": [["a/9.jpg", 3, "wasp"]]}, "calls the class 3 both 'ant' and 'wasp'"),
        ({"test": [["a/1.jpg", 3, "ant"]]}, "lists 'a/1.jpg' twice"),
        ({"test": [["../a.jpg", 3, "ant"]]}, "leads out of the data set"),
        ({"test": [["/etc/a.jpg", 3, "ant"]]}, "leads out of the data set"),
        ({"val": None}, "must hold lists called train, val and test"),
        ({"train": [], "val": [], "test": []}, "lists no images"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], message: str, path: Path) -> None:
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(DataError, match=message):
        read_split(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is no JSON"), (b"[1]", "is no split file"), (b"\xff\xfe\x00", "is not UTF-8"), (b"", "is no JSON")],
)
def test_damage_is_said(content: bytes, message: str, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_split(path)


def test_a_variant_that_the_list_lacks(aircraft_tree: Path) -> None:
    folder = aircraft_tree / "fgvc_aircraft"
    (folder / "variants.txt").write_text("707-320\nCessna 172\n")
    with pytest.raises(DataError, match=r"names the variant 'F-16A/B', which .*variants.txt lacks"):
        read_variants(find_benchmark("fgvc"), folder)
    (folder / "images_variant_val.txt").unlink()
    (folder / "variants.txt").write_text("707-320\nF-16A/B\nCessna 172\n")
    with pytest.raises(DataError, match=r"lacks the file .*images_variant_val.txt"):
        read_variants(find_benchmark("fgvc"), folder)
