"""From names to a merged classifier: generate, fit, evaluate, merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from clipwright.classifier import Classifier
from clipwright.cli.app import run
from clipwright.cli.merge import read_alphas
from clipwright.core.errors import UsageError
from clipwright.core.tensors import unit_rows

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def test_alphas_are_listed_or_counted_up() -> None:
    assert read_alphas("0.5") == [0.5]
    assert read_alphas("0, 0.25,1") == [0, 0.25, 1]
    assert read_alphas("0,0.1,...,1") == [i / 10 for i in range(11)]
    assert read_alphas("0,0.5,...,1") == [0, 0.5, 1]


@pytest.mark.parametrize(
    "text", ["", "a", "0,2", "-1", "0,...,1", "0,0.3,...,1", "...,1", "0,0.1,...", "0.5,0.5,...,1"]
)
def test_alphas_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        read_alphas(text)


@pytest.mark.slow
def test_from_names_to_a_merge(
    saved: Path,
    digits_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "digits", "--per-class", "4", "--out", "made", "--quiet"]) == 0
    tuned = ["--set", "alpha=1", "--set", "epochs=2", "--set", "batch_size=20", "--set", "learning_rate=0.001"]
    assert run(["fit", "made", "--backbone", "tiny", "--method", "RegFT", *tuned, "--out", "tuned", "--quiet"]) == 0
    capsys.readouterr()

    curve = ["merge", str(saved), "tuned", "--alpha", "0,0.5,...,1", "--evaluate", str(digits_folder), "--json", "-q"]
    assert run(curve) == 0
    rows = json.loads(capsys.readouterr().out)["curve"]
    assert [row["alpha"] for row in rows] == [0, 0.5, 1]
    figures = {}
    for name, path in (("base", str(saved)), ("tuned", "tuned")):
        assert run(["evaluate", path, str(digits_folder), "--json", "-q"]) == 0
        figures[name] = json.loads(capsys.readouterr().out)["top1"]
    assert (rows[0]["accuracy"], rows[-1]["accuracy"]) == (figures["base"], figures["tuned"])

    assert run(["merge", str(saved), "tuned", "--alpha", "0.5", "--out", "half"]) == 0
    assert "Saved the merge of alpha = 0.5 to half" in capsys.readouterr().err
    assert run(["evaluate", "half", str(digits_folder), "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == rows[1]["accuracy"]
    assert run(["merge", str(saved), "tuned", "--out", "half"]) == 2
    assert "holds a classifier already" in capsys.readouterr().err
    # The tuned tower is a backbone for every other method.
    wanted = ["fit", str(digits_folder), "--backbone", "folder:half", "--method", "TaskRes", "--shots", "2"]
    assert run([*wanted, "--out", "other", "-q"]) == 0
    assert run(["predict", "other", str(digits_folder / "zero"), "-q"]) == 0
    # CaFo in the tuned tower's space, its texts replaced by the merged head, biases and all.
    cafo = ["fit", "made", "--backbone", "folder:half", "--method", "CaFo", "--set", "epochs=1"]
    assert run([*cafo, "--set", "classifier=half", "--out", "cafo", "-q"]) == 0
    head = Classifier.load("cafo").fitted.head.state_dict()["weight"]
    merged = Classifier.load("half").fitted.head.state_dict()
    assert bool(merged["bias"].any())
    torch.testing.assert_close(unit_rows(head), unit_rows(merged["weight"]))


def test_what_cannot_be_done_is_said(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["merge", str(saved), str(saved)]) == 2
    assert "nothing to do" in capsys.readouterr().err
    assert run(["merge", str(saved), str(saved), "--alpha", "0,1", "--out", "x"]) == 2
    assert "a single --alpha" in capsys.readouterr().err
