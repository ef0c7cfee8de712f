from __future__ import annotations

import json

import pytest

from clipwright.cli.app import run


def test_the_embedded_model_is_there_and_text_narrows_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backbones", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"spec": "tiny", "available": True}.items() <= next(r for r in rows if r["spec"] == "tiny").items()
    assert len(rows) > 50
    assert run(["backbones", "VIT-b-16@OPENAI"]) == 0
    shown = capsys.readouterr().out
    assert "openclip:ViT-B-16@openai" in shown
    assert "tiny" not in shown
