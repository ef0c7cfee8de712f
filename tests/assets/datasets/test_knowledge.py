import json
from collections.abc import Callable
from importlib import resources
from itertools import permutations
from typing import Any

import pytest

from clipwright.assets import datasets
from clipwright.assets.datasets import _knowledge_file as files
from clipwright.assets.datasets.knowledge import Knowledge, knowledge
from clipwright.core.errors import DataError, FormatError

KINDS = ("synonyms", "attributes", "analogues", "paraphrases")
WRITTEN = ("digits", "digits-print", "letters", "shapes", "shapes-sketch", "shapes-stipple")
COLOURED = "shapes-colour"


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_is_described(name: str) -> None:
    data, known = datasets.load(name), knowledge(name)
    assert known.name == name
    assert known.class_names == data.class_names
    assert known.templates[: len(data.templates)] == data.templates
    assert known.author
    assert known.source
    assert known.licence


@pytest.mark.parametrize("name", [*WRITTEN, COLOURED])
def test_every_class_has_every_kind(name: str) -> None:
    known = knowledge(name)
    assert len(known.templates) == len(set(known.templates)) == 20
    assert all(template.count("{}") == 1 for template in known.templates)
    for kind in KINDS:
        words = getattr(known, kind)
        assert tuple(words) == known.class_names
        for class_name, phrases in words.items():
            assert len(phrases) == len(set(phrases)), (kind, class_name)
            assert class_name not in phrases
            assert all(phrase == phrase.strip() and phrase for phrase in phrases)


@pytest.mark.parametrize("name", WRITTEN)
def test_how_many_phrases_there_are(name: str) -> None:
    known = knowledge(name)
    for kind, (low, high) in dict(zip(KINDS, ((3, 6), (6, 10), (3, 5), (4, 6)), strict=True)).items():
        assert all(low <= len(phrases) <= high for phrases in getattr(known, kind).values()), kind
    assert set(known.one_vs_one) == set(permutations(known.class_names, 2))
    assert all(1 <= len(phrases) <= 3 for phrases in known.one_vs_one.values())


def test_no_two_classes_have_the_same_words() -> None:
    for name in WRITTEN:
        known = knowledge(name)
        for kind in ("synonyms", "attributes", "paraphrases"):
            phrases = [phrase for of_class in getattr(known, kind).values() for phrase in of_class]
            assert len(phrases) == len(set(phrases)), (name, kind)


def test_variants_share_all_but_the_templates() -> None:
    for first, *others in (WRITTEN[:2], WRITTEN[3:]):
        for other in others:
            for kind in (*KINDS, "one_vs_one", "class_names"):
                assert getattr(knowledge(first), kind) == getattr(knowledge(other), kind)
            assert knowledge(first).templates != knowledge(other).templates


class TestColourWithShape:
    def test_words_come_from_both(self) -> None:
        known, shapes = knowledge(COLOURED), knowledge("shapes")
        assert len(known.class_names) == 12 * 14
        assert set(known.attributes["red ring"]) > set(shapes.attributes["ring"])
        assert "a crimson body" in known.attributes["red ring"]
        assert {"scarlet ring", "red hoop", "scarlet hoop"} <= set(known.synonyms["red ring"])
        assert {"orange ring", "red circle"} <= set(known.analogues["red ring"])
        assert set(known.analogues["red ring"]) < set(known.class_names)
        assert all("red" in s and "ring" in s for s in known.paraphrases["red ring"])

    def test_pairs_differ_in_one_thing(self) -> None:
        known = knowledge(COLOURED)
        assert known.one_vs_one["red ring", "red oval"] == knowledge("shapes").one_vs_one["ring", "oval"]
        of_red = known.one_vs_one["red ring", "pink ring"]
        assert len(of_red) == 2
        assert set(of_red) < set(known.attributes["red ring"])
        assert not set(of_red) & set(known.attributes["pink ring"])

    def test_pairs_are_a_mapping(self) -> None:
        pairs = knowledge(COLOURED).one_vs_one
        keys = list(pairs)
        assert len(keys) == len(set(keys)) == len(pairs)
        assert all(pairs[key] for key in keys)

    @pytest.mark.parametrize(
        "pair",
        [
            ("red ring", "blue oval"),
            ("red ring", "red ring"),
            ("red bird", "blue bird"),
            ("red ring", "mauve ring"),
            ("mauve ring", "mauve oval"),
            ("red ring", "red bird"),
        ],
    )
    def test_no_other_pair_is_there(self, pair: tuple[str, str]) -> None:
        pairs = knowledge(COLOURED).one_vs_one
        assert pair not in pairs
        with pytest.raises(KeyError):
            pairs[pair]

    def test_the_words_of_a_pair_of_colours_are_true_of_one(self) -> None:
        words = [phrase for c in files.read_colours().classes for phrase in c.attributes]
        assert len(words) == len(set(words))


