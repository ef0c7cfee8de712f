from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clipwright import Classifier, open_data
from clipwright.cli.app import run
from clipwright.cli.fit import WORK, fingerprint

pytestmark = pytest.mark.slow


def fit(folder: Path, out: Path, *more: str) -> int:
    return run(["fit", str(folder), "--backbone", "tiny", "--out", str(out), *more])


def test_a_folder_becomes_a_classifier_with_its_run(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "classifier"
    assert fit(digits_folder, out, "--shots", "4", "--method", "taskres", "--set", "epochs=20") == 0
    shown, told = capsys.readouterr()
    assert {p.name for p in out.iterdir()} >= {
        "classifier.json",
        "README.md",
        "config.json",
        "log.txt",
        "metrics.jsonl",
        "report.html",
    }
    assert "accuracy, held out" in shown
    assert "skipped" in told
    assert "broken.png" in (out / "log.txt").read_text()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if row["event"] == "epoch"] == list(range(1, 21))
    config = json.loads((out / "config.json").read_text())
    assert config["set"] == {"epochs": 20}
    assert config["data"] == str(digits_folder)
    classifier = Classifier.load(out)
    assert len(classifier.class_names) == 3
    assert classifier.describe()["trace"]["chosen"]["epochs"] == 20

    # the same again: nothing to do, the same answer
    before = (out / "classifier.json").stat().st_mtime_ns
    assert run(["fit", "--config", str(out / "config.json")]) == 0
    again, told = capsys.readouterr()
    assert "nothing to do" in told
    assert again == shown
    assert (out / "classifier.json").stat().st_mtime_ns == before

    # something else: refused, then allowed
    assert run(["fit", "--config", str(out / "config.json"), "--seed", "1"]) == 2
    assert "another seed (0, now 1)" in capsys.readouterr().err
    assert run(["fit", "--config", str(out / "config.json"), "--seed", "1", "--overwrite", "--json", "-q"]) == 0
    shown, told = capsys.readouterr()
    summary = json.loads(shown)
    assert summary["method"] == "TaskRes"
    assert summary["evaluation"]["split"] == "held out"
    assert [line for line in told.splitlines() if not line.startswith("Warning: ")] == []


def test_changed_data_are_fitted_again(digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    data, out = tmp_path / "data", tmp_path / "classifier"
    shutil.copytree(digits_folder, data)
    assert fit(data, out, "--method", "ZeroShot") == 0
    extra = next(data.rglob("03.png"))
    shutil.copy(extra, extra.with_name("99.png"))
    assert fit(data, out, "--method", "ZeroShot") == 0
    assert "nothing to do" not in capsys.readouterr().err


def test_names_alone(digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(digits_folder.rglob("0*.png"))):
        (flat / f"{number}.png").write_bytes(path.read_bytes())
    (tmp_path / "names.txt").write_text("zero\none\nseven\n")
    out = tmp_path / "classifier"
    assert fit(flat, out, "--classes", str(tmp_path / "names.txt")) == 0
    assert "Transductive" in capsys.readouterr().out
    assert Classifier.load(out).class_names == ("zero", "one", "seven")

    # another name in the same file: fitted again
    (tmp_path / "names.txt").write_text("zero\none\neight\n")
    assert fit(flat, out, "--classes", str(tmp_path / "names.txt")) == 0
    assert Classifier.load(out).class_names == ("zero", "one", "eight")


def test_generated_images_and_captions_beside_the_data(
    digits_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    posters, out = tmp_path / "posters", tmp_path / "classifier"
    names = tmp_path / "names.txt"
    names.write_text("zero\none\nseven\n")
    assert run(["generate", str(names), "--per-class", "3", "--out", str(posters), "--quiet"]) == 0
    more = ["--generated", str(posters), "--method", "GDA", "--shots", "2"]
    assert fit(digits_folder, out, *more) == 0
    told = capsys.readouterr().err
    assert "9 generated images of posters stand beside the data's own." in told
    config = json.loads((out / "config.json").read_text())
    assert config["generated"] == str(posters)
    card = Classifier.load(out).card
    assert card["labels_per_class"] == [2, 2, 2]
    assert card["images"]["generated"] == 9

    # the same again: nothing to do; with more images made: fitted again
    assert run(["fit", "--config", str(out / "config.json")]) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert run(["generate", str(names), "--per-class", "4", "--out", str(posters), "--quiet"]) == 0
    assert run(["fit", "--config", str(out / "config.json")]) == 0
    assert "nothing to do" not in capsys.readouterr().err
    assert Classifier.load(out).card["images"]["generated"] == 12

    assert fit(digits_folder, tmp_path / "x", "--generated", str(tmp_path)) == 1
    assert "was not written by 'clipwright generate'" in capsys.readouterr().err
    assert fit(digits_folder, tmp_path / "y", "--method", "GDA", "--captions", str(tmp_path)) == 2
    assert "no method here takes captions" in capsys.readouterr().err


def test_files_of_captions_count_for_what_was_fitted(digits_folder: Path, tmp_path: Path) -> None:
    data = open_data(digits_folder)
    plain = fingerprint(data)
    assert fingerprint(data, tmp_path / "none") == plain
    (tmp_path / "captions.json").write_text("{}")
    first = fingerprint(data, tmp_path)
    assert first != plain
    assert fingerprint(data, tmp_path) == first
    (tmp_path / "journal.jsonl").write_text("{}")
    assert fingerprint(data, tmp_path) != first


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--method", "Nonsense"], 2, "there is no method 'Nonsense'"),
        (["--method", "TaskRes", "--set", "alfa=1"], 2, "no hyper-parameter 'alfa'"),
        (["--method", "TaskRes", "--set", "alpha=big"], 2, "alpha"),
        (["--set", "alpha=1"], 2, "auto has no hyper-parameter"),
        (["--shots", "100"], 1, ""),
        (["--backbone", "openclip:nonsense@x"], 1, "nonsense"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(
    digits_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    assert fit(digits_folder, tmp_path / "out", *arguments) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert says.lower() in last.lower()
    assert "Unexpected" not in last
    assert "failed:" in (tmp_path / "out" / "log.txt").read_text()


def test_a_killed_search_goes_on(digits_folder: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle of a search for a prompt; the same command ends where an uninterrupted one does."""
    command = [sys.executable, "-m", "clipwright.cli", "fit", str(digits_folder), "--backbone", "tiny", "--shots", "4"]
    command += ["--method", "CraFT", "--set", "budget=1200", "--quiet", "--out"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, str(whole)], check=True, capture_output=True)
    state = killed / WORK / "craft.safetensors"
    with subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None and not state.exists():
            time.sleep(0.01)
        running.kill()
    assert not (killed / "classifier.json").exists()
    subprocess.run([*command, str(killed)], check=True, capture_output=True)
    assert not state.parent.exists()
    first, second = (Classifier.load(folder) for folder in (whole, killed))
    for a, b in zip(first.fitted.head.state_dict().values(), second.fitted.head.state_dict().values(), strict=True):
        assert torch.equal(a, b)
