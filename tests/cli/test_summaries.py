from __future__ import annotations

from pathlib import Path

import pytest

from clipwright.cli.run_folder import LOG, RunFolder
from clipwright.cli.summaries import show_accuracies, show_fit, show_problems

SUMMARY = {
    "method": "TaskRes",
    "reason": "there are labels.",
    "backbone": "tiny",
    "labels_per_class": [4, 4, 3],
    "classes": 3,
    "chosen": {"alpha": 0.25, "epochs": 200},
    "how": {"alpha": "user", "epochs": "rule"},
    "skipped_images": 0,
    "seconds": 0.5,
    "evaluation": {"top1": 0.9, "low": 0.85, "high": 0.94, "n": 200, "split": "held out"},
}


def test_a_fit_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_fit(SUMMARY, Path("out\x1b"), as_json=False)
    shown = capsys.readouterr().out
    assert "labels per class    3 to 4" in shown
    assert "alpha               0.25 (user)" in shown
    assert "accuracy, held out  90.00 % (95 % interval 85.00 to 94.00) on 200 images" in shown
    assert "\x1b" not in shown


def test_many_problems_are_cut_short_on_the_terminal_but_not_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [(f"{n}.png", "cut short") for n in range(9)]
    with RunFolder(tmp_path / "run", {"verb": "fit"}) as run:
        show_problems(problems, run, quiet=False)
    told = capsys.readouterr().err
    assert told.count("skipped") == 5
    assert "4 more images" in told
    assert (tmp_path / "run" / LOG).read_text().count("skipped") == 9


def test_ties_are_shown_as_ties(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"shots": 1, "draws": 10, "accuracy": 0.9, "low": 0.8, "high": 0.95}
    show_accuracies([row | {"method": "A", "leads": True}, row | {"method": "B", "leads": True, "accuracy": 0.89}])
    assert capsys.readouterr().out.count(" % *") == 2
    show_accuracies([row | {"method": "A", "leads": True}])
    assert "*" not in capsys.readouterr().out
