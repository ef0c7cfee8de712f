"""Miniature trees in CoOp's layout: rendered images, and lists of the same format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from clipwright.data.benchmarks import find_benchmark, listed_classes

Plant = Callable[..., None]
Grow = Callable[..., Path]


def draw(place: Path, number: int) -> None:
    """An image file of a colour of its own."""
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (12 * number % 252, number // 21, 99)).save(place)


def synset(number: int) -> str:
    """A made-up WordNet id, ascending with the number."""
    return f"n{10_000_000 + 7 * number:08d}"


def class_list(names: Sequence[str]) -> str:
    """The text of a ``classnames.txt``."""
    return "".join(f"{synset(i)} {name}\n" for i, name in enumerate(names))


def imagenet_names() -> list[str]:
    """A thousand names, two of them twice, as in ImageNet's list."""
    names = [f"thing {i}" for i in range(1000)]
    names[657] = names[744] = "missile"
    names[836] = names[837] = "sunglasses"
    return names


@pytest.fixture
def split_tree(tmp_path: Path) -> Grow:
    """Make a benchmark with a split file: classes as (name, folder), images of each class per split."""

    def grow(name: str, classes: Iterable[tuple[str, str]], counts: tuple[int, int, int] = (3, 2, 1)) -> Path:
        benchmark = find_benchmark(name)
        folder = tmp_path / "root" / benchmark.folders[0]
        lists: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
        number = 0
        for label, (called, place) in enumerate(classes):
            for part, count in zip(lists, counts, strict=True):
                for _ in range(count):
                    path = f"{place}/{number:03d}.jpg"
                    draw(folder / benchmark.within[0] / path, number)
                    lists[part].append([path, label, called])
                    number += 1
        (folder / benchmark.split[0]).write_text(json.dumps(lists), encoding="utf-8")
        return tmp_path / "root"

    return grow


@pytest.fixture
def aircraft_tree(tmp_path: Path) -> Path:
    """FGVC-Aircraft with three variants and two images of each in every part."""
    folder = tmp_path / "root" / "fgvc_aircraft"
    names, number = ["707-320", "F-16A/B", "Cessna 172"], 0
    folder.mkdir(parents=True)
    (folder / "variants.txt").write_text("\n".join(names) + "\n")
    for part in ("train", "val", "test"):
        lines = []
        for name in names * 2:
            draw(folder / "images" / f"{number:07d}.jpg", number)
            lines.append(f"{number:07d} {name}")
            number += 1
        (folder / f"images_variant_{part}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "root"


@pytest.fixture
def imagenet_tree(tmp_path: Path) -> Path:
    """ImageNet and its four variants: the whole list of classes, images of a few of them."""
    root = tmp_path / "root"
    few = [0, 6, 657, 744, 836]
    number = 0
    for class_number in few:
        for part, count in (("train", 2), ("val", 1)):
            for _ in range(count):
                draw(root / f"imagenet/images/{part}/{synset(class_number)}/{number}.JPEG", number)
                number += 1
        draw(root / f"imagenetv2/imagenetv2-matched-frequency-format-val/{class_number}/{number}.jpeg", number)
        draw(root / f"imagenet-sketch/images/{synset(class_number)}/sketch_{number}.JPEG", number + 1000)
        number += 1
    for letter, place in (("a", "imagenet-adversarial/imagenet-a"), ("r", "imagenet-rendition/imagenet-r")):
        chosen = listed_classes(find_benchmark(f"imagenet_{letter}"))
        for class_number in (*chosen[:3], *(n for n in (657, 836) if n in chosen)):
            draw(root / place / synset(class_number) / f"{letter}{number}.jpg", number)
            number += 1
    (root / "imagenet/classnames.txt").write_text(class_list(imagenet_names()), encoding="utf-8")
    return root
