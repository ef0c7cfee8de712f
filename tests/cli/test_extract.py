from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.cli.app import run


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/2/3"])
def test_a_shard_that_is_none_is_bad_usage(shard: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", "digits", "--backbone", "tiny", "--out", str(tmp_path / "s"), "--shard", shard]) == 2
    assert "I/N" in capsys.readouterr().err


@pytest.mark.slow
def test_a_store_is_filled_in_parts_and_found_complete(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    common = ["extract", str(digits_folder), "--backbone", "tiny", "--out", str(out), "--json", "--workers", "0"]
    assert run([*common, "--shard", "1/2"]) == 0
    capsys.readouterr()
    assert run([*common, "--shard", "2/2"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["complete"]
    assert summary["images"] == 38
    assert len(summary["problems"]) == 2
    assert run([*common, "--views", "2"]) == 2
    assert "another views (0, now 2)" in capsys.readouterr().err
