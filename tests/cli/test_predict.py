from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clipwright.cli.app import run

pytestmark = pytest.mark.slow


def test_rows_in_every_format_with_broken_images(
    saved: Path, digits_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(saved), str(digits_folder), "--format", "jsonl", "--top-k", "2"]) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 38
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    broken = [row for row in rows if row["error"]]
    assert {Path(row["path"]).name for row in broken} == {"broken.png", "cut.png"}
    assert all(row["label"] is None for row in broken)
    assert all(len(row["top"]) == 2 and 0 < row["confidence"] <= 1 for row in rows if not row["error"])
    assert "2 of 38 images could not be read" in err

    assert run(["predict", str(saved), str(digits_folder), "--format", "csv", "--quiet"]) == 0
    records = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["path"] for r in records] == [row["path"] for row in rows]
    assert [r["label"] for r in records] == [row["label"] or "" for row in rows]

    assert run(["predict", str(saved), str(digits_folder), "--quiet"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 39


def test_all_broken_is_failure_and_missing_files_are_rows(
    saved: Path, digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    assert run(["predict", str(saved), str(tmp_path / "x.png"), str(tmp_path / "missing.png"), "--json"]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [bool(row["error"]) for row in rows] == [True, True]
    good = next(digits_folder.rglob("00.png"))
    assert run(["predict", str(saved), str(tmp_path / "x.png"), str(good), "--json"]) == 0


def test_poor_guesses_are_uncertain(saved: Path, digits_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    glob = str(digits_folder / "*" / "0[0-3].png")
    assert run(["predict", str(saved), glob, "--json", "--min-confidence", "1.0"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["label"] for row in rows} == {"uncertain"}


def test_paths_that_end_a_line_or_look_like_options(
    saved: Path,
    digits_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = next(digits_folder.rglob("00.png")).read_bytes()
    for name in ("--debug", "=cmd.png", "two\nlines\x1b[2J.png"):
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert run(["predict", str(saved), "--format", "csv", "--", "--debug", "=cmd.png", "two\nlines\x1b[2J.png"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 4
    assert "'=cmd.png" in out


def test_a_folder_that_is_no_classifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", str(tmp_path), "x.png"]) == 1
    assert "is no saved classifier" in capsys.readouterr().err


def start(saved: Path, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, reading paths from standard input."""
    program = "import sys; from clipwright.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "predict", str(saved), "-", "--json", "--batch-size", "1", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_rows_come_while_later_images_are_still_unknown_and_an_interrupt_is_one_line(
    saved: Path, digits_folder: Path
) -> None:
    image = next(digits_folder.rglob("00.png"))
    with start(saved) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(f"{image}\n" * 4)
        child.stdin.flush()
        assert json.loads(child.stdout.readline())["path"] == str(image)  # with standard input still open
        child.send_signal(signal.SIGINT)
        told = [line for line in child.stderr.read().splitlines() if not line.startswith("Warning:")]
    assert child.returncode == 130
    assert told == ["Interrupted: run the same command again to go on from what is finished."]
