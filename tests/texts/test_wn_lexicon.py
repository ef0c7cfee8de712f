from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipwright.core.errors import NeedsError, UsageError
from clipwright.texts.wn_lexicon import WnLexicon
from clipwright.texts.wordnet import open_lexicon, wordnet_synonyms

LEXICON = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE LexicalResource SYSTEM "http://globalwordnet.github.io/schemas/WN-LMF-1.1.dtd">
<LexicalResource xmlns:dc="https://globalwordnet.github.io/schemas/dc/">
 <Lexicon id="{id}" label="Small English" language="en" email="a@b.c" license="none" version="1">
  <LexicalEntry id="{id}-crane"><Lemma writtenForm="crane" partOfSpeech="n"/><Form writtenForm="cranes"/>
   <Sense id="{id}-c1" synset="{id}-1"/><Sense id="{id}-c2" synset="{id}-2"/></LexicalEntry>
  <LexicalEntry id="{id}-derrick"><Lemma writtenForm="derrick" partOfSpeech="n"/>
   <Sense id="{id}-d1" synset="{id}-1"/></LexicalEntry>
  <LexicalEntry id="{id}-wader"><Lemma writtenForm="wading bird" partOfSpeech="n"/>
   <Sense id="{id}-w1" synset="{id}-2"/></LexicalEntry>
  <LexicalEntry id="{id}-heron"><Lemma writtenForm="heron" partOfSpeech="n"/>
   <Sense id="{id}-h1" synset="{id}-3"/></LexicalEntry>
  <LexicalEntry id="{id}-run"><Lemma writtenForm="heron" partOfSpeech="v"/>
   <Sense id="{id}-r1" synset="{id}-4"/></LexicalEntry>
  <Synset id="{id}-1" ili="" partOfSpeech="n" lexfile="noun.artifact">
   <Definition>lifts heavy things</Definition></Synset>
  <Synset id="{id}-2" ili="" partOfSpeech="n" lexfile="noun.animal"><Definition>a wading bird</Definition></Synset>
  <Synset id="{id}-3" ili="" partOfSpeech="n" lexfile="noun.animal"><Definition>a grey bird</Definition></Synset>
  <Synset id="{id}-4" ili="" partOfSpeech="v"><Definition>to stand still</Definition></Synset>
 </Lexicon>
</LexicalResource>
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """An empty database of `wn`, in a folder of its own."""
    wn = pytest.importorskip("wn", reason="the wordnet extra is not installed")
    before = wn.config.data_directory
    wn.config.data_directory = tmp_path / "wn"
    yield tmp_path
    wn.config.data_directory = before


def add(folder: Path, name: str) -> None:
    import wn

    path = folder / f"{name}.xml"
    path.write_text(LEXICON.replace("{id}", name), encoding="utf-8")
    wn.add(path, progress_handler=None)


def test_senses_in_order(database: Path) -> None:
    add(database, "small")
    lexicon = WnLexicon()
    assert lexicon.name == "Small English (small:1)"
    for word in ("crane", "cranes", "Crane"):
        found = lexicon.senses(word)
        assert [sense.key for sense in found] == ["small-1", "small-2"]
    assert found[0].lemmas == ("crane", "derrick")
    assert (found[1].gloss, found[1].field) == ("a wading bird", "noun.animal")
    assert [sense.gloss for sense in lexicon.senses("heron")] == ["a grey bird"]  # the verb is none
    assert lexicon.senses("stork") == []


def test_synonyms_through_wn(database: Path) -> None:
    add(database, "small")
    bank = wordnet_synonyms(["crane", "heron"], source="wn", date="2026-11-25")
    assert bank.texts("crane", "synonym") == ("wading bird",)
    assert {r.source for r in bank.rows if r.kind == "synonym"} == {"Small English (small:1), small-2"}


def test_which_lexicon_must_be_clear(database: Path) -> None:
    with pytest.raises(NeedsError, match="wn has no English lexicon: get one with"):
        WnLexicon()
    with pytest.raises(NeedsError, match="wn has no lexicon oewn:2024"):
        open_lexicon("wn:oewn:2024")
    add(database, "small")
    add(database, "other")
    with pytest.raises(UsageError, match="wn has other:1, small:1: say which, as wn:"):
        open_lexicon("wn")
    assert open_lexicon("wn:other:1").name == "Small English (other:1)"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(NeedsError, match=r"pip install 'clipwright\[wordnet\]'"):
        WnLexicon()
