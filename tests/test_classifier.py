"""Predicting, saving, loading, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipwright
from clipwright.assets import datasets
from clipwright.backbones import resolve
from clipwright.classifier import FORMAT, Classifier
from clipwright.core.errors import BackboneError, DataError, FormatError, NeedsError, UsageError
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.linear import LinearHead
from clipwright.heads.refine import ScaleHead
from clipwright.task import Features

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")

NAMES = ("ant", "bee", "<script>")


def small(backbone: bool = False, temperature: float = 2.0) -> Classifier:
    """Three classes over four-dimensional features, or over those of the embedded model."""
    torch.manual_seed(0)
    ref = resolve("tiny") if backbone else None
    head = LinearHead(torch.nn.functional.normalize(torch.randn(3, ref.load().dim if ref else 4)), scale=10.0)
    trace = FitTrace(chosen={"alpha": 0.5}, how={"alpha": "fixed"}, labels_per_class=(1, 1, 1), losses=[1.0])
    card = {"method": "Test", "labels_per_class": [1, 1, 1]}
    described = ref.describe() if ref else None
    return Classifier(Fitted(head, trace=trace), NAMES, backbone=described, temperature=temperature, card=card)


@pytest.fixture
def features() -> Features:
    torch.manual_seed(1)
    return Features(torch.randn(7, 4))


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = []
    for i, image in enumerate(datasets.load("digits").images[:5]):
        paths.append(tmp_path / f"{i} it's.png")
        Image.fromarray(image).save(paths[-1])
    return paths


def test_probabilities_are_a_softmax_at_the_temperature(features: Features) -> None:
    classifier = small()
    found = classifier.predict_proba(features)
    expected = torch.softmax(classifier.logits(features).double() / 2.0, 1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert classifier.predict(features).tolist() == [NAMES[i] for i in expected.argmax(1)]


def test_round_trip_is_exact(features: Features, tmp_path: Path) -> None:
    classifier = small()
    folder = classifier.save(tmp_path / "saved")
    again = Classifier.load(folder)
    np.testing.assert_array_equal(classifier.predict_proba(features), again.predict_proba(features))
    assert again.describe() == json.loads(json.dumps(classifier.describe()))
    assert not list(folder.glob("*.pkl"))
    assert not list(folder.glob("*.pt"))
    assert "ant" in (folder / "README.md").read_text(encoding="utf-8")


def test_paths_images_and_arrays_agree(images: list[Path]) -> None:
    classifier = small(backbone=True)
    by_path = classifier.predict_proba(images, batch_size=2)
    opened = [Image.open(path) for path in images]
    np.testing.assert_allclose(by_path, classifier.predict_proba(opened), atol=1e-6)
    arrays = [np.asarray(image) for image in opened]
    np.testing.assert_allclose(by_path, classifier.predict_proba(arrays), atol=1e-6)
    assert classifier.predict_proba([]).shape == (0, 3)


def test_a_broken_image_does_not_stop_the_stream(images: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    missing = tmp_path / "missing.jpg"
    classifier = small(backbone=True)
    found = list(classifier.predict_iter([images[0], broken, images[1], missing, images[2]], batch_size=2))
    assert [p.error is None for p in found] == [True, False, True, False, True]
    assert [p.path for p in found] == [str(p) for p in (images[0], broken, images[1], missing, images[2])]
    whole = classifier.predict_proba(images[:3])
    np.testing.assert_allclose([p.confidence for p in found if p.label], whole.max(1), atol=1e-6)
    assert all(p.top[0] == (p.label, p.confidence) for p in found if p.label)
    with pytest.raises(DataError, match="use predict_iter"):
        classifier.predict([broken])


def test_an_opened_image_is_read_as_its_file(tmp_path: Path) -> None:
    classifier = small(backbone=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(noise).save(tmp_path / "clear.png")
    Image.fromarray(noise[..., :3]).save(tmp_path / "turned.jpg", exif=turned)
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    paths = [tmp_path / name for name in ("clear.png", "turned.jpg", "deep.png")]
    opened = [Image.open(path) for path in paths]
    np.testing.assert_allclose(classifier.predict_proba(opened), classifier.predict_proba(paths), atol=1e-6)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(paths[1].read_bytes()[:-900])
    (found,) = classifier.predict_iter([Image.open(cut)])
    assert "cut short" in str(found.error)


def test_an_images_number_is_not_taken_for_a_path(images: list[Path]) -> None:
    classifier = small(backbone=True)
    opened = Image.open(images[0])
    found = list(classifier.predict_iter(["1", opened, images[3]]))  # the opened image has the number 1
    assert [p.error is None for p in found] == [False, True, True]
    assert [p.confidence for p in found[1:]] == pytest.approx(classifier.predict_proba([opened, images[3]]).max(1))


def test_one_image_is_not_a_list(images: list[Path]) -> None:
    with pytest.raises(UsageError, match="give a list"):
        small(backbone=True).predict(str(images[0]))


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_an_image(images: list[Path], size: int) -> None:
    with pytest.raises(UsageError, match="batch_size"):
        small(backbone=True).predict_proba(images, batch_size=size)


def test_a_head_of_features_takes_no_images(images: list[Path]) -> None:
    with pytest.raises(BackboneError, match="give it features"):
        small().predict(images)


def test_an_occupied_folder_is_kept_unless_allowed(features: Features, tmp_path: Path) -> None:
    small().save(tmp_path)
    with pytest.raises(UsageError, match="holds a classifier already"):
        small().save(tmp_path)
    other = small(temperature=3.0)
    other.save(tmp_path, overwrite=True)
    np.testing.assert_array_equal(Classifier.load(tmp_path).predict_proba(features), other.predict_proba(features))


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "classifier.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": FORMAT + 1}, "newer"),
        ({"kind": "something else"}, "not written by clipwright"),
        ({"weights": "../head.safetensors"}, "outside its folder"),
        ({"head": {"kind": "Pickle", "config": {}}}, "does not know"),
        ({"class_names": ["one"]}, "damaged"),
        ({"class_names": [1, 2, 3]}, "must be text"),
        ({"class_names": ["a", "b", "b"]}, "twice"),
        ({"temperature": -1.0}, "damaged"),
        ({"trace": {"nonsense": 1}}, "damaged"),
        ({"sha256": "0"}, "damaged"),
    ],
)
def test_what_is_not_ours_is_refused_with_a_reason(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    small().save(tmp_path)
    _edit(tmp_path, **changes)
    with pytest.raises(FormatError, match=reason):
        Classifier.load(tmp_path)


def test_missing_and_cut_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no saved classifier"):
        Classifier.load(tmp_path)
    small().save(tmp_path)
    weights = next(tmp_path.glob("head-*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(FormatError, match="damaged"):
        Classifier.load(tmp_path)
    weights.unlink()
    with pytest.raises(FormatError, match="lacks"):
        Classifier.load(tmp_path)
    (tmp_path / "classifier.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match="can't be read"):
        Classifier.load(tmp_path)


def test_other_weights_are_refused(tmp_path: Path, images: list[Path]) -> None:
    classifier = small(backbone=True)
    classifier.save(tmp_path / "saved")
    assert classifier.backbone is not None
    files = dict.fromkeys(classifier.backbone["files"], "0" * 64)
    _edit(tmp_path / "saved", backbone=classifier.backbone | {"files": files})
    with pytest.raises(BackboneError, match="other weights"):
        Classifier.load(tmp_path / "saved").predict(images)


def test_saving_over_another_leaves_no_stale_weights(tmp_path: Path) -> None:
    small().save(tmp_path)
    torch.manual_seed(5)
    head = LinearHead(torch.randn(3, 4))
    Classifier(Fitted(head), NAMES, backbone=None).save(tmp_path, overwrite=True)
    assert len(list(tmp_path.glob("head-*.safetensors"))) == 1


def test_names_and_head_must_agree() -> None:
    with pytest.raises(DataError, match="2 names"):
        Classifier(small().fitted, ["a", "b"], backbone=None)


def test_a_classifier_neither_fits_nor_compares() -> None:
    assert not hasattr(Classifier, "fit")
    assert not hasattr(Classifier, "compare")
    assert callable(clipwright.fit)
    assert callable(clipwright.compare)


def test_version_1_loads_for_ever(features: Features) -> None:
    found = Classifier.load(Path(__file__).parent / "data" / "classifier_v1")
    expected = small().predict_proba(features)
    np.testing.assert_allclose(found.predict_proba(features), expected, rtol=1e-6)


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "mine.jpg").write_bytes(b"x")
    (tmp_path / "tower" / "tower-1.safetensors").write_bytes(b"x")
    small().save(tmp_path)
    small().save(tmp_path, overwrite=True)
    assert sorted(p.name for p in (tmp_path / "tower").iterdir()) == ["mine.jpg", "tower-1.safetensors"]


def test_a_prompt_travels_with_the_head(tmp_path: Path) -> None:
    prompt = torch.randn(4, 8)
    head = ScaleHead(torch.ones(1, 3), torch.zeros(3))
    Classifier(Fitted(head, prompt=prompt), NAMES, backbone=None).save(tmp_path)
    loaded = Classifier.load(tmp_path)
    assert loaded.fitted.prompt is not None
    assert torch.equal(loaded.fitted.prompt, prompt)
    assert torch.equal(loaded.fitted.head.state_dict()["weight"], head.weight)
    with pytest.raises(NeedsError, match="with its endpoint at hand"):
        loaded.logits(Features(torch.zeros(1, 0), handles=("a",)))


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        small().save(path)
    with pytest.raises(FormatError, match="no saved classifier"):
        Classifier.load(path)
