"""Prompts: from templates, from styles, from banks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.picture_prompts import read_subjects
from clipwright.texts import Row, TextBank


def test_templates_take_turns_and_braces_in_names_stay() -> None:
    found = read_subjects(["red_fox", "C{}"], templates=["a {}.", "art of a {}."])
    assert found.class_names == ("red fox", "C{}")
    assert [found.prompt(0, i) for i in range(3)] == ["a red fox.", "art of a red fox.", "a red fox."]
    assert found.prompt(1, 0) == "a C{}."
    assert read_subjects("digits").templates == ("a photo of the handwritten digit {}.",)
    assert read_subjects(["a", "b"], templates="OxfordPets").prompt(1, 0) == "a photo of a b, a type of pet."


def test_a_style_gives_template_and_names(tmp_path: Path) -> None:
    styles = {"pets": {"template": "a pet {}.", "classnames": ["Abyssinian cat", "beagle"]}, "x": {"template": "x {}"}}
    styles["twice"] = {"template": "a {}.", "classnames": ["crane", "crane"]}
    path = tmp_path / "styles.json"
    path.write_text(json.dumps(styles))
    found = read_subjects("pets", styles=path)
    assert (found.class_names, found.prompt(0, 0)) == (("Abyssinian cat", "beagle"), "a pet Abyssinian cat.")
    twice = read_subjects("twice", styles=path)
    assert (twice.class_names, twice.prompt(1, 0)) == (("crane (0)", "crane (1)"), "a crane.")
    named = read_subjects(["n1", "n2"], styles=path, style="pets")
    assert (named.class_names, named.prompt(1, 0)) == (("n1", "n2"), "a pet beagle.")
    assert read_subjects(["n1"], styles=path, style="x").prompt(0, 0) == "x n1"
    assert read_subjects("pets", styles=path, templates="{}!").prompt(1, 0) == "beagle!"
    with pytest.raises(DataError, match="2 class names but there are 3 classes"):
        read_subjects(["a", "b", "c"], styles=path, style="pets")
    with pytest.raises(UsageError, match="choose --style among"):
        read_subjects(["a"], styles=path)
    path.write_text(json.dumps({"pets": styles["pets"]}))
    assert read_subjects(["n1", "n2", "n3"], styles=path).prompt(2, 0) == "a pet n3."  # the only one: its template


def test_a_bank_gives_whole_prompts_in_an_order_that_the_seed_decides(tmp_path: Path) -> None:
    rows = [Row("fox", "description", f"A fox is red {n}.") for n in range(9)] + [Row("fox", "attribute", "a tail")]
    bank = TextBank(("fox", "ant"), (*rows, Row("ant", "attribute", "six legs")))
    first, again = (read_subjects(["fox", "ant"], texts=bank, seed=3) for _ in range(2))
    assert first == again
    said = [first.prompt(0, i) for i in range(10)]
    assert set(said[:9]) == {row.text for row in rows[:9]}
    assert said[:9] != [row.text for row in rows[:9]]
    assert said[9] == said[0]
    assert first.prompt(1, 5) == "a photo of a ant."  # nothing is said of it: the template
    other = read_subjects(["fox", "ant"], texts=bank, kinds=["attribute"])
    assert other.prompt(1, 0) == "ant which has six legs"
    bank.save(tmp_path / "bank.json")
    assert read_subjects(["fox", "ant"], texts=tmp_path / "bank.json", seed=3).texts == first.texts
    with pytest.raises(UsageError, match="make no prompts"):
        read_subjects(["fox", "ant"], texts=bank, kinds=["one-vs-one"])
    with pytest.raises(DataError, match=r"no caption of 'fox', 'ant'"):
        read_subjects(["fox", "ant"], texts=bank, kinds=["caption"])


def test_repeated_names_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("crane\nant\ncrane\n")
    with pytest.raises(DataError, match="make the names differ"):
        read_subjects(tmp_path / "names.txt")
