from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.backbones.base import Backbone
from clipwright.core.errors import ClipwrightError, DataError, UsageError
from clipwright.texts import (
    IMAGENET_7,
    IMAGENET_80,
    OPENAI_TEMPLATES,
    averaging_of,
    named_templates,
    read_templates,
    text_features,
)
from clipwright.texts.templates import check_template, template_file


def test_the_80_are_those_that_open_clip_has() -> None:
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    assert tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES) == IMAGENET_80
    assert len(set(IMAGENET_80)) == 80
    assert set(IMAGENET_7) <= set(IMAGENET_80)
    assert named_templates("ImageNet-80") == named_templates("openai-imagenet") == IMAGENET_80


def test_openais_sets_have_the_published_sizes() -> None:
    numbers = {
        "ImageNet": 80, "Caltech101": 34, "DescribableTextures": 8, "EuroSAT": 3, "FGVCAircraft": 2, "Food101": 1,
        "OxfordFlowers": 1, "OxfordPets": 1, "StanfordCars": 8, "SUN397": 2, "UCF101": 48,
    }  # fmt: skip
    assert {name: len(set(templates)) for name, templates in OPENAI_TEMPLATES.items()} == numbers
    for templates in OPENAI_TEMPLATES.values():
        for template in templates:
            check_template(template)
    for one in ("a example of the person practicing {}.", "a video of a person {}."):
        assert one in OPENAI_TEMPLATES["UCF101"]
    assert OPENAI_TEMPLATES["Caltech101"][:2] == ("a photo of a {}.", "a painting of a {}.")
    assert named_templates("openai-dtd") == OPENAI_TEMPLATES["DescribableTextures"]
    assert named_templates("openai_food101") == named_templates("food101")
    with pytest.raises(UsageError, match="openai- and a data set"):
        named_templates("openai-x")


def test_each_set_says_how_it_is_averaged() -> None:
    assert averaging_of("taskres8") == "raw_mean"
    for name in ("ImageNet-7", "imagenet80", "default", "dtd", "openai-ucf101"):
        assert averaging_of(name) == "mean_unit_renorm"
    with pytest.raises(UsageError, match="no templates called"):
        averaging_of("x")


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("a photo of a {}.\n\n  #{} in the wild\n", encoding="utf-8")
    assert read_templates(str(path)) == ("a photo of a {}.", "#{} in the wild")
    (tmp_path / "own.json").write_text('["{}!"]')
    assert read_templates(str(tmp_path / "own.json")) == template_file(tmp_path / "own.json") == ("{}!",)


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.txt", "", "holds no template"),
        ("a.txt", "a photo", "has no {}"),
        ("a.json", '{"a": 1}', "must hold a JSON list of templates"),
        ("a.json", "[1]", "must hold a JSON list of templates"),
        ("a.json", "[", "is not JSON"),
        ("a.json", "[]", "holds no template"),
    ],
)
def test_files_that_hold_none(tmp_path: Path, name: str, content: str, wrong: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ClipwrightError, match=wrong):
        read_templates(str(tmp_path / name))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not there"):
        read_templates(str(tmp_path / "none.txt"))


def test_a_file_of_templates_reaches_the_text_tower(tmp_path: Path, tiny: Backbone) -> None:
    (tmp_path / "own.txt").write_text("one {}\ntwo {}\n")
    found = text_features(tiny, ["a_b"], str(tmp_path / "own.txt"))
    assert found.texts == ("one a b", "two a b")
