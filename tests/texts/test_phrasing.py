from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from clipwright.core.errors import UsageError
from clipwright.texts import contrasts
from clipwright.texts.phrasing import Phrasing, connector
from clipwright.texts.phrasings import PHRASINGS, phrasing_name, read_phrasing


@pytest.mark.parametrize(
    ("phrase", "strict", "released"),
    [
        ("a long tail", "which is", "which is"),
        ("an oval body", "which is", "which is"),
        ("used for hunting", "which is", "which is"),
        ("has four legs", "which", "which"),
        ("often red", "which", "which"),
        ("typically small", "which", "which"),
        ("may have stripes", "which", "which"),
        ("can fly", "which", "which"),
        ("long legs", "which has", "which has"),
        ("antlers", "which has", "which is"),  # the released code looks at the first letters
        ("canine teeth", "which has", "which"),
        ("A white belly", "which is", "which has"),
        ("", "which has", "which has"),
    ],
)
def test_connectors(phrase: str, strict: str, released: str) -> None:
    assert connector(phrase) == strict
    assert connector(phrase, loose=True) == released


def test_the_wordings_are_those_of_the_spec(shared: Path) -> None:
    spec = (shared / "specs" / "coder_regft_cafo.md").read_text(encoding="utf-8")
    table = spec[spec.index("| dataset key | name / syno | att | ana |") :].split("\n\n", 1)[0]
    found = set()
    for line in table.splitlines()[2:]:  # after the head and the line below it
        key, *cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not cells or "flowers" in key:
            continue  # two in one cell, looked at below
        wording = PHRASINGS[phrasing_name(key)]
        for cell, own in zip(cells, (wording.name, wording.attribute, wording.analogue), strict=True):
            quoted = re.search(r"`([^`]*)`", cell)
            expected = own if cell == "default" else (quoted[1] if quoted else "",)
            slots = {"{class}": "{c}", "{phrase}": "{a}" if own is wording.attribute else "{s}"}
            said = own[0]
            for slot, short in slots.items():
                said = said.replace(slot, short)
            assert len(own) == 1
            assert cell == "default" or said == expected[0], key
        found.add(key)
    assert {"default", "eurosat", "food-101", "oxford-pet", "DTD", "ucf101"} <= found
    for name in ("flowers", "aircraft"):
        kind = "flower" if name == "flowers" else name
        assert PHRASINGS[name].name == (f"a photo of a {{class}}, a type of {kind}.",)
        assert PHRASINGS[name].attribute == PHRASINGS["default"].attribute
    for name in ("pets", "dtd"):  # few-shot code says these as by default
        few = PHRASINGS[f"{name}-few-shot"]
        assert (few.attribute, few.analogue) == (PHRASINGS["default"].attribute, PHRASINGS["default"].analogue)
        assert (few.name, few.one_vs_one) == (PHRASINGS[name].name, PHRASINGS[name].one_vs_one)


def test_there_are_as_many_contrasts_as_published() -> None:
    numbers = {"default": 7, "eurosat": 8, "pets": 4, "food101": 4, "places": 2, "cub": 11, "dtd": 4}
    assert {name: len(PHRASINGS[name].one_vs_one) for name in numbers} == numbers
    assert PHRASINGS["default"].one_vs_one == contrasts.PLAIN
    for wording in PHRASINGS.values():
        assert len(set(wording.one_vs_one)) == len(wording.one_vs_one)


def test_what_is_inserted_stays_as_it_is() -> None:
    wording = Phrasing(one_vs_one=("{class}/{rival}/{phrase}",))
    assert wording.say("one-vs-one", "{class} {}", class_name="{phrase}", rival="\\1") == ["{phrase}/\\1/{class} {}"]
    assert wording.say("name", "{rival}", class_name="x") == ["a photo of {rival}"]
    assert wording.say("caption", "as it stands", class_name="x") == ["as it stands"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"name": "a photo"}, "must have {class}"),
        ({"name": "{class} {phrase}"}, "no other braces"),
        ({"attribute": "{phrase}"}, "must have {class} and {phrase}"),
        ({"one_vs_one": "{class} has {phrase}"}, "must have {class} and {phrase} and {rival}"),
        ({"analogue": "{class} {phrase} {"}, "no other braces"),
        ({"analogue": ()}, "no sentence for analogue"),
    ],
)
def test_sentences_that_do_not_fit(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(UsageError, match=re.escape(wrong)):
        Phrasing(**options)  # type: ignore[arg-type] # what users may write


def test_names_and_files(tmp_path: Path) -> None:
    assert read_phrasing("eurosat") is PHRASINGS["eurosat"]
    assert read_phrasing(PHRASINGS["pets"]) is PHRASINGS["pets"]
    with pytest.raises(UsageError, match="no phrasing 'x': choose one of default, eurosat"):
        read_phrasing("x")
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"attribute": ["{class} with {phrase}"], "name": "{class}"}))
    own = read_phrasing(str(path))
    assert (own.attribute, own.name) == (("{class} with {phrase}",), ("{class}",))
    assert own.analogue == PHRASINGS["default"].analogue
    bad: object
    for bad in ([], {}, {"smell": []}, {"name": 3}, {"name": [3]}):
        path.write_text(json.dumps(bad))
        with pytest.raises(UsageError, match=r"own\.json"):
            read_phrasing(path)


def test_data_sets_find_their_wording() -> None:
    for dataset, name in (
        ("EuroSAT", "eurosat"), ("Food-101", "food101"), ("OxfordPets", "pets"), ("DescribableTextures", "dtd"),
        ("oxford_flowers", "flowers"), ("Aircraft", "aircraft"), ("caltech-101", "default"), ("CUB", "cub"),
    ):  # fmt: skip
        assert phrasing_name(dataset) == name
