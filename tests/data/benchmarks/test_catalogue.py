"""Names of the benchmarks, and what is fixed about each."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import UsageError
from clipwright.data.benchmarks import benchmarks, find_benchmark, listed_classes, listing
from clipwright.data.benchmarks.catalogue import key
from clipwright.data.benchmarks.edits import RULES
from clipwright.data.dataset import SPLITS
from clipwright.texts.templates import DATASET_TEMPLATES, named_templates

NAMES = [
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "oxford_flowers",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
    "imagenet",
    "imagenetv2",
    "imagenet_sketch",
    "imagenet_a",
    "imagenet_r",
]

# What the released code of each system calls them: configurations, folders, tables.
SPOKEN = {
    "CoOp, TaskRes": {
        "OxfordPets": "oxford_pets",
        "OxfordFlowers": "oxford_flowers",
        "FGVCAircraft": "fgvc_aircraft",
        "DescribableTextures": "dtd",
        "EuroSAT": "eurosat",
        "StanfordCars": "stanford_cars",
        "Food101": "food101",
        "SUN397": "sun397",
        "Caltech101": "caltech101",
        "UCF101": "ucf101",
        "ImageNet": "imagenet",
        "ImageNetV2": "imagenetv2",
        "ImageNetSketch": "imagenet_sketch",
        "ImageNetA": "imagenet_a",
        "ImageNetR": "imagenet_r",
        "imagenet_sketch": "imagenet_sketch",
        "imagenet-adversarial": "imagenet_a",
        "imagenet-rendition": "imagenet_r",
    },
    "CraFT": {"fgvc": "fgvc_aircraft", "oxford_pets": "oxford_pets", "dtd": "dtd", "imagenet-a": "imagenet_a"},
    "CODER": {
        "caltech-101": "caltech101",
        "DTD": "dtd",
        "eurosat1": "eurosat",
        "Aircraft": "fgvc_aircraft",
        "food-101": "food101",
        "oxford-pet": "oxford_pets",
        "ImageNet-V2": "imagenetv2",
    },
    "RegFT, CaFo": {
        "caltech-101": "caltech101",
        "cars": "stanford_cars",
        "flowers": "oxford_flowers",
        "pets": "oxford_pets",
        "sun": "sun397",
        "ucf": "ucf101",
        "fgvc_aircraft": "fgvc_aircraft",
    },
    "LatteCLIP": {"flower102": "oxford_flowers", "fgvc_aircraft": "fgvc_aircraft", "ucf101": "ucf101"},
}


@pytest.mark.parametrize("system", SPOKEN)
def test_every_system_s_names_are_known(system: str) -> None:
    for spoken, name in SPOKEN[system].items():
        assert find_benchmark(spoken).name == name
        assert find_benchmark(f"benchmark:{spoken.upper()}").name == name


def test_the_fifteen_are_there_and_no_name_means_two() -> None:
    assert [b.name for b in listing()] == NAMES
    spelled = [(key(n), b.name) for b in benchmarks() for n in {key(n) for n in (b.name, b.title, *b.aliases)}]
    assert len(spelled) == len({name for name, _ in spelled})


def test_a_wrong_name_is_told_what_is_near() -> None:
    with pytest.raises(UsageError, match=r"'flowres'.*did you mean benchmark:oxford_flowers"):
        find_benchmark("benchmark:flowres")
    with pytest.raises(UsageError, match=r"among caltech101, .*'clipwright datasets' lists them"):
        find_benchmark("zzzz")


def test_each_entry_is_whole() -> None:
    for benchmark in benchmarks():
        assert benchmark.template == DATASET_TEMPLATES[benchmark.title]
        assert benchmark.template.count("{}") == 1
        assert benchmark.classes > 1
        assert benchmark.images[2] > 0
        assert benchmark.folders
        assert benchmark.within
        assert bool(benchmark.split) == (benchmark.reader == "split")
        assert set(benchmark.parts.values()) <= set(SPLITS)
        assert benchmark.edits.rule in RULES
        assert benchmark.subject
        assert benchmark.medium
        assert len(listed_classes(benchmark)) == (benchmark.classes if benchmark.index else 0)


def test_templates_may_be_asked_for_by_the_same_names() -> None:
    for name in ("dtd", "cars", "pets", "caltech", "flowers102", "aircraft"):
        assert named_templates(name) == (find_benchmark(name).template,)


def test_the_page_about_benchmarks_has_each_of_them() -> None:
    page = (Path(__file__).parents[3] / "docs/benchmarks.md").read_text(encoding="utf-8")
    lines = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 6}
    assert [name for name in lines if name != "benchmark:"] == NAMES
    for benchmark in benchmarks():
        line = lines[benchmark.name]
        assert f"`{benchmark.folders[0]}/`" in line
        assert benchmark.within[0] == "." or f"`{benchmark.within[0]}/" in line
        assert all(f"`{name}`" in line for name in benchmark.split[:1])
        for other in line.split("|")[2].split(","):
            assert find_benchmark(other.strip()) == benchmark
