from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipwright.backbones.base import Backbone
from clipwright.core.errors import UsageError
from clipwright.texts.lexicon import Sense
from clipwright.texts.senses import choose_senses
from clipwright.texts.wndb import WordNetFolder

GLOSSES = {
    "seven": ["the digit seven", "a red circle with a hole", "handwritten numbers"],
    "nine": ["a printed number nine", "a blue star of five points"],
    "unknown": [],
    "two": ["the letter B in capitals", "two of a kind", "the number two"],
}
SENSES = [
    [Sense(f"{name}{i}", (name,), gloss, "") for i, gloss in enumerate(glosses)] for name, glosses in GLOSSES.items()
]
NAMES = list(GLOSSES)


def unit(tiny: Backbone, texts: list[str]) -> np.ndarray:
    x = tiny.texts(texts).numpy().astype(np.float64)
    unit_rows: np.ndarray = x / np.linalg.norm(x, axis=1, keepdims=True)
    return unit_rows


def test_fields_are_voted_for(wndb: Path) -> None:
    lexicon = WordNetFolder(wndb)
    names = ["crane", "heron", "stork"]
    senses = [lexicon.senses(name) for name in names]
    assert choose_senses(names, senses) == [2, 0, 0]  # a bird among birds
    assert choose_senses(names, senses, rule="first") == [1, 0, 0]  # not the writer: the class has no capital
    tools = ["crane", "church", "t-shirt"]
    assert choose_senses(tools, [lexicon.senses(name) for name in tools]) == [1, 0, 0]
    assert choose_senses(["Crane"], [lexicon.senses("crane")]) == [0]
    assert choose_senses(["x"], [[]]) == [None]


def test_only_proper_names_are_better_than_nothing() -> None:
    assert choose_senses(["mars"], [[Sense("1", ("Mars",), "a planet"), Sense("2", ("Mars", "Ares"), "a god")]]) == [0]


def test_glosses_against_those_of_other_classes(tiny: Backbone) -> None:
    found = choose_senses(NAMES, SENSES, tiny)
    means = {name: unit(tiny, glosses).mean(0) for name, glosses in GLOSSES.items() if glosses}
    for number, (name, glosses) in zip(found, GLOSSES.items(), strict=True):
        if not glosses:
            assert number is None
            continue
        context = np.mean([mean for other, mean in means.items() if other != name], axis=0)
        assert number == int(np.argmax(unit(tiny, glosses) @ context))


def test_glosses_against_a_domain_and_against_the_name(tiny: Backbone) -> None:
    domain = unit(tiny, ["a printed letter"])[0]
    found = choose_senses(NAMES, SENSES, tiny, domain="a printed letter")
    by_name = choose_senses(NAMES, SENSES, tiny, rule="name")
    for number, named, (name, glosses) in zip(found, by_name, GLOSSES.items(), strict=True):
        if glosses:
            assert number == int(np.argmax(unit(tiny, glosses) @ domain))
            assert named == int(np.argmax(unit(tiny, glosses) @ unit(tiny, [f"a photo of a {name}."])[0]))
    alone = choose_senses(NAMES[:1], SENSES[:1], tiny)
    assert alone == choose_senses(NAMES[:1], SENSES[:1], tiny, rule="name")
    assert choose_senses(["unknown"], [[]], tiny) == [None]


def test_rules_that_need_a_backbone() -> None:
    for rule in ("glosses", "name"):
        with pytest.raises(UsageError, match="name a backbone"):
            choose_senses(NAMES, SENSES, rule=rule)
    with pytest.raises(UsageError, match="a domain is compared"):
        choose_senses(NAMES, SENSES, domain="a digit")
