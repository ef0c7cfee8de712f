"""Class names made from the data sets' own: the published split files say what should come out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clipwright.data.benchmarks import find_benchmark, read_split
from clipwright.data.benchmarks.edits import Edits


@pytest.mark.parametrize(
    ("benchmark", "raw", "edited"),
    [
        ("caltech101", "airplanes", "airplane"),
        ("caltech101", "Faces", "face"),
        ("caltech101", "Faces_easy", None),
        ("caltech101", "BACKGROUND_Google", None),
        ("caltech101", "accordion", "accordion"),
        ("eurosat", "SeaLake", "Sea or Lake"),
        ("eurosat", "Forest", "Forest"),
        ("stanford_cars", "Acura RL Sedan 2012", "2012 Acura RL Sedan"),
        ("stanford_cars", "2012 Acura RL Sedan", "2012 Acura RL Sedan"),
        ("stanford_cars", "Audi 100 Wagon 1994", "1994 Audi 100 Wagon"),
        ("sun397", "/c/church/outdoor", "outdoor church"),
        ("sun397", "/a/abbey", "abbey"),
        ("sun397", "/a/airplane_cabin", "airplane_cabin"),
        ("sun397", "outdoor church", "outdoor church"),
        ("ucf101", "ApplyEyeMakeup", "Apply_Eye_Makeup"),
        ("ucf101", "Archery", "Archery"),
        ("ucf101", "YoYo", "Yo_Yo"),
        ("oxford_pets", "Maine_Coon", "maine_coon"),
        ("dtd", "banded", "banded"),
    ],
)
def test_names_are_edited_and_edited_names_stay(benchmark: str, raw: str, edited: str | None) -> None:
    edits = find_benchmark(benchmark).edits
    assert edits(raw) == edited
    if edited is not None:
        assert edits(edited) == edited


def test_no_edits_are_no_edits() -> None:
    assert Edits()("Any_Name 2012") == "Any_Name 2012"


# The data sets' own name of an image's class, as its path has it.
OWN_NAMES = {
    "caltech101": r"(.+)/image_\d+\.jpg",
    "eurosat": r"(.+)/.+",
    "oxford_pets": r"(.+)_\d+\.jpg",
    "dtd": r"(.+)/.+",
    "ucf101": r".+/v_(.+)_g\d+_c\d+\.jpg",
}


@pytest.mark.parametrize("name", OWN_NAMES)
def test_from_the_data_set_s_own_names_come_those_of_the_split_file(name: str, shared: Path) -> None:
    benchmark = find_benchmark(name)
    path = shared / f"realdata/coop_splits/{benchmark.split[0]}.gz"
    rows = read_split(path)
    own: dict[str, str] = {}
    for image, label in zip(rows.paths, rows.labels, strict=True):
        found = re.fullmatch(OWN_NAMES[name], image)
        assert found is not None
        own[found[1]] = rows.class_names[label]
    assert len(own) == benchmark.classes
    odd = {"HandStandPushups": "Handstand_Pushups"}  # UCF101 spells its folder and its files in two ways
    assert {raw: odd.get(raw, benchmark.edits(raw)) for raw in own} == own


@pytest.mark.parametrize("name", [*OWN_NAMES, "stanford_cars", "oxford_flowers"])
def test_published_split_files_hold_the_edited_names_and_the_sizes(name: str, shared: Path) -> None:
    benchmark = find_benchmark(name)
    path = shared / f"realdata/coop_splits/{benchmark.split[0]}.gz"
    plain, edited = read_split(path), read_split(path, benchmark.edits)
    assert plain.class_names == edited.class_names
    assert len(plain.class_names) == benchmark.classes
    assert tuple(plain.splits.count(part) for part in ("train", "val", "test")) == benchmark.images
