from __future__ import annotations

import json

import pytest

from clipwright import methods
from clipwright.cli.app import run


def test_every_method_is_listed_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["methods", "--json"]) == 0
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(found) == {"auto", *methods.names()}
    assert found["ZeroShot"]["needs"] == ["text"]
    assert found["TaskRes"]["hyper_parameters"]["alpha"] == 0.5
    assert run(["methods"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in methods.names())
