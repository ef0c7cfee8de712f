from __future__ import annotations

import pytest

from clipwright.assets.datasets import knowledge, names
from clipwright.core.errors import DataError
from clipwright.texts import bank_of, say


@pytest.mark.parametrize("name", names())
def test_a_bank_says_what_the_knowledge_says(name: str) -> None:
    known, bank = knowledge(name), bank_of(name)
    assert bank.class_names == known.class_names
    assert dict(bank.dropped) == {}
    for c in known.class_names:
        assert bank.texts(c, "name") == (c,)
        assert bank.texts(c, "attribute") == known.attributes[c]
        assert bank.texts(c, "synonym") == known.synonyms[c]
        assert bank.texts(c, "analogue") == known.analogues[c]
        assert bank.texts(c, "description") == known.paraphrases[c]
    assert bank.texts("", "template") == known.templates
    pairs: dict[tuple[str, str], list[str]] = {}
    for row in bank.rows:
        if row.kind == "one-vs-one":
            pairs.setdefault((row.class_name, row.rival), []).append(row.text)
    assert {pair: tuple(found) for pair, found in pairs.items()} == dict(known.one_vs_one)
    assert {row.date for row in bank.rows} == {known.date}
    assert all(name in row.source for row in bank.rows)


def test_templates_are_the_data_sets_own() -> None:
    said = say(bank_of("digits"), kinds=["template"])
    assert len(said) == 200
    assert said[0].text == "a photo of the handwritten digit zero."
    with pytest.raises(DataError, match="no knowledge about a data set 'x'"):
        bank_of("x")
