"""What may stand beside real images, through the verbs: generated images, a second backbone, captions."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import clipwright as cw
from clipwright import api
from clipwright.core.errors import DataError, NeedsError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")

NAMES = ("zero", "one", "seven")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for this module: features are made once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _shared_home(home: Path, monkeypatch: pytest.MonkeyPatch, _own_home: None) -> None:
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(home))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of each of three digits in class folders."""
    root = tmp_path_factory.mktemp("data") / "photos"
    data = cw.open_data("digits")
    assert data.reader is not None
    sources = data.table["source"].to_pylist()
    for name in NAMES:
        for number, row in enumerate((data.labels == data.class_names.index(name)).nonzero()[0][:8]):
            path = root / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            data.reader.read(sources[row]).image.save(path)
    return root


@pytest.fixture(scope="module")
def posters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four printed images of each digit, as generate renders them."""
    out = tmp_path_factory.mktemp("made") / "posters"
    api.generate("digits", out, per_class=4, quiet=True)
    return out


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny timm model with random weights."""
    timm = pytest.importorskip("timm")
    path = tmp_path_factory.mktemp("timm") / "vit.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = timm.create_model("test_vit", pretrained=False).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return f"timm:test_vit@{path}"


# --- generated images ---------------------------------------------------------------------------------------------


def test_names_and_generated_images_alone(photos: Path, posters: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        shutil.copy(path, flat / f"{i}.png")
    run = api.fit_run(flat, backbone="tiny", classes=list(NAMES), method="GDA", generated=posters, quiet=True)
    support = run.task.support
    assert support is not None
    assert support.is_generated.all()
    assert run.task.shots == (4, 4, 4)
    assert run.classifier.card["labels_per_class"] == [0, 0, 0]
    assert run.classifier.card["images"]["generated"] == 12
    assert run.classifier.card["images"]["support"] == 0
    assert run.classifier.temperature == 1
    assert "generated" in run.classifier.card["calibration"]
    assert any("12 generated images of posters stand beside" in note for note in run.classifier.card["notes"])
    assert any("Left out 28 generated images of 7 classes" in note for note in run.classifier.card["notes"])
    assert run.evaluation is None
    api.fit_report(run, tmp_path / "out")
    assert cw.evaluate(run.classifier, photos, quiet=True).top1 > 0.6


def test_shots_are_drawn_from_real_images_alone(photos: Path, posters: Path) -> None:
    both, alone = (
        api.fit_run(photos, backbone="tiny", method="GDA", shots=3, seed=5, generated=generated, quiet=True)
        for generated in (posters, None)
    )
    assert both.task.support is not None
    assert alone.task.support is not None
    assert (both.task.support.ids or ())[:9] == alone.task.support.ids
    assert both.task.support.is_generated.tolist() == [False] * 9 + [True] * 12
    np.testing.assert_array_equal(both.roles.held_out, alone.roles.held_out)
    assert both.scored is not None
    assert both.scored.ids == (alone.scored.ids if alone.scored is not None else ())
    assert both.classifier.card["labels_per_class"] == [3, 3, 3]
    assert both.classifier.temperature == 1


def test_auto_neither_learns_nor_chooses_by_generated_images(photos: Path, posters: Path) -> None:
    both, alone = (
        api.fit_run(photos, backbone="tiny", generated=generated, quiet=True) for generated in (posters, None)
    )
    assert "Generated images were left out" in both.classifier.card["reason"]
    assert both.classifier.card["picked"] == alone.classifier.card["picked"]
    assert both.classifier.temperature == pytest.approx(alone.classifier.temperature, rel=1e-6)
    assert both.evaluation is not None
    assert alone.evaluation is not None
    assert both.evaluation.top1 == alone.evaluation.top1
    assert both.names_alone is not None
    assert both.names_alone.n == 24


def test_a_generated_folder_alone_is_learned_from_and_not_believed(posters: Path) -> None:
    run = api.fit_run(posters, backbone="tiny", method="GDA", shots=2, quiet=True)
    assert run.task.shots == (2,) * 10
    assert run.task.labels_per_class == (0,) * 10
    assert run.evaluation is None
    found = cw.evaluate(run.classifier, posters, quiet=True)
    assert found.n == 40
    assert any("The scored images are generated" in note for note in found.notes)
    with pytest.raises(DataError, match="accuracy on generated images says little"):
        cw.compare(posters, ["GDA"], shots=(1,), backbone="tiny", quiet=True)


def test_comparing_from_names_and_generated_images(photos: Path, posters: Path) -> None:
    results = cw.compare(
        photos, ["ZeroShot", "GDA", "auto"], shots=(0, 1), draws=2, backbone="tiny", generated=posters, quiet=True
    )
    cells = {(r["method"], r["shots"], r["draw"]): r for r in results.cells.to_pylist()}
    assert {key[:2] for key in cells} == {(m, k) for m in ("GDA", "auto") for k in (0, 1)} | {("ZeroShot", 0)}
    assert all(cell["labels_per_class"] == [key[1]] * 3 for key, cell in cells.items())
    assert cells["GDA", 0, 0]["images"] == 12
    assert cells["auto", 0, 0]["right"] == cells["ZeroShot", 0, 0]["right"]
    assert results.runs[0]["generated"] == 12


def test_a_folder_that_is_none_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match="was not written by 'clipwright generate'"):
        cw.fit(photos, backbone="tiny", generated=photos, quiet=True)


