"""``clipwright report`` shares its tests with compare; here: where the page goes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.test_compare import compare
from tests.test_comparing import bundle

from clipwright.cli.app import run


def test_the_page_goes_into_the_first_run_unless_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert compare([str(bundle(tmp_path / "one.npz", 0))], out, "--quiet") == 0
    (out / "report.html").unlink()
    capsys.readouterr()
    assert run(["report", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["report"] == str((out / "report.html").absolute())
    assert (out / "report.html").is_file()
