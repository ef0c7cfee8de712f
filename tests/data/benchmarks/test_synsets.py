"""ImageNet and its variants on miniature trees: the whole list of classes, images of a few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data.benchmarks.conftest import class_list, draw, synset

from clipwright.core.errors import DataError
from clipwright.data import open_data
from clipwright.data.benchmarks import find_benchmark, listed_classes, read_indices

FEW = [0, 6, 657, 744, 836]


def test_imagenet_itself(imagenet_tree: Path) -> None:
    data = open_data("benchmark:imagenet", root=imagenet_tree)
    assert len(data.class_names) == len(set(data.class_names)) == 1000
    assert data.ids == sorted(data.ids)
    assert data.ids[0].startswith(f"train/{synset(0)}/")
    assert data.counts("train")[FEW].tolist() == [2] * 5
    assert data.counts("test")[FEW].tolist() == [1] * 5
    assert len(data) == 15
    assert not data.has_split("val")
    assert data.reader is not None
    data.reader.read(data.ids[-1])


def test_two_names_stand_for_two_classes_each(imagenet_tree: Path) -> None:
    data = open_data("benchmark:imagenet", root=imagenet_tree)
    assert data.class_names[657] == f"missile ({synset(657)})"
    assert data.class_names[744] == f"missile ({synset(744)})"
    assert data.prompt_names[657] == data.prompt_names[744] == "missile"
    assert data.prompt_names[836] == data.prompt_names[837] == "sunglasses"
    assert sum(a != b for a, b in zip(data.class_names, data.prompt_names, strict=True)) == 4
    half = data.class_subset("new")
    assert half.prompt_names[157] == "missile"
    assert half.class_names[157] == data.class_names[657]


@pytest.mark.parametrize("name", ["imagenetv2", "imagenet_sketch"])
def test_variants_with_all_classes(name: str, imagenet_tree: Path) -> None:
    data = open_data(f"benchmark:{name}", root=imagenet_tree)
    assert data.class_names == open_data("benchmark:imagenet", root=imagenet_tree).class_names
    assert np.flatnonzero(data.counts("test")).tolist() == FEW
    assert set(data.splits) == {"test"}


def test_folders_that_are_numbers_are_read_as_numbers(imagenet_tree: Path) -> None:
    """10 comes before 2 in a sorted listing."""
    place = imagenet_tree / "imagenetv2/imagenetv2-matched-frequency-format-val"
    for number in (2, 10):
        draw(place / f"{number}/x.jpeg", number)
    data = open_data("benchmark:imagenetv2", root=imagenet_tree)
    labels = dict(zip(data.ids, data.labels.tolist(), strict=True))
    assert (labels["2/x.jpeg"], labels["10/x.jpeg"]) == (2, 10)


@pytest.mark.parametrize("letter", ["a", "r"])
def test_variants_with_200_classes(letter: str, imagenet_tree: Path) -> None:
    data = open_data(f"benchmark:imagenet-{letter}", root=imagenet_tree)
    chosen = listed_classes(find_benchmark(f"imagenet_{letter}"))
    whole = open_data("benchmark:imagenet", root=imagenet_tree)
    assert data.class_names == tuple(whole.class_names[i] for i in chosen)
    assert np.flatnonzero(data.counts()).tolist()[:3] == [0, 1, 2]
    if letter == "r":
        assert data.class_names[chosen.index(657)] == f"missile ({synset(657)})"
        assert data.prompt_names[chosen.index(657)] == "missile"


@pytest.mark.parametrize(("letter", "first", "last"), [("a", (6, 11, 13), 988), ("r", (1, 2, 4), 988)])
def test_the_shipped_lists(letter: str, first: tuple[int, ...], last: int) -> None:
    chosen = listed_classes(find_benchmark(f"imagenet_{letter}"))
    assert (chosen[:3], chosen[-1], len(chosen)) == (first, last, 200)
    assert list(chosen) == sorted(set(chosen))
    assert (657 in chosen) == (letter == "r")
    assert 744 not in chosen


def test_class_names_beside_the_images_come_first(imagenet_tree: Path) -> None:
    own = class_list([f"other {i}" for i in range(1000)])
    (imagenet_tree / "imagenet-sketch/classnames.txt").write_text(own)
    assert open_data("benchmark:imagenet_sketch", root=imagenet_tree).class_names[5] == "other 5"
    (imagenet_tree / "imagenet/classnames.txt").unlink()
    with pytest.raises(DataError, match=r"lacks the file .*imagenetv2/classnames.txt"):
        open_data("benchmark:imagenetv2", root=imagenet_tree)


def test_what_is_missing_is_named(imagenet_tree: Path) -> None:
    place = imagenet_tree / "imagenet/images"
    (place / "val").rename(place / "elsewhere")
    with pytest.raises(DataError, match=r"lacks the folder .*imagenet/images/val"):
        open_data("benchmark:imagenet", root=imagenet_tree)
    place.rename(imagenet_tree / "imagenet/old")
    draw(imagenet_tree / f"imagenet/val/{synset(3)}/1.JPEG", 1)
    only = open_data("benchmark:imagenet", root=imagenet_tree)
    assert only.labels.tolist() == [3]
    assert only.splits.tolist() == ["test"]
    folder = imagenet_tree / "imagenet-adversarial/imagenet-a"
    for path in list(folder.rglob("*.jpg")):
        path.unlink()
    with pytest.raises(DataError, match=rf"lacks the folder .*imagenet-a/{synset(6)}"):
        open_data("benchmark:imagenet_a", root=imagenet_tree)


def test_strange_folders_and_lists_are_refused(imagenet_tree: Path) -> None:
    draw(imagenet_tree / f"imagenet-adversarial/imagenet-a/{synset(0)}/x.jpg", 1)
    with pytest.raises(DataError, match=f"none of its 200 classes .*{synset(0)}"):
        open_data("benchmark:imagenet_a", root=imagenet_tree)
    names = imagenet_tree / "imagenet/classnames.txt"
    names.write_text(class_list(["a", "b"]))
    with pytest.raises(DataError, match="names 2 classes, not ImageNet's 1,000"):
        open_data("benchmark:imagenet_r", root=imagenet_tree)
    names.write_text("tench\n")
    with pytest.raises(DataError, match=r"line 1 of .* must be a new WordNet id and a name"):
        open_data("benchmark:imagenet_r", root=imagenet_tree)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1, two", "holds 'two'"), ("# none\n", "holds no number"), ("3 3", "number 3 twice"), ("-1", "holds '-1'")],
)
def test_lists_of_class_numbers(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_indices(text, "list.txt")
    assert read_indices("# classes\n3, 1\n2 # last\n", "list.txt") == (3, 1, 2)
