"""Folders: which part of a path is the split, which the class, and what has no label."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.data import Dataset, open_data
from clipwright.data.folder import Place, arrange
from clipwright.data.scan import Group

Plant = Callable[..., Path]


def content(data: Dataset) -> dict[str, tuple[str, str]]:
    """Class name ("" without label) and split of each row."""
    names = (*data.class_names, "")
    return {i: (names[label], str(split)) for i, label, split in zip(data.ids, data.labels, data.splits, strict=True)}


def test_class_subfolders(plant: Plant) -> None:
    root = plant(["polar_bear/1.png", "polar_bear/deep/er/2.png", "ant/3.png"])
    data = open_data(root)
    assert data.class_names == ("ant", "polar bear")
    assert content(data) == {
        "ant/3.png": ("ant", ""),
        "polar_bear/1.png": ("polar bear", ""),
        "polar_bear/deep/er/2.png": ("polar bear", ""),
    }
    assert (data.name, data.root) == ("data", root)
    assert data.notes == ("Cleaned 1 class name, such as 'polar_bear' to 'polar bear'.",)
    assert data.reader is not None
    assert data.reader.read(data.table["source"][1].as_py()).image.size == (4, 4)


def test_relative_roots_and_links(plant: Plant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = plant(["a/1.png", "b/1.png"])
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert open_data("link").name == "link"
    monkeypatch.chdir(root)
    assert open_data(".").name == "data"
    assert content(open_data(".")) == content(open_data(root))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "TESTING"), ("train", "validation", "testing")]
)
def test_split_folders(names: tuple[str, str, str], plant: Plant) -> None:
    root = plant([f"{part}/{kind}/{i}.png" for part in names for kind in ("cat", "dog") for i in range(2)])
    (root / "annotations").mkdir()
    data = open_data(root)
    assert data.class_names == ("cat", "dog")
    for part, split in zip(names, ("train", "val", "test"), strict=True):
        assert content(data)[f"{part}/dog/1.png"] == ("dog", split)
    assert data.counts("test").tolist() == [2, 2]


def test_split_folders_with_unlabeled_images(plant: Plant) -> None:
    root = plant(["train/a/1.png", "train/b/1.png", "train/unlabeled/u.png", "test/t.png", "unlabelled/v.png", "w.png"])
    data = open_data(root)
    assert data.class_names == ("a", "b")
    rows = content(data)
    assert rows["train/unlabeled/u.png"] == ("", "train")
    assert rows["test/t.png"] == ("", "test")
    assert rows["unlabelled/v.png"] == ("", "train")
    assert rows["w.png"] == ("", "train")


def test_train_can_be_a_class(plant: Plant) -> None:
    data = open_data(plant(["train/1.png", "bus/1.png", "car/1.png"]))
    assert data.class_names == ("bus", "car", "train")
    assert not data.has_split("train")


def test_splits_beside_classes_are_refused(plant: Plant) -> None:
    with pytest.raises(
        DataError, match=r"both split folders \('test', 'train'\) and other folders of images \('bus'\)"
    ):
        open_data(plant(["train/a/1.png", "test/a/1.png", "bus/1.png"]))


def test_labels_for_part_of_the_images(plant: Plant) -> None:
    data = open_data(plant(["a/1.png", "b/1.png", "Unlabeled/1.png", "unlabeled/x/2.png", "beside.png"]))
    assert data.class_names == ("a", "b")
    assert [name for name, (label, _) in content(data).items() if not label] == [
        "Unlabeled/1.png",
        "beside.png",
        "unlabeled/x/2.png",
    ]
    assert "Took 1 image beside the class folders as unlabeled." in data.notes


def test_a_flat_folder_needs_classes(plant: Plant, tmp_path: Path) -> None:
    root = plant(["1.png", "2.png"])
    with pytest.raises(DataError, match=r"no labels: name the classes with --classes names.txt"):
        open_data(root)
    names = tmp_path / "names.txt"
    names.write_text("polar bear\nt-shirt\n")
    data = open_data(root, names)
    assert data.class_names == ("polar bear", "t-shirt")
    assert data.labels.tolist() == [-1, -1]
    assert data.notes == ()
    assert open_data(root, ["x", "y", "z"]).class_names == ("x", "y", "z")


def test_labels_can_be_ignored(plant: Plant) -> None:
    data = open_data(plant(["2024-01/1.png", "2024-02/1.png"]), ["cat", "dog"], labels=False)
    assert data.labels.tolist() == [-1, -1]
    with pytest.raises(DataError, match="2 of 2 folders have no class"):
        open_data(data.root or "", ["cat", "dog"])


def test_numeric_folders(plant: Plant, tmp_path: Path) -> None:
    root = plant([f"{i}/1.png" for i in range(12)])
    assert open_data(root).class_names == tuple(map(str, range(12)))
    assert open_data(root).labels.tolist() == [int(i.split("/")[0]) for i in open_data(root).ids]
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"name {chr(122 - i)}" for i in range(12)))
    for name, (label, _) in content(open_data(root, names)).items():
        assert label == f"name {chr(122 - int(name.split('/')[0]))}"


def test_mapping_file_for_a_split_tree(plant: Plant, tmp_path: Path) -> None:
    root = plant([f"{part}/{i}/1.JPEG" for part in ("train", "val") for i in ("n02", "n01")])
    (tmp_path / "classnames.txt").write_text("n02 goldfish\nn01 great white shark\n")
    data = open_data(root, tmp_path / "classnames.txt")
    assert data.class_names == ("goldfish", "great white shark")
    assert content(data)["val/n01/1.JPEG"] == ("great white shark", "val")


def test_odd_names(plant: Plant) -> None:
    data = open_data(plant(["-rf/'; drop.png", 'quo"te/\n.png', "🦊/1.png", "$(x)/2.png"]))
    assert set(data.class_names) == {"-rf", 'quo"te', "🦊", "$(x)"}
    assert data.reader is not None
    for source in data.table["source"].to_pylist():
        data.reader.read(source)


@pytest.mark.parametrize(
    ("paths", "extra", "message"),
    [
        ([], None, "holds no images: put some in"),
        ([], "labels.json", r"holds 1 files but no image \(such as 'labels.json'\)"),
        (["a_b/1.png", "a b/1.png"], None, "'a b' to more than one class"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(paths: list[str], extra: str | None, message: str, plant: Plant) -> None:
    root = plant(paths)
    if extra:
        (root / extra).touch()
    with pytest.raises(DataError, match=message) as caught:
        open_data(root)
    assert str(caught.value).endswith(".")


def test_what_is_odd_is_noted(plant: Plant) -> None:
    root = plant(["a/1.png", "b/1.png"])
    (root / "empty/deeper").mkdir(parents=True)
    notes = open_data(root).notes
    assert notes == ("Left out 1 folder without images ('empty'): put some in to make a class.",)
    assert "no labelled image of 1 class ('c')" in open_data(root, ["a", "b", "c"]).notes[-1]
    single = open_data(plant(["images/cat/1.png", "images/dog/1.png"], root.parent / "wrapped")).notes
    assert "open 'images' instead" in single[0]
    assert "only one class" in single[1]
    inside = open_data(plant(["cat/train/1.png", "dog/test/1.png"], root.parent / "inside")).notes
    assert "put the split folders outside" in inside[0]
    split = open_data(plant(["train/a/1.png", "test/b/1.png", "test/2.png"], root.parent / "split"))
    assert any("Only the test split has labels of 1 class ('b')" in note for note in split.notes)
    assert any("no score, for 1 of 2 test images" in note for note in split.notes)


@given(st.permutations([("train", "a"), ("train", "b"), ("test", "a"), ("train",), ("train", "unlabeled")]))
def test_places_do_not_depend_on_order(groups: list[Group]) -> None:
    places = dict(zip(groups, arrange(groups, np.ones(5), Path("x")), strict=True))
    assert places == {
        ("train", "a"): Place("train", "a"),
        ("train", "b"): Place("train", "b"),
        ("test", "a"): Place("test", "a"),
        ("train",): Place("train", None),
        ("train", "unlabeled"): Place("train", None),
    }


def test_labels_do_not_depend_on_the_order_of_files(plant: Plant, tmp_path: Path) -> None:
    paths = [f"{kind}/{i}.png" for kind in ("zebra", "ant", "cow") for i in range(5)]
    first = open_data(plant(paths, tmp_path / "one"))
    second = open_data(plant(paths[::-1], tmp_path / "two"))
    assert content(first) == content(second)
    assert first.class_names == second.class_names == ("ant", "cow", "zebra")
