"""Generated images on the page of a fit: figures, classes, contact sheet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.made import HOSTILE

from clipwright import Classifier, open_data
from clipwright.cli.app import run
from clipwright.core.gap import Gap
from clipwright.protocol.generated_gap import NOTHING_REAL, GeneratedGap
from clipwright.report.generated import Made, lay_out, made_images
from clipwright.report.page import Page, Part
from clipwright.report.render import render

NAMES = ("cat <b>", "dog", "owl")
LABELS = np.array([0, 0, 2])
SURE = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]])
ALONE = np.array([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0], [0.3, 0.3, 0.4]])
BEFORE = Gap(3, 40, 0.98, 0.5, 0.6, 0.05, {"cat <b>": 0.7, "dog": None, "owl": None})
AFTER = Gap(3, 40, 0.91, 0.4, 0.4, 0.01, {"cat <b>": 0.6, "dog": None, "owl": None})


def _found(**more: Any) -> GeneratedGap:
    plain = GeneratedGap(np.arange(3), np.array([2, 0, 1]), BEFORE, AFTER, None, None)
    return replace(plain, **more)


def _laid(names: Any = NAMES, **more: Any) -> Made:
    given = {"sure": SURE, "names": ALONE} | {k: more.pop(k) for k in ("sure", "names_alone") if k in more}
    if "names_alone" in given:
        given["names"] = given.pop("names_alone")
    return lay_out(_found(**more), ["a/0.png", "a/1.png", "c/0.png"], LABELS, names, **given)


def _page(made: Made) -> str:
    return render(Page("t", parts=(Part(made=made),)))


def test_figures_in_plain_words() -> None:
    text = " ".join(_laid().words)
    assert text.startswith("3 images of 2 classes are generated. In the backbone's space")
    assert "from 40 real images with an AUC of 0.98" in text
    assert "they lie 12.0 times as far" in text
    assert "By the image tower that this fit changed, the AUC is 0.91, and they lie 40 times as far" in text
    few = replace(BEFORE, frechet_matched=None, frechet_real=None, real=1, auc=None)
    text = " ".join(_laid(before=few, after=None).words)
    assert "from 1 real image with an AUC of unknown size" in text
    assert "and the Frechet distance is 0.5." in text
    assert "changed" not in text
    assert "The figures count 3 of them, picked by chance." in " ".join(_laid(total=np.array([900, 0, 1])).words)


def test_classes_those_most_doubted_first() -> None:
    cat, owl = _laid().classes
    assert (cat.name, cat.total, cat.seen, cat.right) == ("cat <b>", 2, 2, 1)
    assert [cat.sure, cat.names] == pytest.approx([0.55, 0.55])
    assert (cat.before, cat.after) == (0.7, 0.6)
    assert (owl.name, owl.sure, owl.before, owl.after) == ("owl", 0.9, None, None)


def test_a_contact_sheet_with_what_the_classifier_says() -> None:
    (name, images), (_, other) = _laid().sheet
    assert name == "cat <b>"
    assert [(i.id, i.sure, i.names, i.taken_for) for i in images] == [
        ("a/0.png", 0.9, 0.5, ""),
        ("a/1.png", 0.2, 0.6, "dog"),
    ]
    assert len(other) == 1
    html = _page(_laid())
    assert html.count('class="bad"') == 1
    assert html.count('class="good"') == 2
    assert "says dog" in html
    assert "know them by heart" in html
    assert "cat &lt;b&gt;" in html
    assert "<b>" not in html
    assert "no picture" not in html  # where there is none at all, nothing stands in its place


def test_without_texts_or_an_answer_or_anything_real() -> None:
    html = _page(_laid(names_alone=None, before=None, after=None, notes=(NOTHING_REAL,)))
    assert NOTHING_REAL.replace("'", "&#39;") in html
    assert "Names alone" not in html
    assert "Distance" not in html
    html = _page(_laid(sure=None))
    assert "Named right" not in html
    assert 'class="unknown"' in html
    html = _page(_laid(sure=None, names_alone=None))
    assert "most doubtful" not in html


def test_one_class_and_many_and_hostile_names() -> None:
    one = lay_out(
        _found(total=np.array([3])), ["a", "b", "c"], np.zeros(3, dtype=np.int64), ["x"], sure=np.ones((3, 1))
    )
    assert "3 images of 1 class are generated" in one.words[0]
    assert len(one.sheet) == len(one.classes) == 1
    n = len(HOSTILE) * 3
    names = [f"{HOSTILE[i % len(HOSTILE)]} {i}" for i in range(n)]
    many = lay_out(
        _found(total=np.full(n, 9), before=None, after=None),
        [HOSTILE[i % len(HOSTILE)] for i in range(9 * n)],
        np.repeat(np.arange(n), 9),
        names,
        sure=np.full((9 * n, n), 1 / n),
    )
    assert len(many.classes) == n
    assert len(many.sheet) == 12
    assert {len(images) for _, images in many.sheet} == {8}
    html = _page(many)
    assert "The other 6" in html
    assert "<script>alert" not in html
    assert "onerror=alert(1)>" not in html.replace("&gt;", "")


def test_no_section_for_ready_made_features_or_real_images_alone() -> None:
    classifier: Any = None
    assert made_images(classifier, None, None) is None
    assert made_images(classifier, _found(), None) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
def test_unlabeled_photos_and_posters_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits, photos, posters, out = open_data("digits"), tmp_path / "photos", tmp_path / "posters", tmp_path / "out"
    assert digits.reader is not None
    photos.mkdir()
    sources = digits.table["source"].to_pylist()
    for c in range(10):
        for row in np.flatnonzero(digits.labels == c)[:3]:
            digits.reader.read(sources[row]).image.save(photos / f"{row}.png")
    (tmp_path / "names.txt").write_text("\n".join(digits.class_names))
    assert run(["generate", "digits", "--per-class", "4", "--out", str(posters), "-q"]) == 0
    fit = ["fit", str(photos), "--classes", str(tmp_path / "names.txt"), "--generated", str(posters)]
    more = ["--backbone", "tiny", "--method", "RegFT", "--set", "epochs=1", "--out", str(out)]
    assert run([*fit, *more]) == 0
    assert "Note: The generated images look unlike the real ones" in capsys.readouterr().err
    found = Classifier.load(out).card["gap"]
    assert json.dumps(found, allow_nan=False)
    for place in ("before", "after"):
        assert (found[place]["generated"], found[place]["real"]) == (40, 30)
        assert found[place]["auc"] > 0.9
    assert found["before"]["frechet"] != found["after"]["frechet"]
    html = (out / "report.html").read_text()
    assert ">Generated images</h2>" in html
    assert "By the image tower that this fit changed" in html
    section = html.split('id="p1-generated"')[1].split("</section>")[0]
    assert section.count("<img ") == 40
