"""Random templates: shared by all classes, drawn by the seed, as long as class names are."""

from __future__ import annotations

import re

import pytest

from clipwright.core.errors import UsageError
from clipwright.texts.templates import read_templates
from clipwright.texts.waffle import WORDS, waffle_templates, waffle_texts

NAMES = ("house finch", "great auk", "jay_bird")


def test_pairs_of_words_and_characters_as_long_as_the_names() -> None:
    found = waffle_templates(NAMES, 15)
    assert len(found) == len(set(found)) == 30
    assert read_templates(found) == found
    for said, letters in zip(found[::2], found[1::2], strict=True):
        words = re.fullmatch(r"a photo of a \{\}, which has (\w+) (\w+)\.", said)
        assert words is not None
        assert all(any(known.startswith(word) for known in WORDS) for word in words.groups())
        assert all(len(word) <= 4 for word in words.groups())
        assert re.fullmatch(r"a photo of a \{\}, which has [a-z]{4}, [a-z]{4}\.", letters)


def test_all_classes_share_them() -> None:
    prompts = waffle_texts(NAMES, 2)
    assert len(prompts) == 12
    for prompt in prompts:
        name = NAMES[prompt.class_index].replace("_", " ")
        assert prompt.text == prompt.template.replace("{}", name)
    assert [p.template for p in prompts[::3]] == list(waffle_templates(NAMES, 2))


def test_the_seed_decides_and_fewer_are_the_first_of_many() -> None:
    assert waffle_templates(NAMES, 4) == waffle_templates(NAMES, 15)[:8]
    assert waffle_templates(NAMES, 4, seed=1) != waffle_templates(NAMES, 4)


def test_another_template_and_other_words() -> None:
    found = waffle_templates(("cat",), 1, template="a sketch of the {}", words=("ox",))
    assert found[0] == "a sketch of the {}, which has ox."


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one pair"):
        waffle_templates(NAMES, 0)
    with pytest.raises(UsageError, match="no other braces"):
        waffle_templates(NAMES, words=("{x}",))
