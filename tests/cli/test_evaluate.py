from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.cli.app import run

pytestmark = pytest.mark.slow


def test_figures_for_people_and_programs(
    saved: Path, digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(["evaluate", str(saved), str(digits_folder), "--json", "--out", str(out), "--quiet"]) == 0
    shown, told = capsys.readouterr()
    figures = json.loads(shown)
    assert figures["n"] == 36
    assert len(figures["problems"]) == 2
    assert 0 <= figures["low"] <= figures["top1"] <= figures["high"] <= 1
    assert [line for line in told.splitlines() if not line.startswith("Warning: the embedded model")] == []
    assert json.loads((out / "evaluation.json").read_text()) == figures
    assert json.loads((out / "config.json").read_text())["verb"] == "evaluate"
    assert "broken.png" in (out / "log.txt").read_text()

    assert run(["evaluate", str(saved), str(digits_folder)]) == 0
    shown, told = capsys.readouterr()
    assert f"{100 * figures['top1']:.2f} % (95 % interval" in shown
    assert "skipped" in told


def test_classes_that_are_unknown_are_said(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", str(saved), "shapes"]) == 1
    assert "does" in capsys.readouterr().err
