"""The phrases of the knowledge files test understanding: captions use their words, and never their wordings."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest
from training.tiny import captions, lexicon, parts

from clipwright.assets.datasets import _knowledge_file as files
from clipwright.assets.datasets.knowledge import knowledge

NAMES = ("digits", "letters", "shapes", "shapes-colour")
TRAINED = {wording for attribute in parts.ATTRIBUTES for wording in attribute.wordings}  # held-out ones among them
UNKNOWN = 0.1  # largest share of phrases with a word of content that no caption has
FUNCTION_WORDS = set(
    re.findall(
        r"\w+",
        "a an the and or but not no nor of in on at to from with without by for as than then that this these "
        "those which what who whoever whose where when while if so because is are was were be been being it "
        "its he she they their them him her you your we us our i me my has have had do does did can could may "
        "might must would will shall should up down over under into onto off out through toward towards "
        "beside besides behind between among across near about around after before above below all any each "
        "either neither both some such same other another there here only just even too also very almost "
        "perhaps often always ever never again twice nothing something someone somebody anyone anything "
        "anywhere everywhere nobody none enough else more most less least much many few own like quite rather "
        "how",
    )
)


def _content(phrase: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", phrase.lower())) - FUNCTION_WORDS


def _vocabulary() -> set[str]:
    """Words in the captions' sources, which wordings, lists and sentence parts are put together from."""
    text = [*TRAINED]
    for module in (lexicon, captions):
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        text += [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
        ]
    return {word for part in text for word in _content(part)}


def _phrases(name: str, kind: str) -> set[str]:
    return {phrase for phrases in getattr(knowledge(name), kind).values() for phrase in phrases}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["attributes", "one_vs_one"])
def test_no_phrase_is_a_wording_of_the_captions(name: str, kind: str) -> None:
    for phrase in _phrases(name, kind):
        # Captions list several wordings; a phrase mustn't be such a list either.
        listed = re.split(r", | and ", phrase)
        assert not TRAINED.issuperset(listed), phrase
        assert phrase not in TRAINED


@pytest.mark.parametrize("name", NAMES)
def test_attributes_differ_from_wordings_by_more_than_a_word(name: str) -> None:
    wordings = [Counter(wording.split()) for wording in TRAINED]
    phrases = [Counter(phrase.split()) for phrase in _phrases(name, "attributes")]
    close = [any(max((p - w).total(), (w - p).total()) <= 1 for w in wordings) for p in phrases]
    assert sum(close) <= 0.1 * len(close)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kinds", [("attributes",), ("one_vs_one",), ("synonyms", "paraphrases", "analogues")])
def test_few_phrases_have_an_unknown_word(name: str, kinds: tuple[str, ...]) -> None:
    vocabulary = _vocabulary()
    phrases = [phrase for kind in kinds for phrase in _phrases(name, kind)]
    unknown = [phrase for phrase in phrases if _content(phrase) - vocabulary]
    assert len(unknown) <= UNKNOWN * len(phrases), unknown


@pytest.mark.parametrize("name", NAMES)
def test_no_paraphrase_is_a_caption_about_the_name(name: str) -> None:
    """What follows a prefix in a caption is at most an article, a few adjectives and the noun."""
    openings = tuple(f"{prefix} {article} " for prefix in lexicon.PREFIXES for article in ("a", "an", "the"))
    for phrase in _phrases(name, "paraphrases"):
        assert not phrase.lower().startswith(openings), phrase


def test_colours_have_phrases_of_known_words() -> None:
    vocabulary = _vocabulary()
    phrases = [p for colour in files.read_colours().classes for p in (*colour.synonyms, *colour.attributes)]
    unknown = [phrase for phrase in phrases if _content(phrase) - vocabulary]
    assert len(unknown) <= UNKNOWN * len(phrases), unknown
