from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tools.convert_coder import main

from clipwright.core.errors import ClipwrightError, DataError, UsageError
from clipwright.texts import open_bank, say
from clipwright.texts.readers.coder import read_coder


@pytest.fixture
def converted(knowledge: Path, tmp_path: Path) -> Path:
    main([str(knowledge), str(tmp_path / "json")])
    return tmp_path / "json"


def test_the_whole_folder(converted: Path) -> None:
    bank = read_coder(converted)
    assert bank.class_names == ("red_fox", "cat", "dog")
    assert dict(bank.counts) == {"name": 3, "attribute": 3, "analogue": 3, "synonym": 2, "one-vs-one": 3}
    assert bank.texts("red_fox", "attribute") == ("a bushy tail", "pointed ears")
    assert bank.texts("dog", "synonym") == ("hound",)
    assert bank.texts("dog", "one-vs-one", "red_fox") == ("a collar", "many colours")
    assert dict(bank.dropped) == {"None": 2}  # one null, one "None"
    said = [s.text for s in say(bank)]
    assert "a red fox similar to coyote." in said
    assert not any("None" in text for text in said)
    assert open_bank(converted) == bank
    assert open_bank(f"coder:{converted}") == bank


def test_a_pickle_is_refused_with_the_way_out(knowledge: Path) -> None:
    with pytest.raises(DataError, match=r"small\.pkl is a pickle.*tools/convert_coder\.py"):
        read_coder(knowledge)


def test_some_kinds_may_be_missing(converted: Path) -> None:
    shutil.rmtree(converted / "attribute")
    (converted / "synonym" / "small.json").unlink()
    assert set(read_coder(converted).counts) == {"name", "analogue", "one-vs-one"}


def test_which_data_set_is_meant(converted: Path, tmp_path: Path) -> None:
    (converted / "synonym" / "EuroSAT.json").write_text(json.dumps([{"syno": ["woods"]}]))
    (tmp_path / "datasets" / "class_name" / "EuroSAT.txt").write_text("forest")
    with pytest.raises(UsageError, match="knows EuroSAT, small: say which"):
        open_bank(converted)
    bank = open_bank(converted / "eurosat")
    assert bank.phrasing == "eurosat"
    assert [s.text for s in say(bank, kinds=["synonym"])] == ["a photo of woods, satellite domain."]
    assert open_bank(f"{converted}/small").class_names == ("red_fox", "cat", "dog")
    with pytest.raises(UsageError, match="no data set 'pets': choose one of EuroSAT, small"):
        read_coder(converted, "pets")


def test_the_order_of_the_classes_must_be_known(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "class_name" / "small.txt").rename(tmp_path / "names.txt")
    with pytest.raises(DataError, match="the order of the classes of small is not known: put CODER's class list at"):
        open_bank(converted)
    bank = read_coder(converted, class_names=tmp_path / "names.txt")
    assert open_bank(converted, class_names=["red_fox", "cat", "dog"]) == bank
    (converted / "class_name").mkdir()
    (tmp_path / "names.txt").rename(converted / "class_name" / "small.txt")
    assert read_coder(converted) == bank


@pytest.mark.parametrize(
    ("folder", "content", "wrong"),
    [
        ("attribute", [["a"], ["b"]], "holds a list of 2, but there are 3 classes"),
        ("attribute", {"red_fox": ["a"]}, "holds no list, but there are 3 classes"),
        ("attribute", [["a"], "b", ["c"]], "holds 'b' for the class 'cat': it must be a list of texts"),
        ("attribute", [["a"], [{"x": 1}], ["c"]], "which is no text"),
        ("synonym", [{"syno": []}, {"syno": "hound"}, {}], "for the class 'cat': it must be an object with a list"),
        ("synonym", [{"syno": []}, 3, {}], "holds 3 for the class 'cat'"),
        ("ovo_attribute", [], "must hold a JSON object"),
        ("ovo_attribute", {"cat": ["x"]}, "it must be an object of its rivals"),
        ("ovo_attribute", {"cat": {"cow": ["x"]}}, "the pair 'cat', 'cow', which isn't two of the classes"),
        ("ovo_attribute", {"cat": {"cat": ["x"]}}, "the pair 'cat', 'cat'"),
        ("ovo_attribute", {"cat": {"dog": "x"}}, "for .cat. and .dog.: it must be a list of texts"),
    ],
)
def test_damaged_files_are_one_sentence(converted: Path, folder: str, content: Any, wrong: str) -> None:
    (converted / folder / "small.json").write_text(json.dumps(content))
    with pytest.raises(ClipwrightError, match=wrong):
        read_coder(converted)


def test_pairs_find_their_classes_by_other_spellings(converted: Path) -> None:
    (converted / "ovo_attribute" / "small.json").write_text(json.dumps({"Red fox": {"DOG": ["x"]}}))
    assert read_coder(converted).texts("red_fox", "one-vs-one", "dog") == ("x",)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give CODER's expert_knowledge folder"):
        read_coder(tmp_path)
    with pytest.raises(DataError, match="not CODER's expert_knowledge"):
        open_bank(tmp_path)
