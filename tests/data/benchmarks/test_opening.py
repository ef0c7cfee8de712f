"""``benchmark:NAME`` on miniature trees in CoOp's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.benchmarks import VARIABLE, benchmarks
from clipwright.data.dataset import Dataset

Grow = Callable[..., Path]
SPLIT = [b.name for b in benchmarks() if b.reader == "split"]


def images(data: Dataset) -> set[tuple[int, ...]]:
    """The colour of every image, read through the data set's reader."""
    assert data.reader is not None
    found = [data.reader.read(source).image for source in data.table["source"].to_pylist()]
    return {image.getpixel((0, 0)) for image in found}  # type: ignore[misc] # RGB pixels are tuples


@pytest.mark.parametrize("name", SPLIT)
def test_split_files(name: str, split_tree: Grow) -> None:
    root = split_tree(name, [("polar_bear", "bear"), ("tiger", "cat/big"), ("Ant", "ant")])
    data = open_data(f"benchmark:{name}", root=root)
    assert data.name == name
    assert data.class_names[0] == "polar bear"
    assert data.class_names[2].lower() == "ant"
    assert data.labels.tolist() == [*[0] * 3, *[1] * 3, *[2] * 3, 0, 0, 1, 1, 2, 2, 0, 1, 2]
    assert data.splits.tolist() == ["train"] * 9 + ["val"] * 6 + ["test"] * 3
    assert len(images(data)) == 18
    assert data.templates == (next(b.template for b in benchmarks() if b.name == name),)
    assert (data.table["size"].to_numpy() > 0).all()
    assert open_data(f"benchmark:{name}", root=root, clean_names=False).class_names[0] == "polar_bear"


def test_the_root_may_stand_in_the_environment(split_tree: Grow, monkeypatch: pytest.MonkeyPatch) -> None:
    root = split_tree("dtd", [("a", "a"), ("b", "b")])
    monkeypatch.setenv(VARIABLE, str(root))
    assert len(open_data("benchmark:DescribableTextures")) == 12
    monkeypatch.setenv(VARIABLE, str(root / "elsewhere"))
    with pytest.raises(DataError, match=r"there is no folder .*elsewhere"):
        open_data("benchmark:dtd")
    assert len(open_data("benchmark:dtd", root=root)) == 12
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match=rf"--root DIR or set {VARIABLE}, the folder that holds dtd/"):
        open_data("benchmark:dtd")


def test_other_folder_names_are_found_too(split_tree: Grow) -> None:
    root = split_tree("oxford_pets", [("a", "a"), ("b", "b")])
    (root / "oxford_pets").rename(root / "oxford-pet")
    assert len(open_data("benchmark:pets", root=root)) == 12


def test_whatever_is_missing_is_named_with_its_place(split_tree: Grow) -> None:
    root = split_tree("ucf101", [("Archery", "a"), ("Yo_Yo", "b")])
    folder = root / "ucf101"
    (folder / "UCF-101-midframes/a/000.jpg").unlink()
    with pytest.raises(DataError, match=r"benchmark:ucf101 lacks the file .*ucf101/UCF-101-midframes/a/000.jpg: put"):
        open_data("benchmark:ucf101", root=root)
    (folder / "UCF-101-midframes/b/006.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 2 of 12 images, such as .*UCF-101-midframes/a/000.jpg"):
        open_data("benchmark:ucf101", root=root)
    (folder / "UCF-101-midframes").rename(folder / "frames")
    with pytest.raises(DataError, match=r"lacks the folder .*ucf101/UCF-101-midframes"):
        open_data("benchmark:ucf101", root=root)
    (folder / "split_zhou_UCF101.json").unlink()
    with pytest.raises(DataError, match=r"lacks the file .*ucf101/split_zhou_UCF101.json"):
        open_data("benchmark:ucf101", root=root)
    with pytest.raises(DataError, match=r"lacks the folder .*root/sun397"):
        open_data("benchmark:sun397", root=root)


def test_aircraft(aircraft_tree: Path) -> None:
    data = open_data("benchmark:fgvc", root=aircraft_tree)
    assert data.class_names == ("707-320", "F-16A/B", "Cessna 172")
    assert data.counts("train").tolist() == data.counts("val").tolist() == data.counts("test").tolist() == [2, 2, 2]
    assert data.ids[0] == "0000000.jpg"
    assert len(images(data)) == 18


def test_other_class_names_are_in_index_order(split_tree: Grow) -> None:
    root = split_tree("eurosat", [("AnnualCrop", "a"), ("Forest", "b")])
    assert open_data("benchmark:eurosat", root=root).class_names == ("Annual Crop Land", "Forest")
    data = open_data("benchmark:eurosat", ["crops", "trees"], root=root)
    assert data.class_names == ("crops", "trees")
    with pytest.raises(DataError, match="has 3 names but the data has 2"):
        open_data("benchmark:eurosat", ["a", "b", "c"], root=root)


def test_unlabeled_and_renamed(split_tree: Grow) -> None:
    root = split_tree("dtd", [("a", "a"), ("b", "b")])
    data = open_data("benchmark:dtd", root=root, labels=False, name="textures")
    assert data.name == "textures"
    assert set(data.labels) == {-1}


def test_a_root_is_for_data_that_have_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for source in ("digits", tmp_path):
        with pytest.raises(UsageError, match="a root is for benchmarks and tables"):
            open_data(source, root=tmp_path)


def test_base_and_new_classes(split_tree: Grow) -> None:
    root = split_tree("food101", [(name, name) for name in "abcde"])
    base = open_data("benchmark:food101", root=root, classes_subset="base")
    new = open_data("benchmark:food101", root=root, classes_subset="new")
    assert (base.class_names, new.class_names) == (("a", "b", "c"), ("d", "e"))
    assert base.counts("train").tolist() == [3, 3, 3]
    assert new.counts("test").tolist() == [1, 1]
    assert set(base.ids) | set(new.ids) == set(open_data("benchmark:food101", root=root).ids)


def test_the_split_file_of_a_real_benchmark(shared: Path, tmp_path: Path) -> None:
    """DTD's own split file, with an empty file in place of each image: nothing is decoded to open it."""
    packed = shared / "realdata/coop_splits/split_zhou_DescribableTextures.json.gz"
    folder = tmp_path / "dtd"
    (folder / "images").mkdir(parents=True)
    (folder / packed.name).write_bytes(packed.read_bytes())
    with pytest.raises(DataError, match="lacks 5,640 of 5,640 images"):
        open_data("benchmark:dtd", root=tmp_path)
    import gzip

    lists = json.loads(gzip.decompress(packed.read_bytes()))
    for path, _, _ in (row for part in lists.values() for row in part):
        (folder / "images" / path).parent.mkdir(exist_ok=True)
        (folder / "images" / path).touch()
    data = open_data("benchmark:dtd", root=tmp_path)
    assert data.ids == [row[0] for part in ("train", "val", "test") for row in lists[part]]
    np.testing.assert_array_equal(data.labels, [row[1] for part in ("train", "val", "test") for row in lists[part]])
    assert len(data.class_names) == 47