# --- a second backbone --------------------------------------------------------------------------------------------


def test_a_second_backbone_is_fitted_saved_and_asked_again(photos: Path, vit: str, tmp_path: Path) -> None:
    run = api.fit_run(photos, backbone="tiny", method="CaFo", shots=4, second=vit, quiet=True)
    classifier = run.classifier
    assert "second" in run.fitted.head.inputs
    assert classifier.second is not None
    assert classifier.second["spec"] == vit
    assert run.scored is not None
    again = cw.Classifier.load(classifier.save(tmp_path / "saved"))
    found = cw.evaluate(again, photos, quiet=True)
    assert found.n == 24
    paths = sorted(photos.rglob("*.png"))[:3]
    rows = [run.prepared.dataset.ids.index(path.relative_to(photos).as_posix()) for path in paths]
    expected = classifier.predict_proba(run.prepared.rows(rows))
    np.testing.assert_allclose(again.predict_proba(paths), expected, atol=1e-4)


def test_a_second_backbone_that_nobody_looks_at_is_refused(photos: Path, vit: str) -> None:
    with pytest.raises(UsageError, match=r"no method here takes a second backbone: leave it out, or .*CaFo"):
        cw.fit(photos, backbone="tiny", method="GDA", second=vit, quiet=True)
    with pytest.raises(UsageError, match="no method here takes captions"):
        cw.compare(photos, ["GDA"], backbone="tiny", captions=photos, quiet=True)


def test_comparing_with_a_second_backbone(photos: Path, vit: str) -> None:
    results = cw.compare(photos, ["GDA", "CaFo"], shots=(1,), draws=1, backbone="tiny", second=vit, quiet=True)
    assert results.runs[0]["second"] == vit
    assert len(results.cells) == 2


def test_a_backbone_of_images_alone_learns_from_labels(photos: Path, vit: str) -> None:
    run = api.fit_run(photos, backbone=vit, method="LinearProbe", shots=4, quiet=True)
    assert any("has no text tower" in note for note in run.classifier.card["notes"])
    assert run.evaluation is not None
    assert run.names_alone is None
    assert cw.evaluate(run.classifier, photos, quiet=True).n == 24
    assert cw.fit(photos, backbone=vit, quiet=True).card["picked"] == "LinearProbe"
    with pytest.raises(NeedsError, match="ZeroShot needs text features"):
        cw.fit(photos, backbone=vit, method="ZeroShot", quiet=True)


# --- captions -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.* texts are longer than")
def test_captions_reach_the_methods_that_read_them(photos: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        shutil.copy(path, flat / f"{i:02d}.png")
    out, names = tmp_path / "captions", list(NAMES)
    api.caption(flat, out, backbone="tiny", classes=names, captioner="phrases", quiet=True)
    shutil.copy(flat / "00.png", flat / "99.png")  # came after the captions
    with pytest.warns(UserWarning, match=r"1 of 25 images of the training side have no caption \('99.png'\)"):
        run = api.fit_run(flat, backbone="tiny", classes=names, method="LattePrototypes", captions=out, quiet=True)
    assert run.task.unlabeled is not None
    assert run.task.unlabeled.captioned.tolist() == [True] * 24 + [False]
    assert run.task.group_captions is not None


@pytest.mark.filterwarnings("ignore:.* texts are longer than")
def test_comparing_with_captions(photos: Path, tmp_path: Path) -> None:
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        place = tmp_path / "split" / ("test" if i % 4 == 0 else "train") / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    data, out = tmp_path / "split", tmp_path / "captions"
    api.caption(data, out, backbone="tiny", captioner="phrases", groups=2, quiet=True)
    methods = ["ZeroShot", "LattePrototypes"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*have no caption")  # those of the test part have none, and need none
        found = cw.compare(data, methods, shots=(0,), backbone="tiny", captions=out, quiet=True)
    assert {row["method"] for row in found.cells.to_pylist()} == set(methods)
