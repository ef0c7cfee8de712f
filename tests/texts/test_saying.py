from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.backbones.base import Backbone
from clipwright.core.errors import DataError, UsageError
from clipwright.task import Task
from clipwright.texts import Phrasing, Row, TextBank, bank_features, bank_of, say, text_features


def test_templates_are_those_of_class_names_alone(tiny: Backbone, bank: TextBank) -> None:
    names = ["cat", "red_fox"]
    for templates in ("a {}.", ["a {}.", "the {}."], "imagenet7"):
        found = bank_features(tiny, names, bank, templates)
        alone = text_features(tiny, names, templates)
        part = found[torch.tensor([kind == "template" for kind in found.kind])]
        assert part.texts == alone.texts
        assert torch.equal(part.x, alone.x)
        assert torch.equal(part.classes, alone.classes)
        torch.testing.assert_close(found.describing("template").classifier(), alone.classifier())


def test_it_is_what_a_task_takes(tiny: Backbone, bank: TextBank, tmp_path: Path) -> None:
    bank.save(tmp_path / "bank.json")
    from_file = bank_features(tiny, ["cat", "red_fox"], tmp_path / "bank.json")
    given = bank_features(tiny, ["cat", "red_fox"], bank)
    assert from_file.texts == given.texts
    assert torch.equal(from_file.x, given.x)
    task = Task(("cat", "red_fox"), given)
    assert task.text is not None
    pair = task.text[torch.tensor([r >= 0 for r in given.rivals.tolist()])]
    assert {(c, r) for c, r in zip(pair.classes.tolist(), pair.rivals.tolist(), strict=True)} == {(0, 1), (1, 0)}


def test_a_class_without_texts_is_missing_unless_that_is_meant(tiny: Backbone, bank: TextBank) -> None:
    with pytest.raises(DataError, match="no texts of 1 of the 3 classes \\('dog'\\)"):
        bank_features(tiny, ["cat", "dog", "red fox"], bank)
    found = bank_features(tiny, ["cat", "dog", "red fox"], bank, partial=True)
    of_dog = [t for t, c in zip(found.texts or (), found.classes.tolist(), strict=True) if c == 1]
    assert of_dog == ["a photo of one dog.", "a photo of dog"]


def test_kinds_can_be_chosen(tiny: Backbone, bank: TextBank) -> None:
    found = bank_features(tiny, ["cat", "red_fox"], bank, kinds=["name", "template"])
    assert set(found.kind) == {"name", "template"}
    with pytest.raises(DataError, match=r"1 of 2 classes have no text of these kinds \('red_fox'\)"):
        bank_features(tiny, ["cat", "red_fox"], bank, kinds=["caption"])


def texts(bank: TextBank, kind: str, **options: object) -> list[str]:
    return [said.text for said in say(bank, kinds=[kind], **options)]  # type: ignore[arg-type] # options of say


def test_underscores_have_three_ways(bank: TextBank) -> None:
    for underscores, name, attribute, synonym in (
        (True, "red fox", "red fox which has a bushy tail", "a photo of Vulpes vulpes"),
        ("names", "red fox", "red_fox which has a bushy tail", "a photo of Vulpes vulpes"),
        (False, "red_fox", "red_fox which has a bushy tail", "a photo of Vulpes_vulpes"),
    ):
        unnamed = bank.select(kinds=["template"])
        assert texts(unnamed, "template", underscores=underscores)[0] == f"a photo of one {name}."
        assert texts(unnamed, "name", underscores=underscores)[0] == f"a photo of {name}"
        assert texts(bank, "attribute", underscores=underscores) == [attribute]
        assert texts(bank, "synonym", underscores=underscores) == [synonym]
    with pytest.raises(UsageError, match="both read 'a b'"):
        say(TextBank(("a_b", "a b")))
    assert len(say(TextBank(("a_b", "a b")), kinds=["name"], underscores=False)) == 2


def test_templates_use_what_a_class_is_called() -> None:
    rows = (Row("missile (n1)", "name", "missile"), Row("missile (n2)", "name", "missile"))
    bank = TextBank(("missile (n1)", "missile (n2)"), rows)
    assert texts(bank, "template") == ["a photo of a missile.", "a photo of a missile."]
    assert texts(bank, "template", names=["x", "y"]) == ["a photo of a x.", "a photo of a y."]


def test_templates_of_one_class_and_of_all() -> None:
    rows = (Row("a", "template", "only {}"), Row("", "template", "any {}"))
    assert texts(TextBank(("a", "b"), rows), "template") == ["only a", "any a", "any b"]
    assert texts(TextBank(("a", "b"), rows[:1]), "template") == ["only a", "a photo of a b."]
    assert texts(TextBank(("a", "b"), rows), "template", templates="the {}") == ["the a", "the b"]


def test_a_phrasing_of_ones_own_and_the_banks(bank: TextBank) -> None:
    own = Phrasing(attribute=("{class}: {phrase}", "{phrase} ({class})"))
    assert texts(bank, "attribute", phrasing=own) == ["red fox: a bushy tail", "a bushy tail (red fox)"]
    assert texts(bank, "attribute", phrasing="dclip") == ["red fox, which is a bushy tail"]
    named = TextBank(bank.class_names, bank.rows, "dclip")
    assert texts(named, "attribute") == ["red fox, which is a bushy tail"]


@pytest.mark.parametrize("name", ["digits", "letters", "shapes"])
def test_no_text_of_the_embedded_banks_says_none(name: str) -> None:
    said = say(bank_of(name))
    assert not [s.text for s in said if "None" in s.text or "{" in s.text or "_" in s.text]
    assert {s.class_index for s in said} == set(range(len(bank_of(name).class_names)))
