from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipwright.backbones.base import Backbone
from clipwright.core.errors import ClipwrightError, DataError, UsageError
from clipwright.texts import KINDS, Row, TextBank, merge_banks, read_bank
from clipwright.texts.phrases import says_none


def test_counts_and_texts(bank: TextBank) -> None:
    assert dict(bank.counts) == {
        "name": 1, "attribute": 1, "analogue": 1, "synonym": 1, "one-vs-one": 2, "description": 1, "template": 1,
        "caption": 1,
    }  # fmt: skip
    assert set(bank.counts) == set(KINDS)
    assert bank.texts("red_fox", "one-vs-one", "cat") == ("pointed ears",)
    assert bank.texts("cat", "template") == ()
    assert len(bank) == 9
    assert bank.notes == ()


def test_rows_and_banks_are_immutable(bank: TextBank) -> None:
    with pytest.raises(AttributeError):
        bank.rows[0].text = "x"  # type: ignore[misc] # that is the point
    with pytest.raises(AttributeError):
        bank.rows = ()  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        bank.dropped["x"] = 1  # type: ignore[index] # that is the point
    assert hash(bank.rows[1]) == hash(replace(bank.rows[1]))


def test_select_keeps_what_belongs_together(bank: TextBank) -> None:
    foxes = bank.select(classes=["red_fox"])
    assert foxes.class_names == ("red_fox",)
    assert set(foxes.counts) == {"name", "attribute", "analogue", "synonym", "template"}
    pairs = bank.select(kinds=["one-vs-one", "name"])
    assert dict(pairs.counts) == {"name": 1, "one-vs-one": 2}
    assert pairs.class_names == bank.class_names
    with pytest.raises(UsageError, match="no class 'dog'"):
        bank.select(classes=["dog"])
    with pytest.raises(UsageError, match="no kind of text 'smell': choose among name, attribute"):
        bank.select(kinds=["smell"])


def test_classes_take_the_order_and_names_of_a_list(bank: TextBank) -> None:
    found = bank.for_classes(["Cat", "red fox"])
    assert found.class_names == ("Cat", "red fox")
    assert found.texts("red fox", "one-vs-one", "Cat") == ("pointed ears",)
    assert found.counts == bank.counts
    assert [row.source for row in found.rows] == [row.source for row in bank.rows]
    assert found.for_classes(bank.class_names) == bank
    fewer = bank.for_classes(["cat"])
    assert "one-vs-one" not in fewer.counts


def test_missing_classes_are_one_sentence(bank: TextBank) -> None:
    with pytest.raises(DataError, match=r"no texts of 2 of the 3 classes \('dog', 'cow'\)"):
        bank.for_classes(["cat", "dog", "cow"])
    with pytest.raises(DataError, match=r"no texts of 12 of the 13 classes \('0', .*'9', \.\.\.\)"):
        bank.for_classes(["cat", *map(str, range(12))])
    partial = bank.for_classes(["cat", "dog"], partial=True)
    assert partial.class_names == ("cat", "dog")
    only_shared = TextBank(("a", "b"), (Row("", "template", "the {}"),))
    with pytest.raises(DataError, match="no texts of 2"):
        only_shared.for_classes(["a", "b"])


def test_ambiguous_spellings_are_refused() -> None:
    rows = (Row("red_fox", "name", "x"), Row("red-fox", "name", "y"))
    with pytest.raises(DataError, match="may both mean the class 'Red Fox'"):
        TextBank(("red_fox", "red-fox"), rows).for_classes(["Red Fox"])
    with pytest.raises(DataError, match="both fit the bank's 'red_fox'"):
        TextBank(("red_fox",), rows[:1]).for_classes(["red fox", "RED FOX"])
    exact = TextBank(("red_fox", "red-fox"), rows).for_classes(["red-fox", "red_fox"])
    assert exact.texts("red-fox", "name") == ("y",)


def test_merging_keeps_the_first_origin(bank: TextBank) -> None:
    more = TextBank(
        ("dog", "cat"),
        (Row("cat", "caption", "a cat on a mat", source="later"), Row("dog", "name", "dog"), Row("cat", "name", "cat")),
        dropped={"empty": 2},
    )
    merged = merge_banks([bank, more])
    assert merged.class_names == ("red_fox", "cat", "dog")
    assert len(merged) == len(bank) + 2
    assert [r.source for r in merged.rows if r.kind == "caption"] == ["by hand"]
    assert dict(merged.dropped) == {"empty": 2}
    assert merge_banks([bank]) == bank
    assert merge_banks([replace(bank, phrasing="dclip"), more]).phrasing == "default"
    assert merge_banks([replace(bank, phrasing="dclip")] * 2) == replace(bank, phrasing="dclip")
    with pytest.raises(DataError, match="one bank has the class 'red_fox', another 'red fox'"):
        merge_banks([bank, TextBank(("red fox",))])
    with pytest.raises(UsageError, match="no bank"):
        merge_banks([])


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (Row("dog", "name", "dog"), "'dog', which isn't one of the 2 classes"),
        (Row("", "name", "x"), "'', which isn't one of the 2 classes"),
        (Row("cat", "sound", "meow"), "no kind of text 'sound'"),
        (Row("cat", "name", " "), "is empty"),
        (Row("cat", "name", "a photo of None."), 'says "None"'),
        (Row("cat", "name", "NONE"), 'says "None"'),
        (Row("cat", "name", "two  spaces"), "stray spaces"),
        (Row("cat", "name", "x" * 2001), "too long"),
        (Row("cat", "name", "cat", "red_fox"), "only one-vs-one texts have rivals"),
        (Row("cat", "one-vs-one", "x"), "rival ''"),
        (Row("cat", "one-vs-one", "x", "cat"), "rival 'cat'"),
        (Row("cat", "one-vs-one", "x", "dog"), "rival 'dog'"),
        (Row("cat", "template", "no place"), "has no {}"),
    ],
)
def test_rows_that_break_a_rule(row: Row, wrong: str) -> None:
    with pytest.raises(ClipwrightError, match=wrong):
        TextBank(("red_fox", "cat"), (row,))


