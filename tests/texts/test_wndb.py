from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.core.errors import DataError
from clipwright.texts.lexicon import Sense
from clipwright.texts.wndb import WordNetFolder
from clipwright.texts.wordnet import USUAL_PLACES


def test_senses_in_the_order_of_the_index(wndb: Path) -> None:
    lexicon = WordNetFolder(wndb)
    assert lexicon.name == "WordNet 3.9"
    found = lexicon.senses("Crane")
    assert [sense.field for sense in found] == ["noun.person", "noun.artifact", "noun.animal"]
    assert found[0].lemmas == ("Crane", "Stephen Crane")
    assert found[1].gloss == "lifts and moves heavy objects"  # without the example
    assert found[2].key.endswith("-n")
    assert lexicon.senses("nothing of the kind") == []
    assert lexicon.irregular("mice") == ("mouse",)
    assert lexicon.irregular("mouse") == ()


def test_files_are_checked(wndb: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no index\.noun: give the folder"):
        WordNetFolder(tmp_path)
    index = (wndb / "index.noun").read_text()
    for line, wrong in (
        ("heron n 1 2 @ ~ 1 1 00000003  \n", r"data\.noun is damaged at 'byte 3'"),
        ("heron n 1 2 @ ~ 1 1 99999999  \n", r"data\.noun is damaged"),
        ("heron n 2 2 @ ~ 1 1 00000003  \n", r"index\.noun is damaged at 'heron'"),
        ("heron n x\n", r"index\.noun is damaged at 'heron'"),
    ):
        kept = [old for old in index.splitlines(keepends=True) if not old.startswith("heron")]
        (wndb / "index.noun").write_text("".join([*kept, line]))
        with pytest.raises(DataError, match=wrong):
            WordNetFolder(wndb).senses("heron")
    (wndb / "noun.exc").unlink()
    assert WordNetFolder(wndb).irregular("mice") == ()


def test_wordnet_itself() -> None:
    folder = next((place for place in USUAL_PLACES if (place / "data.noun").is_file()), None)
    if folder is None:
        pytest.skip("WordNet's files are in none of the usual places: install Debian's wordnet-base")
    lexicon = WordNetFolder(folder)
    assert lexicon.name.startswith("WordNet 3")
    (tench,) = lexicon.senses("tench")
    assert isinstance(tench, Sense)
    assert tench.lemmas == ("tench", "Tinca tinca")
    assert tench.field == "noun.animal"
    assert {sense.field for sense in lexicon.senses("crane")} >= {"noun.animal", "noun.artifact", "noun.person"}
