from __future__ import annotations

import pytest

from clipwright.data.embedded import embedded_names, load_embedded
from clipwright.synthetic.captioners.vocabulary import stem, stems, vocabulary


@pytest.mark.parametrize("name", sorted(embedded_names()))
def test_no_phrase_shares_a_word_with_a_class(name: str) -> None:
    names = load_embedded(name).class_names
    words = vocabulary().without(names)
    assert len(words.slots) >= 4  # it still says something
    for slot in words.slots:
        assert len(slot.options) > 1
        for text in (*slot.options, slot.say, slot.say_of_all):
            assert not stems([text]) & stems(names), (text, name)


def test_plurals_cases_and_endings_count_and_small_words_do_not() -> None:
    words = vocabulary().without(["Wheels", "striped cloth", "A", "on the table", "PETAL"])
    said = " ".join(option for slot in words.slots for option in slot.options)
    assert not {"wheels", "petals", "cloth", "table"} & set(said.split())
    assert "a white background" in said  # the class A isn't the article
    assert "on grass" in said
    whole = vocabulary().without(["one"])
    assert "one person" not in " ".join(o for s in whole.slots for o in s.options)


def test_a_vocabulary_that_loses_everything_still_has_a_head() -> None:
    everything = [option for slot in vocabulary().slots for option in slot.options]
    words = vocabulary().without([*everything, "picture"])
    assert words.slots == ()
    assert words.plain == ("an image", "a view")
    assert vocabulary().without([*everything, *vocabulary().plain]).plain == ("something",)
    assert len(words.sentences) == 1


def test_words_without_endings() -> None:
    assert len({stem(word) for word in ("stripe", "striped", "stripes")}) == 1
    assert len({stem(word) for word in ("dot", "dots", "dotted")}) == 1
    assert stem("berries") == stem("berry")
    assert stem("bus") == "bus"
    assert vocabulary().hash == vocabulary().without(["zebra"]).hash != vocabulary().without(["red"]).hash
