"""Benchmarks, halves of the classes and class numbers on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import clipwright
from clipwright.cli.app import run

CLASSES = (0, 2, 4, 5, 9)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DTD's layout with digits in place of textures: five classes, 3 train, 1 val and 4 test images of each."""
    data = clipwright.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    folder = tmp_path_factory.mktemp("root")
    lists: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for label, digit in enumerate(CLASSES):
        rows = iter(np.flatnonzero(data.labels == digit))
        for part, count in (("train", 3), ("val", 1), ("test", 4)):
            for number in range(count):
                path = folder / f"dtd/images/{digit}/{part}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                data.reader.read(sources[next(rows)]).image.save(path)
                lists[part].append([f"{digit}/{path.name}", label, data.class_names[digit]])
    (folder / "dtd/split_zhou_DescribableTextures.json").write_text(json.dumps(lists))
    return folder


def fit(root: Path, out: Path, *more: str) -> int:
    arguments = ["fit", "benchmark:textures", "--root", str(root), "--backbone", "tiny", "--out", str(out), "--quiet"]
    return run([*arguments, *more])


@pytest.mark.slow
def test_from_base_to_new(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "base"
    assert fit(root, out, "--method", "ZeroShot", "--classes-subset", "base") == 0
    config = json.loads((out / "config.json").read_text())
    assert (config["data"], config["root"], config["classes_subset"]) == ("benchmark:textures", str(root), "base")
    classifier = clipwright.Classifier.load(out)
    assert classifier.class_names == ("zero", "two", "four")
    assert classifier.card["templates"] == ["{} texture."]
    assert run(["fit", "--config", str(out / "config.json")]) == 0
    assert "nothing to do" in capsys.readouterr().err

    evaluate = ["evaluate", str(out), "benchmark:dtd", "--root", str(root), "--quiet"]
    assert run([*evaluate, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["base"]["n"], found["new"]["n"]) == (12, 8)
    assert list(found["new"]["per_class"]) == ["five", "nine"]
    for part in ("base", "new"):
        assert run([*evaluate, "--json", "--classes-subset", part, "--out", str(tmp_path / f"run-{part}")]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert alone["top1"] == found[part]["top1"]
        assert json.loads((tmp_path / f"run-{part}/evaluation.json").read_text()) == alone
    assert run(evaluate) == 0
    shown = capsys.readouterr().out
    assert "accuracy, base" in shown
    assert "on 8 images of 2 classes" in shown
    assert f"harmonic mean   {100 * found['harmonic']:.2f} %" in shown


@pytest.mark.slow
def test_new_classes_are_refused_in_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "base"
    assert fit(root, out, "--method", "TaskRes", "--set", "epochs=2", "--classes-subset", "base") == 0
    capsys.readouterr()
    evaluate = ["evaluate", str(out), "benchmark:dtd", "--root", str(root), "--quiet"]
    for more in ([], ["--classes-subset", "new"]):
        assert run([*evaluate, *more]) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("Error: TaskRes can't score classes that it was not fitted on")
    assert run([*evaluate, "--classes-subset", "base"]) == 0
    assert "12 (test split)" in capsys.readouterr().out


@pytest.mark.slow
def test_classes_by_number(
    saved: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIPWRIGHT_DATA", str(root))
    names, index = tmp_path / "names.txt", tmp_path / "index.txt"
    names.write_text("a\nb\nc\nd\ne\n")
    index.write_text("0, 2, 4, 5, 9\n")
    assert run(["evaluate", str(saved), "benchmark:dtd", "--json", "--quiet"]) == 0
    by_name = json.loads(capsys.readouterr().out)
    renamed = ["evaluate", str(saved), "benchmark:dtd", "--classes", str(names), "--quiet"]
    assert run(renamed) == 1
    assert "--class-index" in capsys.readouterr().err
    assert run([*renamed, "--class-index", str(index), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == by_name["top1"]
    assert run([*renamed, "--class-index", "imagenet-a"]) == 1
    assert "has 200 numbers but the data has 5 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["extract", "benchmark:dtd"], 2, "give --root DIR or set CLIPWRIGHT_DATA, the folder that holds dtd/"),
        (["extract", "benchmark:dtd", "--root", "."], 1, "benchmark:dtd lacks the folder"),
        (["extract", "benchmark:texturs", "--root", "."], 2, "did you mean benchmark:dtd?"),
        (["extract", "digits", "--root", "."], 2, "a root is for benchmarks and tables, not for digits"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLIPWRIGHT_DATA", raising=False)
    assert run([*arguments, "--backbone", "tiny"]) == code
    assert says in capsys.readouterr().err.splitlines()[-1]
