from __future__ import annotations

import json

import pytest

from clipwright.cli.app import run


def test_embedded_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["datasets", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert found["digits"]["images"] == 1797
    assert {"digits", "shapes"} <= set(found)
    assert run(["datasets"]) == 0
    assert "digits" in capsys.readouterr().out
