from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.cli.app import run


@pytest.mark.slow
def test_demo_ends_with_a_table_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert run(["demo", "--out", str(out), "--draws", "2", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert f"The page is {out / 'report.html'}" in shown
    assert "95 % interval" in shown
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert run(["demo", "--out", str(out), "--draws", "2", "--json"]) == 0
    shown, told = capsys.readouterr()
    assert "nothing to do" in told
    rows = json.loads(shown)["accuracies"]
    assert {row["shots"] for row in rows} == {0, 1, 4, 16}
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)
