"""Class names and a folder of unlabeled images, through `fit` and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clipwright as cw
from clipwright import api
from clipwright.cli.app import run as command

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def pile(root: Path, classes: int, each: int) -> list[str]:
    """`each` embedded digits of the first `classes` classes in a flat folder; the names of all ten."""
    data = cw.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    root.mkdir()
    for c in range(classes):
        for row in np.flatnonzero((data.labels == c) & (data.splits == "train"))[:each]:
            data.reader.read(sources[row]).image.save(root / f"{row:04d}.png")
    return list(data.class_names)


def test_names_and_a_pile_of_images(tmp_path: Path) -> None:
    names = pile(tmp_path / "pile", 10, 20)
    classifier = cw.fit(tmp_path / "pile", backbone="tiny", classes=names, quiet=True)
    card = classifier.card
    assert card["picked"] == "Transductive"
    assert card["images"]["unlabeled"] == 200
    assert card["reason"].startswith("There are class names and no labels. There are 200 unlabeled images")
    assert card["reason"].endswith("No label could check this choice.")
    assert any("names alone disagree on" in note for note in classifier.fitted.trace.notes)
    again = cw.Classifier.load(classifier.save(tmp_path / "saved"))
    run = api.fit_run(tmp_path / "pile", backbone="tiny", classes=names, method="ZeroShot", quiet=True)
    truth = cw.open_data("digits").labels[[int(Path(name).stem) for name in run.prepared.dataset.ids]]
    rows = run.prepared.rows(range(200))
    by_pile, by_names = (float((c.predict_proba(rows).argmax(1) == truth).mean()) for c in (again, run.classifier))
    assert by_pile > by_names


def test_half_of_the_classes_leave_the_names_and_the_page_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = pile(tmp_path / "pile", 5, 12)
    (tmp_path / "names.txt").write_text("\n".join(names))
    out = tmp_path / "out"
    call = ["fit", str(tmp_path / "pile"), "--classes", str(tmp_path / "names.txt"), "--backbone", "tiny"]
    assert command([*call, "--out", str(out)]) == 0
    assert "Next to no unlabeled image looks like" in capsys.readouterr().err
    assert cw.Classifier.load(out).card["picked"] == "ZeroShot"
    html = (out / "report.html").read_text()
    assert "have next to no image among 60 unlabeled images" in html
    assert "Next to no unlabeled image looks like" in html


def test_the_report_needs_no_accuracy(tmp_path: Path) -> None:
    names = pile(tmp_path / "pile", 10, 6)
    run = api.fit_run(tmp_path / "pile", backbone="tiny", classes=names, quiet=True)
    assert run.evaluation is None
    assert run.names_alone is None
    assert "Least certain" in api.fit_report(run, tmp_path / "out").read_text(encoding="utf-8")
