from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.cli.app import run
from clipwright.data import sheets


def test_embedded_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["datasets", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    digits = found["digits"]
    assert (digits["images"], digits["train"], digits["test"], digits["side"]) == (1797, 901, 896, 32)
    assert digits["bytes"] == 1797 * 32 * 32 * 3
    assert {"digits", "shapes", "digits-print", "letters", "shapes-colour"} <= set(found)
    dtd = found["benchmark:dtd"]
    assert (digits["kind"], dtd["kind"]) == ("embedded", "benchmark")
    assert (dtd["classes"], dtd["images"], dtd["template"]) == (47, [2820, 1128, 1692], "{} texture.")
    assert run(["datasets"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in found)
    assert "32x32" in shown
    assert "CC BY 4.0" in shown


def test_sheets_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sheets, "contact_sheet", lambda name: name.encode())
    assert run(["datasets", "--sheets", str(tmp_path / "new" / "sheets"), "--json"]) == 0
    printed = capsys.readouterr()
    names = {row["name"] for row in json.loads(printed.out) if row["kind"] == "embedded"}
    assert f"{len(names)} contact sheets" in printed.err
    assert {p.name: p.read_text() for p in (tmp_path / "new" / "sheets").iterdir()} == {f"{n}.png": n for n in names}


def test_sheets_need_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run(["datasets", "--sheets", str(path), "--quiet"]) != 0
        assert "name a folder" in capsys.readouterr().err
