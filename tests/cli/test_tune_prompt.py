from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.synthetic.painter import COLOURS, paint, painter
from tests.synthetic.scripted import ScriptedServer, said

from clipwright.cli.app import run


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    paint(tmp_path / "new", 2, seed=9)
    return paint(tmp_path / "photos", 6)


def test_a_prompt_is_tuned_kept_and_used(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(painter) as server:
        place = ["--base-url", server.base_url]
        wanted = [
            "tune-prompt",
            "photos",
            *place,
            "--model",
            "painter",
            "--budget",
            "150",
            "--quiet",
            "--out",
            "p.json",
        ]
        assert run(wanted) == 0
        told = capsys.readouterr().out
        assert "of 12 support images right" in told
        assert "on new ones expect less" in told
        asked = len(server.requests)
        assert asked <= 150
        assert run([*wanted, "--json"]) == 0
        again = json.loads(capsys.readouterr().out)
        assert len(server.requests) == asked
        assert (again["usage"]["calls"], again["usage"]["cached"]) == (0, asked)
        assert run([*wanted, "--seed", "1"]) == 2
        assert "made otherwise" in capsys.readouterr().err
        assert run(["predict", "p.json", "new", *place, "--format", "jsonl"]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(rows) == 6
        assert {row["label"] for row in rows} <= set(COLOURS)
        assert all(row["confidence"] is None for row in rows)
        for style in ("table", "csv"):
            assert run(["predict", "p.json", "new", *place, "--format", style]) == 0
            assert "new/blue/0.png" in capsys.readouterr().out
        before = len(server.requests)
        assert before == asked + 6


def test_answers_that_are_no_class_are_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(painter) as server:
        wanted = ["tune-prompt", "photos", "--base-url", server.base_url, "--model", "painter", "--shots", "1"]
        assert run([*wanted, "--budget", "9", "--check", "1", "--quiet", "--out", "p.json"]) == 0
    assert "On 3 images that the search didn't see: " in capsys.readouterr().out
    with ScriptedServer(lambda *_: said("a dog")) as server:
        assert run(["predict", "p.json", "new", "--base-url", server.base_url]) == 1
        told = capsys.readouterr()
        assert "the model answered 'a dog', which is none of the 3 classes" in told.out
        assert "6 of 6 images got no label" in told.err
        wanted = ["tune-prompt", "photos", "--base-url", server.base_url, "--model", "dog", "--quiet"]
        assert run([*wanted, "--out", "q.json"]) == 1
        assert "a model that takes images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tune-prompt", "photos", "--out", "p.json"], "needs --base-url, --model and --out"),
        (["tune-prompt", "photos", "--model", "m", "--base-url", "http://127.0.0.1:1/v1"], "--out"),
        (
            [
                "tune-prompt",
                "photos",
                "--model",
                "m",
                "--base-url",
                "http://127.0.0.1:1/v1",
                "--out",
                "p",
                "--budget",
                "5",
            ],
            "less than the 12 support images",
        ),
        (
            ["tune-prompt", "photos", "--model", "m", "--base-url", "http://127.0.0.1:1/v1", "--out", "new"],
            "is a folder",
        ),
        (["predict", "photos", "new", "--base-url", "http://127.0.0.1:1/v1"], "leave it out"),
    ],
)
def test_bad_usage_is_one_sentence(
    arguments: list[str], sentence: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_a_prompt_needs_a_server(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer(painter) as server:
        wanted = ["tune-prompt", "photos", "--base-url", server.base_url, "--model", "painter", "--shots", "1"]
        assert run([*wanted, "--budget", "3", "--quiet", "--out", "p.json"]) == 0
    capsys.readouterr()
    assert run(["predict", "p.json", "new"]) == 2
    assert "prompt for the model painter" in capsys.readouterr().err
    Path("p.json").write_text("{}")
    assert run(["predict", "p.json", "new", "--base-url", server.base_url]) == 1
    assert "no labels-only classifier" in capsys.readouterr().err