def test_words_cannot_be_changed_by_accident() -> None:
    words: Any = knowledge("digits").synonyms
    with pytest.raises(TypeError):
        words["one"] = ()


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(DataError, match=r"digits, .*shapes-colour"):
        knowledge("birds")


def _json(name: str) -> dict[str, Any]:
    path = resources.files("clipwright.assets.datasets").joinpath(f"knowledge/{name}.json")
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def _check(raw: dict[str, Any]) -> None:
    files.check_classes(files.parse(json.dumps(raw), files.ClassFile))


def _set(kind: str, phrases: list[str]) -> Callable[[dict[str, Any]], object]:
    """Give the first class other phrases."""
    return lambda raw: raw["classes"][0].update({kind: phrases})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw.update(format=2), "format 2, .* update"),
        (lambda raw: raw.pop("format"), 'must be JSON with a "format"'),
        (lambda raw: raw.pop("licence"), "damaged at licence"),
        (lambda raw: raw.update(colour="red"), "damaged at colour"),
        (lambda raw: raw["classes"][3].pop("synonyms"), "damaged at classes -> 3 -> synonyms"),
        (lambda raw: raw["classes"].append(raw["classes"][0]), "'zero' stands there 2 times"),
        (_set("synonyms", []), "synonyms of zero: there are none"),
        (_set("analogues", ["a ring", " "]), "analogues of zero: one is empty"),
        (_set("analogues", ["a  ring"]), "stray spaces"),
        (_set("attributes", ["a curve", "a curve"]), "'a curve' stands there 2 times"),
        (_set("attributes", ["the form of a Zero"]), "names zero"),
        (_set("synonyms", ["0", "zero"]), "another name of itself"),
        (_set("paraphrases", ["It is one."]), "must name zero"),
        (lambda raw: raw["one_vs_one"]["zero"].update(zero=["a curve"]), "isn't two of the classes"),
        (lambda raw: raw["one_vs_one"]["zero"].update(ten=["a curve"]), "isn't two of the classes"),
        (lambda raw: raw["one_vs_one"]["zero"].update(two=["no form like a two"]), "names two"),
        (lambda raw: raw["one_vs_one"]["zero"].update(two=[]), "one_vs_one of zero and two: there are none"),
        (lambda raw: raw["templates"].update(digits=["a digit."]), "exactly one"),
        (lambda raw: raw["templates"].update(digits=["{} or {}."]), "exactly one"),
        (lambda raw: raw["templates"].update(digits=["a {x} {}."]), "no other brace"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(spoil: Callable[[dict[str, Any]], object], message: str) -> None:
    raw = _json("digits")
    _check(raw)
    spoil(raw)
    with pytest.raises(FormatError, match=message):
        _check(raw)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda raw: raw["sentences"].append("It is {colour}."), r"one \{colour\} and one \{shape\}"),
        (lambda raw: raw["classes"][0].update(near=["mauve"]), "near red isn't one of the colours"),
        (lambda raw: raw["classes"][0].update(near=["red"]), "another name of itself"),
        (lambda raw: raw["classes"][0].update(attributes=["a red body"]), "names red"),
    ],
)
def test_colours_have_rules_too(spoil: Callable[[dict[str, Any]], object], message: str) -> None:
    raw = _json("colours")
    spoil(raw)
    with pytest.raises(FormatError, match=message):
        files.check_colours(files.parse(json.dumps(raw), files.ColourFile))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}"])
def test_what_is_no_knowledge_file_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="no knowledge file"):
        files.parse(text, files.ClassFile)


def test_a_missing_file_is_said() -> None:
    with pytest.raises(FormatError, match=r"birds\.json can't be read"):
        files.read_classes("birds")


def test_the_article_is_not_the_letter() -> None:
    known: Knowledge = knowledge("letters")
    assert any(phrase.startswith("a ") for phrase in known.attributes["A"])
    raw = _json("letters")
    raw["classes"][0]["attributes"] = ["the form of an A"]
    with pytest.raises(FormatError, match="names A"):
        _check(raw)
