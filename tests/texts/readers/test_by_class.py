from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import DataError
from clipwright.texts import say
from clipwright.texts.readers.by_class import are_sentences, read_cupl, read_dclip

CUPL = {
    "great white shark": ["A great white shark is a large fish.", "The great white shark has sharp teeth"],
    "tench": ["A tench is olive green.", "This fish lives in slow water."],
}
DCLIP = {
    "tench": ["an olive green fish", "has red eyes", "short, rounded fins", "used as food"],
    "hen": ["a small comb", "may be brown"],
    "rock": [],
}


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "texts.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_cupl(tmp_path: Path) -> None:
    path = written(tmp_path, CUPL)
    bank = read_cupl(path)
    assert bank.class_names == tuple(CUPL)
    assert dict(bank.counts) == {"description": 4}
    assert bank.texts("tench", "description") == tuple(CUPL["tench"])
    assert {row.source for row in bank.rows} == {"texts.json"}
    assert are_sentences(CUPL, path)


def test_dclip(tmp_path: Path) -> None:
    path = written(tmp_path, DCLIP)
    bank = read_dclip(path)
    assert dict(bank.counts) == {"attribute": 6}
    assert bank.class_names == ("tench", "hen", "rock")
    assert [said.text for said in say(bank, kinds=["attribute"])] == [
        "tench, which is an olive green fish",
        "tench, which has red eyes",
        "tench, which has short, rounded fins",
        "tench, which is used as food",
        "hen, which is a small comb",
        "hen, which may be brown",
    ]
    assert not are_sentences(DCLIP, path)


def test_neither_is_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, {"hen": ["A hen is a bird.", "a comb"]})
    with pytest.raises(DataError, match=r"50% of the texts .* say which, as cupl:.*texts\.json or dclip:"):
        are_sentences({"hen": ["A hen is a bird.", "a comb"]}, path)
    assert read_cupl(path).counts["description"] == 2
    assert read_dclip(path).counts["attribute"] == 2


def test_what_says_nothing_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, {"hen": ["A hen.", None, "", "None", "A hen."], "cat": None, "dog": "A dog."})
    bank = read_cupl(path)
    assert bank.texts("hen", "description") == ("A hen.",)
    assert bank.texts("dog", "description") == ("A dog.",)
    assert dict(bank.dropped) == {"None": 2, "empty": 1, "repeated": 1}


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("[]", "must hold a JSON object"),
        ("{}", "must hold a JSON object"),
        ("no json", "is not JSON"),
        ('{"a": NaN}', "is not JSON"),
        ('{"a": ["x"], "a": ["y"]}', "has 'a' twice"),
        ('{"a": {"b": 1}}', "the texts of 'a'"),
        ('{"a": [3]}', "is 3, which is no text"),
        ('{"a": [["x"]]}', "which is no text"),
        ('{"": ["x"]}', "a class name is empty"),
        ('{"None": ["x"]}', "can't be told from a missing one"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_other_forms_are_one_sentence(tmp_path: Path, content: str, wrong: str) -> None:
    path = written(tmp_path, content)
    for read in (read_cupl, read_dclip):
        with pytest.raises(DataError, match=wrong) as caught:
            read(path)
        assert "texts.json" in str(caught.value)
