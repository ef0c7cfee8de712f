from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.core.errors import ClipwrightError, DataError, UsageError
from clipwright.texts import TextBank, bank_of, open_bank


def test_each_form_is_known_by_itself(bank: TextBank, tmp_path: Path) -> None:
    bank.save(tmp_path / "bank.json")
    (tmp_path / "cupl.json").write_text(json.dumps({"hen": ["A hen is a bird.", "Hens lay eggs."]}))
    (tmp_path / "dclip.json").write_text(json.dumps({"hen": ["a comb", "two legs"]}))
    (tmp_path / "names.txt").write_text("hen\ncat\n")
    assert open_bank(tmp_path / "bank.json") == bank
    assert dict(open_bank(str(tmp_path / "cupl.json")).counts) == {"description": 2}
    assert open_bank(tmp_path / "dclip.json").phrasing == "dclip"
    assert dict(open_bank(tmp_path / "names.txt").counts) == {"name": 2}
    assert open_bank("digits") == bank_of("digits")


def test_a_form_said_outright_wins(tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"hen": ["a comb", "two legs"]}))
    assert dict(open_bank(f"cupl:{path}").counts) == {"description": 2}
    assert dict(open_bank(f"dclip:{path}").counts) == {"attribute": 2}
    with pytest.raises(ClipwrightError, match="no bank of texts"):
        open_bank(f"bank:{path}")
    assert open_bank("embedded:letters").class_names[0] == "A"
    with pytest.raises(DataError, match="no knowledge about a data set 'x'"):
        open_bank("embedded:x")
    (tmp_path / "list").write_text("hen\n")
    assert open_bank(f"names:{tmp_path / 'list'}").class_names == ("hen",)


def test_a_class_may_be_called_format(tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"format": ["a shape of paper"], "rows": ["many lines"]}))
    with pytest.raises(ClipwrightError):
        open_bank(path)
    assert open_bank(f"dclip:{path}").class_names == ("format", "rows")
    path.write_text(json.dumps({"format": ["a shape of paper"]}))
    assert open_bank(path).class_names == ("format",)
    path.write_text(json.dumps({"format": 1, "name": "digits", "classes": []}))
    with pytest.raises(DataError, match='has a "format" but no "rows"'):
        open_bank(path)


def test_classes_come_in_the_order_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "texts.json"
    path.write_text(json.dumps({"Red_Fox": ["A red fox."], "hen": ["A hen."]}))
    found = open_bank(path, class_names=["hen", "cat", "red fox"])
    assert found.class_names == ("hen", "cat", "red fox")
    assert found.texts("red fox", "description") == ("A red fox.",)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there are no texts at .*none\.json"):
        open_bank(tmp_path / "none.json")
    with pytest.raises(DataError, match="not there"):
        open_bank(f"cupl:{tmp_path / 'none.json'}")
