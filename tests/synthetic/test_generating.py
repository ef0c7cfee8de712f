"""From class names to images, scored by the embedded model and compared with real digits."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipwright
from clipwright.backbones import resolve
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.generated import read_generated, read_manifest
from clipwright.synthetic.filtering import Rule, Verdict, apply_filter, confidences
from clipwright.synthetic.generating import generate_images
from clipwright.synthetic.picture_folder import PictureFolder
from clipwright.synthetic.real_gap import real_gap
from clipwright.synthetic.sheet import score_sheet
from clipwright.texts import text_features

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(scope="module")
def posters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("posters")
    done = generate_images("digits", root, per_class=12, quiet=True)
    assert done.summary["made"] == 120
    assert done.warnings == ()
    return root


@pytest.fixture
def copy(posters: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(posters, tmp_path / "copy"))


def test_probabilities_are_those_of_the_formula(rng: np.random.Generator) -> None:
    x, w = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    z = 7 * (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (w / np.linalg.norm(w, axis=1, keepdims=True)).T
    expected = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    found = confidences(torch.from_numpy(x), torch.from_numpy(w), 7.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def judge(root: Path, rule: Rule) -> Verdict:
    templates = read_generated(root).templates
    return apply_filter(
        PictureFolder(root, read_generated(root)), resolve("tiny"), rule, templates=templates, quiet=True
    )


def test_scores_are_zero_shot_and_verdicts_can_be_taken_back(copy: Path) -> None:
    found = judge(copy, Rule(agree=True))
    rows = read_manifest(copy)
    assert found.scored == len(rows) == 120
    assert found.kept == sum(row["predicted"] == row["class_id"] for row in rows) == round(120 * found.accuracy)
    assert 0 < found.kept < 120
    assert found.kept + found.dropped.total() == 120
    kept = open_data(copy)
    assert len(kept) == found.kept
    assert len(list(copy.rglob("*.png"))) == 120  # nothing is deleted unless asked for
    # One image, by hand.
    backbone = resolve("tiny").load()
    with Image.open(copy / rows[5]["path"]) as image:
        pixels = torch.from_numpy(backbone.preprocess.clean(image.convert("RGB")))
    x = backbone.images(pixels[None]).x
    text = text_features(backbone, kept.class_names, kept.templates).classifier("mean_unit_renorm")
    expected = confidences(x, text, backbone.logit_scale)[0]
    assert rows[5]["confidence"] == pytest.approx(float(expected[rows[5]["class_id"]]), abs=1e-4)
    sure = judge(copy, Rule(min_confidence=0.9))
    confident = [row["confidence"] >= 0.9 for row in read_manifest(copy)]
    assert sure.kept == sum(confident)
    assert judge(copy, Rule()).kept == 120
    assert len(open_data(copy)) == 120


def test_dropped_files_are_deleted_when_asked_and_not_made_again(copy: Path) -> None:
    found = judge(copy, Rule(agree=True, delete=True))
    assert len(list(copy.rglob("*.png"))) == found.kept
    again = generate_images("digits", copy, per_class=12, quiet=True)
    assert (again.summary["made"], again.summary["there"]) == (0, 120)
    assert judge(copy, Rule(agree=True)).scored == found.kept
    nothing = judge(copy, Rule(min_confidence=1.0))
    assert set(nothing.emptied) <= set(open_data("digits").class_names)


def test_posters_are_unlike_handwriting_and_handwriting_is_not(posters: Path) -> None:
    ref = resolve("tiny")
    digits = open_data("digits")
    found = real_gap(posters, "digits", ref, quiet=True)
    assert found.real == len(digits.rows("", "train", "val"))
    assert found.warning is not None
    assert found.auc is not None
    assert found.auc > 0.99
    assert found.ratio is not None
    assert found.ratio > 10
    assert list(found.by_class) == list(digits.class_names)
    train = digits.rows("train")
    same = real_gap(digits.take(train[::2]), digits.take(train[1::2]), ref, quiet=True)
    assert same.warning is None
    assert same.auc == pytest.approx(0.5, abs=0.1)


def test_unlabeled_real_images_do(posters: Path, tmp_path: Path) -> None:
    digits = open_data("digits")
    assert digits.reader is not None
    for row in range(20):
        digits.reader.read(digits.table["source"][row].as_py()).image.save(tmp_path / f"{row}.png")
    found = real_gap(posters, tmp_path, resolve("tiny"), quiet=True)
    assert (found.real, found.by_class) == (20, {})
    with pytest.raises(DataError, match="there is no"):
        real_gap(posters, tmp_path / "nowhere", resolve("tiny"), quiet=True)


def test_the_sheet_shows_every_class_and_marks_what_was_dropped(copy: Path) -> None:
    judge(copy, Rule(agree=True))
    (copy / "000-zero" / "000000.png").write_bytes(b"damaged")
    with Image.open(io.BytesIO(score_sheet(copy, columns=3))) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    rows = read_manifest(copy)
    dropped = [row for row in rows if row["index"] < 3 and not row["kept"]]
    red = (pixels == (200, 30, 30)).all(-1)
    assert red.any() == bool(dropped)
    assert (pixels == (225, 225, 225)).all(-1).sum() >= 60 * 60  # the damaged one is grey
    assert pixels.shape[0] == 10 * (72 + 11 + 8)
    names = generate_images(["star"], copy.parent / "one", per_class=1, quiet=True, sheet=copy.parent / "s.png")
    assert Image.open(copy.parent / "s.png").format == "PNG"
    assert names.summary["classes"] == 1


def test_everything_at_once_is_summed_up(tmp_path: Path) -> None:
    done = generate_images(
        "digits", tmp_path / "out", per_class=3, backbone="tiny", min_confidence=0.5, real="digits", quiet=True
    )
    json.dumps(done.summary)
    assert done.summary["filter"]["scored"] == 30
    assert json.loads((tmp_path / "out" / "gap.json").read_text())["backbone"] == "tiny"
    assert any(warning.startswith("The generated images look unlike") for warning in done.warnings)
    assert clipwright.fit(tmp_path / "out", backbone="tiny", method="ZeroShot", quiet=True).class_names[7] == "seven"


def test_a_dry_run_writes_nothing(posters: Path, tmp_path: Path) -> None:
    summary = generate_images("digits", tmp_path / "out", per_class=3, dry_run=True).summary
    assert (summary["images"], summary["missing"], summary["classes"]) == (30, 30, 10)
    assert summary["seconds"] >= 0
    assert list(tmp_path.iterdir()) == []
    before = {path: path.stat().st_mtime_ns for path in posters.rglob("*")}
    summary = generate_images("digits", posters, per_class=13, dry_run=True).summary
    assert (summary["images"], summary["missing"]) == (130, 10)
    assert {path: path.stat().st_mtime_ns for path in posters.rglob("*")} == before


def test_what_does_not_fit_together_is_refused(posters: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="need --backbone"):
        generate_images("digits", tmp_path, agree=True)
    with pytest.raises(UsageError, match="needs a filter"):
        Rule(delete=True)
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        Rule(min_confidence=2)
    with pytest.raises(DataError, match="the renderer draws"):
        generate_images(["owl"], tmp_path / "owl")
    with pytest.raises(UsageError, match="other classes"):
        generate_images("letters", posters)
    with pytest.raises(UsageError, match=r"other settings \(seed: 0, now 1\)"):
        generate_images("digits", posters, seed=1)
    assert list(tmp_path.iterdir()) == []
    shutil.copy(posters / "generated.json", tmp_path)
    with pytest.raises(DataError, match="no generated image yet"):
        score_sheet(tmp_path)
