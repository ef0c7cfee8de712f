from __future__ import annotations

import json
from pathlib import Path

import pytest

from clipwright.cli.app import run
from clipwright.core.answers import Answers, answer_key
from clipwright.core.home import home


@pytest.fixture
def filled() -> Path:
    folder = home() / "features" / "abc"
    folder.mkdir(parents=True)
    (folder / "shard.bin").write_bytes(b"x" * 1000)
    (home() / "hashes.jsonl").write_bytes(b"y" * 10)
    return home()


def test_ls_shows_names_and_sizes(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "ls", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["home"] == str(filled)
    assert found["entries"] == [
        {"name": "features", "files": 1, "bytes": 1000},
        {"name": "hashes.jsonl", "files": 1, "bytes": 10},
    ]
    assert run(["cache", "ls"]) == 0
    assert "hashes.jsonl" in capsys.readouterr().out


def test_an_empty_cache_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "ls"]) == 0
    assert "nothing is kept yet" in capsys.readouterr().out


def test_rm_removes_what_was_named_and_nothing_else(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "rm", "features"]) == 0
    assert [p.name for p in filled.iterdir()] == ["hashes.jsonl"]
    capsys.readouterr()
    assert run(["cache", "rm", "--all", "--json"]) == 0
    assert list(filled.iterdir()) == []
    assert json.loads(capsys.readouterr().out) == {"removed": ["hashes.jsonl"], "bytes": 10}


@pytest.mark.parametrize("arguments", [[], ["features", "--all"], ["../elsewhere"], ["features/abc"]])
def test_rm_refuses_what_is_unclear_or_outside(filled: Path, arguments: list[str]) -> None:
    assert run(["cache", "rm", *arguments]) == 2
    assert (filled / "features" / "abc" / "shard.bin").exists()


def test_rm_does_not_follow_links(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    (filled / "link").symlink_to(tmp_path)
    assert run(["cache", "rm", "link"]) == 0
    assert (tmp_path / "precious.txt").exists()


def test_answers_of_endpoints_are_among_it(capsys: pytest.CaptureFixture[str]) -> None:
    Answers().put(answer_key("asked"), b"answered")
    assert run(["cache", "ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == [{"name": "answers", "files": 1, "bytes": 40}]
    assert run(["cache", "rm", "answers"]) == 0
    assert Answers().get(answer_key("asked")) is None
