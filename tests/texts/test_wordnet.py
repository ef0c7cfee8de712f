from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.backbones.base import Backbone
from clipwright.core.errors import DataError, NeedsError
from clipwright.texts import say, wordnet_synonyms
from clipwright.texts import wordnet as module
from clipwright.texts.wordnet import VARIABLE, choose_synonyms, open_lexicon


def test_synonyms_with_their_origin(wndb: Path) -> None:
    bank = wordnet_synonyms(["crane", "heron", "mice", "T_shirts", "nonsuch"], wndb, date="2026-11-25")
    assert bank.class_names == ("crane", "heron", "mice", "T_shirts", "nonsuch")
    assert bank.texts("crane", "synonym") == ("wading crane",)
    assert bank.texts("heron", "synonym") == ("Ardea",)
    assert bank.texts("mice", "synonym") == ("small rodent",)  # "mouse" is its own name
    assert bank.texts("T_shirts", "synonym") == ("tee shirt",)
    assert bank.texts("nonsuch", "synonym") == ()
    assert bank.texts("nonsuch", "name") == ("nonsuch",)
    rows = [row for row in bank.rows if row.kind == "synonym"]
    assert all(row.source.startswith("WordNet 3.9, 0") and row.source.endswith("-n") for row in rows)
    assert {(row.date, row.model) for row in rows} == {("2026-11-25", "")}
    assert "a photo of tee shirt" in [s.text for s in say(bank)]


def test_a_name_is_never_a_synonym_nor_a_word_that_two_share(wndb: Path) -> None:
    bank = wordnet_synonyms(["heron", "stork"], wndb)
    assert "synonym" not in bank.counts  # both are also called Ardea here
    bank = wordnet_synonyms(["heron", "ardea"], wndb)
    assert bank.texts("heron", "synonym") == ()
    bank = wordnet_synonyms(["crane", "Derricks", "church"], wndb)
    assert bank.texts("crane", "synonym") == ()  # the machine's other name is a class


def test_what_was_made_of_each_class(wndb: Path) -> None:
    first, second = choose_synonyms(["crane (bird)", "nonsuch"], open_lexicon(wndb))
    assert (first.senses, first.sense is not None) == (3, True)
    assert (second.senses, second.sense, second.synonyms) == (0, None, ())


def test_a_backbone_is_named_in_the_rows(wndb: Path, tiny: Backbone) -> None:
    bank = wordnet_synonyms(["crane", "heron"], wndb, tiny)
    assert {row.model for row in bank.rows if row.kind == "synonym"} == {"sense chosen by tiny"}


def test_where_a_lexicon_is_looked_for(wndb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USUAL_PLACES", (tmp_path / "none",))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "wn", None)
    with pytest.raises(NeedsError, match="there is no WordNet on this machine: install Debian's wordnet-base"):
        open_lexicon()
    monkeypatch.setenv(VARIABLE, str(wndb))
    assert open_lexicon().name == "WordNet 3.9"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(module, "USUAL_PLACES", (wndb,))
    assert open_lexicon().name == "WordNet 3.9"
    assert open_lexicon(open_lexicon()).name == "WordNet 3.9"
    with pytest.raises(DataError, match=r"has no index\.noun"):
        open_lexicon(tmp_path)


def test_names_that_cannot_be_used(wndb: Path) -> None:
    with pytest.raises(DataError, match="appears twice"):
        wordnet_synonyms(["a", "a"], wndb)
    with pytest.raises(DataError, match="no classes"):
        wordnet_synonyms([], wndb)
