from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError, UsageError
from clipwright.texts.templates import (
    DATASET_TEMPLATES,
    DEFAULT_TEMPLATE,
    ENSEMBLES,
    IMAGENET_7,
    TASKRES_8,
    check_template,
    named_templates,
    read_templates,
    render,
)


def test_the_published_templates_are_those_of_the_spec(shared: Path) -> None:
    spec = (shared / "specs" / "craft_taskres_gda_tip_clap.md").read_text(encoding="utf-8")
    section = spec[spec.index("### 0.3") : spec.index("### 0.4")]
    quoted = set(re.findall(r"`([^`]*\{\}[^`]*)`", section))
    assert set(DATASET_TEMPLATES.values()) | set(IMAGENET_7) == quoted
    assert len(IMAGENET_7) == 7
    assert (*IMAGENET_7, DEFAULT_TEMPLATE) == TASKRES_8
    for name, template in re.findall(r"\| ([A-Z][A-Za-z0-9]+)[^|]*\| `([^`]*)`", section):
        assert named_templates(name) == (template,)


@pytest.mark.parametrize("template", [*DATASET_TEMPLATES.values(), *(t for e in ENSEMBLES.values() for t in e)])
def test_every_template_is_sound(template: str) -> None:
    check_template(template)


def test_names_are_found_however_they_are_spelt() -> None:
    assert named_templates("oxford_pets") == named_templates("OxfordPets") == ("a photo of a {}, a type of pet.",)
    assert named_templates("dtd") == ("{} texture.",)
    assert named_templates("ImageNet-7") == IMAGENET_7
    with pytest.raises(UsageError, match="choose one of default, imagenet7"):
        named_templates("nothing")


def test_what_a_user_may_give() -> None:
    assert read_templates(None) == (DEFAULT_TEMPLATE,)
    assert read_templates("a {}!") == ("a {}!",)
    assert read_templates("taskres8") == TASKRES_8
    assert read_templates(["{} x", "{} y"]) == ("{} x", "{} y")
    with pytest.raises(UsageError, match="empty"):
        read_templates([])


@pytest.mark.parametrize(
    ("template", "wrong"),
    [
        ("a photo", "has no {}"),
        ("{} and {}", "more than one"),
        ("{0}", "has no {}"),
        ("{name}", "has no {}"),
        ("{} {x}", "more than one"),
        ("{}}", "more than one"),
        ("{!r}", "has no {}"),
        ("", "has no {}"),
    ],
)
def test_bad_templates(template: str, wrong: str) -> None:
    with pytest.raises(UsageError, match=re.escape(wrong)):
        read_templates([template])


def test_order_is_that_of_a_dense_array() -> None:
    prompts = render(["a {}", "the {}"], ["red_fox", "cat"])
    assert [(p.class_index, p.template, p.text) for p in prompts] == [
        (0, "a {}", "a red fox"),
        (1, "a {}", "a cat"),
        (0, "the {}", "the red fox"),
        (1, "the {}", "the cat"),
    ]


def test_underscores_are_kept_when_asked() -> None:
    assert render(None, ["red_fox"], underscores=False)[0].text == "a photo of a red_fox."


def test_names_that_read_the_same_are_refused() -> None:
    with pytest.raises(UsageError, match="both read 'red fox'"):
        render(None, ["red_fox", "red fox"])
    with pytest.raises(UsageError, match="has no letters"):
        render(None, ["_"])
    with pytest.raises(DataError, match="appears twice"):
        render(None, ["a", "a"])
    assert len(render(None, ["red_fox", "red fox"], underscores=False)) == 2


@given(st.text(min_size=1).filter(lambda name: name.replace("_", " ").strip()))
def test_any_name_is_inserted_as_it_is(name: str) -> None:
    clean = " ".join(name.replace("_", " ").split())
    assert render("<{}>", [name])[0].text == f"<{clean}>"