def test_names_that_a_bank_cannot_have() -> None:
    for names, wrong in (((), "no classes"), (("a", "a"), "twice"), (("None",), "missing one"), (("",), "empty")):
        with pytest.raises(DataError, match=wrong):
            TextBank(names)
    with pytest.raises(UsageError, match="no phrasing 'x': choose one of default"):
        TextBank(("a",), phrasing="x")
    assert TextBank(("Nonesuch",), (Row("Nonesuch", "name", "Nonesuch"),)).counts["name"] == 1


def test_gathering_drops_cuts_and_counts() -> None:
    rows = [
        Row("cat", "attribute", None),  # type: ignore[arg-type] # as a file may have it
        Row("cat", "attribute", "None"),
        Row("cat", "attribute", "looks like None of the others"),
        Row("cat", "attribute", "  \n"),
        Row("cat", "attribute", "soft\tfur"),
        Row("cat", "attribute", "soft fur", source="again"),
        Row("cat", "attribute", "nonetheless small"),
        Row("cat", "caption", "word " * 500),
    ]
    bank = TextBank.gather(("cat",), rows)
    assert bank.texts("cat", "attribute") == ("soft fur", "nonetheless small")
    (caption,) = bank.texts("cat", "caption")
    assert len(caption) <= 2000
    assert caption.endswith("word")
    assert dict(bank.dropped) == {"None": 3, "empty": 1, "repeated": 1, "cut": 1}
    assert bank.notes == (
        "1 text had no words and was left out.",
        '3 texts said "None" and were left out.',
        "1 text stood there twice and was kept once.",
        "1 text was longer than 2,000 characters and lost its end.",
    )
    with pytest.raises(DataError, match="is 3, which is no text"):
        TextBank.gather(("cat",), [Row("cat", "name", 3)])  # type: ignore[arg-type] # as a file may have it


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(max_size=30) | st.just("None") | st.none()), max_size=8))
def test_no_text_of_a_gathered_bank_says_none_or_nothing(pairs: list[tuple[str, str | None]]) -> None:
    rows = [
        Row("cat", kind, text or "", "dog" if kind == "one-vs-one" else "")
        for kind, text in pairs
        if kind != "template"
    ]
    bank = TextBank.gather(("cat", "dog"), rows)
    assert all(row.text.strip() and not says_none(row.text) for row in bank.rows)
    assert len(bank) + sum(n for why, n in bank.dropped.items() if why != "cut") == len(rows)


def test_features_carry_kinds_and_rivals(tiny: Backbone, bank: TextBank) -> None:
    found = bank.features(tiny)
    assert found.texts is not None
    rows = list(zip(found.classes.tolist(), found.kind, found.rivals.tolist(), found.texts, strict=True))
    assert rows[:8] == [
        (0, "template", -1, "a photo of one red fox."),
        (1, "template", -1, "a photo of one cat."),
        (1, "name", -1, "a photo of cat"),  # the bank has no row for it
        (0, "name", -1, "a photo of red fox"),
        (0, "attribute", -1, "red fox which has a bushy tail"),
        (0, "analogue", -1, "a red fox similar to a coyote."),
        (0, "synonym", -1, "a photo of Vulpes vulpes"),
        (0, "one-vs-one", 1, "a red fox can be told from a cat by pointed ears"),
    ]
    assert sum(kind == "one-vs-one" for kind in found.kind) == 14
    assert "a cat can be told from a red fox by round pupils {}" in found.texts
    assert [row for row in rows if row[1] in {"description", "caption"}] == [
        (1, "description", -1, "A cat has whiskers."),
        (1, "caption", -1, "a cat on a mat"),
    ]
    torch.testing.assert_close(found.x, tiny.texts(found.texts))


def test_each_text_is_encoded_once(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    plain = tiny.texts

    def texts(batch: list[str]) -> torch.Tensor:
        asked.extend(batch)
        return plain(batch)

    monkeypatch.setattr(tiny, "texts", texts)
    same = [Row(c, "description", "the same words") for c in ("a", "b")]
    found = TextBank(("a", "b"), tuple(same)).features(tiny, kinds=["description"])
    assert asked == ["the same words"]
    assert found.texts == ("the same words",) * 2
    assert torch.equal(found.x[0], found.x[1])


def test_over_long_texts_are_counted(tiny: Backbone) -> None:
    long = [Row("a", "description", f"{n} " + "word " * 100) for n in ("one", "two")]
    bank = TextBank.gather(("a",), [*long, Row("a", "description", "short")])
    with pytest.warns(UserWarning, match=r"2 of 3 texts are longer than the model's"):
        assert len(bank.features(tiny, kinds=["description"])) == 3


def test_saving_and_reading_is_exact(bank: TextBank, tmp_path: Path) -> None:
    for one in (bank, replace(bank, phrasing="dclip"), TextBank(("Ärger", 'say "x"'))):
        one.save(tmp_path / "bank.json")
        assert read_bank(tmp_path / "bank.json") == one
