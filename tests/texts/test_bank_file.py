from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import ClipwrightError, DataError, FormatError, UsageError
from clipwright.texts import KINDS, TextBank, open_bank, read_bank
from clipwright.texts.bank_file import json_schema

COMMITTED = Path(__file__).parent.parent / "data" / "bank_v1.json"


def test_the_first_version_loads_for_ever() -> None:
    bank = read_bank(COMMITTED)
    assert bank.class_names == ("red_fox", "Ärmel", "cat")
    assert set(bank.counts) == set(KINDS)
    assert bank.phrasing == "pets"
    assert bank.texts("red_fox", "one-vs-one", "cat") == ("a pointed muzzle",)
    row = next(row for row in bank.rows if row.kind == "attribute")
    assert (row.source, row.model, row.date, row.prompt_hash) == ("describe", "some-model", "2026-11-25", "0f3a")
    assert dict(bank.dropped) == {"None": 1}
    assert open_bank(COMMITTED) == bank


def test_a_row_is_a_line_and_what_is_empty_is_left_out(bank: TextBank, tmp_path: Path) -> None:
    bank.save(tmp_path / "b.json")
    lines = (tmp_path / "b.json").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[5].rstrip(",")) == {"kind": "template", "text": "a photo of one {}."}
    assert len(lines) == len(bank) + 7
    assert {path.name for path in tmp_path.iterdir()} == {"b.json"}


def good() -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return raw


@pytest.mark.parametrize(
    ("change", "error", "wrong"),
    [
        ({"format": 2}, FormatError, "has format 2, this clipwright reads up to 1: update clipwright"),
        ({"format": "1"}, FormatError, "no version"),
        ({"format": True}, FormatError, "no version"),
        ({"format": 0}, FormatError, "no version"),
        ({"rows": {}}, FormatError, "damaged at rows"),
        ({"rows": [{"kind": "name"}]}, FormatError, "damaged at rows -> 0 -> text"),
        ({"rows": [{"class": "cat", "kind": "name", "text": 3}]}, FormatError, "damaged at rows -> 0 -> text"),
        ({"rows": [{"class": "cat", "kind": "name", "text": "x", "colour": ""}]}, FormatError, "colour"),
        ({"rows": [{"class": "dog", "kind": "name", "text": "x"}]}, DataError, "'dog', which isn't one of the 3"),
        ({"rows": [{"class": "cat", "kind": "smell", "text": "x"}]}, DataError, "no kind of text 'smell'"),
        ({"class_names": ["cat", "cat"]}, DataError, "appears twice"),
        ({"class_names": "cat"}, FormatError, "damaged at class_names"),
        ({"phrasing": "x"}, UsageError, "no phrasing 'x'"),
        ({"more": 1}, FormatError, "damaged at more"),
    ],
)
def test_what_is_wrong_is_said(
    change: dict[str, Any], error: type[ClipwrightError], wrong: str, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps({**good(), **change}), encoding="utf-8")
    with pytest.raises(error, match=wrong) as caught:
        read_bank(path)
    assert "b.json" in str(caught.value)


def test_other_files_are_no_banks(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    for text in ("[]", "{}", '{"format": 1}', "3"):
        path.write_text(text)
        with pytest.raises(FormatError, match="no bank of texts"):
            read_bank(path)


def test_the_schema_describes_what_is_written() -> None:
    schema = json_schema()
    assert set(schema["required"]) == {"format", "class_names", "rows"}
    row = schema["$defs"]["RowInFile"]
    assert set(row["required"]) == {"kind", "text"}
    assert set(row["properties"]) == {"class", "kind", "text", "rival", "source", "model", "date", "prompt_hash"}
