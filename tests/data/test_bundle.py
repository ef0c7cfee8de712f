"""Feature bundles: the real ones, a first-format one that must load for ever, and everything that may be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.data import open_bundle, open_data, save_bundle

N, C, D, P = 7, 3, 4, 2

Arrays = dict[str, Any]


@pytest.fixture
def arrays(rng: np.random.Generator) -> Arrays:
    return {
        "image_features": rng.normal(size=(N, D)).astype(np.float16),
        "labels": np.array([0, 1, 2, -1, 0, 1, 2]),
        "class_names": np.array(["a_x", "b", "ç"]),
        "text_features": rng.normal(size=(P, C, D)).astype(np.float16),
        "prompts": np.array(["a {}", "the {}"]),
        "views": rng.normal(size=(N, 5, D)).astype(np.float32),
        "pre_projection": rng.normal(size=(N, 6)).astype(np.float32),
        "projection": rng.normal(size=(6, D)).astype(np.float32),
        "second": rng.normal(size=(N, 3)).astype(np.float32),
        "split": np.array(["train", "val", "test", "train", "", "test", "Training"]),
        "logit_scale": np.float32(50),
    }


def write(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("model", ["clip_rn50", "clip_vitb32", "georsclip_vitl14", "remoteclip_vitb32"])
def test_real_bundles(model: str, shared: Path) -> None:
    data = open_data(shared / "realdata" / f"whurs19_{model}.npz")
    assert (len(data), len(data.class_names)) == (1005, 19)
    assert data.bundle is not None
    assert data.bundle.text is not None
    assert data.bundle.features.unit
    assert data.bundle.features.x.dtype == torch.float16
    assert len(data.bundle.text) == 106 * 19
    assert data.bundle.prompts is not None
    assert len(data.bundle.prompts) == 106
    assert data.bundle.logit_scale == 100
    assert data.notes == ()
    logits = data.bundle.features.unit_x() @ data.bundle.text.classifier().T
    accuracy = 100 * (logits.argmax(1).numpy() == data.labels).mean()
    published = {"clip_rn50": 71.54, "clip_vitb32": 81.29, "georsclip_vitl14": 88.46, "remoteclip_vitb32": 95.22}
    assert round(float(accuracy), 2) == published[model]


def test_all_keys(arrays: Arrays, tmp_path: Path) -> None:
    data = open_data(write(tmp_path / "b.npz", arrays))
    assert data.class_names == ("a_x", "b", "ç")
    assert data.labels.tolist() == [0, 1, 2, -1, 0, 1, 2]
    assert data.splits.tolist() == ["train", "val", "test", "train", "", "test", "train"]
    assert data.ids == list("0123456")
    assert data.bundle is not None
    features, text = data.bundle.features, data.bundle.text
    assert not features.unit
    assert features.x.dtype == torch.float16
    assert text is not None
    for key in ("views", "pre_projection", "second"):
        np.testing.assert_array_equal(getattr(features, key).numpy(), arrays[key])
    np.testing.assert_array_equal(text.x.numpy(), arrays["text_features"].reshape(-1, D))
    assert data.bundle.projection is not None
    np.testing.assert_array_equal(data.bundle.projection, arrays["projection"])
    assert (data.bundle.logit_scale, data.bundle.prompts) == (50.0, ("a {}", "the {}"))


@pytest.mark.parametrize("compress", [True, False])
def test_a_saved_bundle_comes_back(compress: bool, arrays: Arrays, tmp_path: Path) -> None:
    data = open_data(write(tmp_path / "b.npz", arrays), name="mine").take([4, 2, 0])
    save_bundle(tmp_path / "sub" / "c.npz", data, compress=compress)
    again = open_bundle(tmp_path / "sub" / "c.npz")
    assert again.ids == data.ids == ["4", "2", "0"]
    assert (again.class_names, again.labels.tolist()) == (data.class_names, data.labels.tolist())
    assert again.splits.tolist() == data.splits.tolist()
    assert data.bundle is not None
    assert again.bundle is not None
    for name in ("x", "views", "pre_projection", "second"):
        assert torch.equal(getattr(again.bundle.features, name), getattr(data.bundle.features, name))
    assert torch.equal(again.bundle.text.x, data.bundle.text.x)  # type: ignore[union-attr] # both have texts
    assert again.bundle.prompts == data.bundle.prompts


def test_the_first_format_loads() -> None:
    """A committed file of format 1 must load for ever."""
    data = open_bundle(Path(__file__).parent / "bundle_v1.npz")
    assert data.class_names == ("cat", "polar bear")
    assert data.labels.tolist() == [0, 1, -1, 1]
    assert data.splits.tolist() == ["train", "test", "train", "val"]
    assert data.ids == ["cats/1.jpg", "bears/1.jpg", "who.jpg", "bears/2.jpg"]
    assert data.templates == ("a photo of a {}.",)
    assert data.bundle is not None
    assert torch.equal(data.bundle.features.x, torch.arange(12).reshape(4, 3).to(torch.float16) / 8)
    assert data.bundle.text is not None
    assert data.bundle.text.x.shape == (2, 3)
    assert data.bundle.logit_scale == 64


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_unit_length_is_detected_and_said(dtype: Any, arrays: Arrays, tmp_path: Path) -> None:
    x = arrays["image_features"].astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    arrays["image_features"] = x.astype(dtype)
    data = open_data(write(tmp_path / "b.npz", arrays))
    assert data.bundle is not None
    assert data.bundle.features.unit
    data = open_data(write(tmp_path / "b.npz", {**arrays, "unit": np.array(False)}))
    assert data.bundle is not None
    assert not data.bundle.features.unit


def test_what_is_absent_has_a_default(arrays: Arrays, tmp_path: Path) -> None:
    few = {"image_features": arrays["image_features"], "extra": np.array([object()], dtype=object)}
    path = write(tmp_path / "b.npz", few)
    with pytest.raises(DataError, match="no 'class_names'"):
        open_data(path)
    data = open_data(path, ["x_1", "y"])
    assert data.class_names == ("x 1", "y")
    assert data.labels.tolist() == [-1] * N
    assert data.bundle is not None
    assert data.bundle.text is None
    assert data.bundle.logit_scale == 100


def test_classes_rename_and_labels_can_be_dropped(arrays: Arrays, tmp_path: Path) -> None:
    path = write(tmp_path / "b.npz", arrays)
    assert open_data(path, ["x", "y", "z"]).class_names == ("x", "y", "z")
    dropped = open_data(path, labels=False)
    assert dropped.labels.tolist() == [-1] * N
    assert dropped.bundle is not None
    assert dropped.bundle.features.labels.tolist() == [-1] * N
    with pytest.raises(DataError, match="another order"):
        open_data(path, ["b", "a x", "ç"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_features": None}, "no array 'image_features'"),
        ({"image_features": np.zeros((N, D, 1))}, "'image_features' must have 2 dimensions"),
        ({"image_features": np.array(["x"] * N)}, "'image_features' must be numbers"),
        ({"image_features": np.zeros((0, D)), "labels": np.zeros(0, int)}, "no rows of image features|entries"),
        ({"image_features": np.full((N, D), np.nan)}, "NaN or infinity in 7 of 7 rows"),
        ({"image_features": np.zeros((N, D))}, "are all zeros in 7 of 7 rows"),
        ({"labels": np.zeros(3, int)}, "there are 3 labels but 7 rows"),
        ({"labels": np.zeros(N)}, "'labels' must be a list of whole numbers"),
        ({"labels": np.full(N, 3)}, "labels run from 3 to 3 but there are 3 class names"),
        ({"labels": np.full(N, -2)}, "labels run from -2"),
        ({"class_names": np.array(["a", "a", "b"])}, "'a' appears twice"),
        ({"class_names": np.array([1, 2, 3])}, "'class_names' must be a list of strings"),
        ({"text_features": np.zeros((2, D))}, "text features are of 2 classes but there are 3"),
        ({"text_features": np.zeros((P, C, D + 1))}, "text features have 5 dimensions but image features have 4"),
        ({"prompts": np.array(["one"])}, "1 prompts but text features of 2"),
        ({"prompts": np.array(["one"]), "text_features": None}, None),
        ({"views": np.zeros((N, 5, D + 1))}, "views have 5 dimensions"),
        ({"views": np.zeros((N, D))}, "'views' must have 3 dimensions"),
        ({"second": np.zeros((2, 3))}, "second has 2 rows"),
        ({"projection": np.zeros((5, D))}, r"'projection' must have the shape \(6, 4\)"),
        ({"split": np.array(["fold"] * N)}, "the split 'fold'"),
        ({"split": np.array(["train"])}, "'split' has 1 entries"),
        ({"logit_scale": np.float32(0)}, "'logit_scale' must be positive"),
        ({"logit_scale": np.array(["x"])}, "'logit_scale' must be one number"),
        ({"ids": np.array(["a"] * N)}, "'ids' appear twice"),
        ({"format": np.array(2)}, "bundle format 2, this clipwright reads up to 1: update"),
        ({"labels": np.array([object()] * N, dtype=object)}, "Python objects, which are never loaded"),
    ],
)
def test_faults_are_one_sentence(change: Arrays, message: str | None, arrays: Arrays, tmp_path: Path) -> None:
    arrays.update(change)
    path = write(tmp_path / "b.npz", {key: value for key, value in arrays.items() if value is not None})
    if message is None:
        open_data(path)
        return
    with pytest.raises((DataError, FormatError), match=message) as caught:
        open_data(path)
    assert "b.npz" in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "npy", "flipped", "folder"])
def test_damaged_files_are_refused(damage: str, arrays: Arrays, tmp_path: Path) -> None:
    path = write(tmp_path / "b.npz", arrays)
    data = path.read_bytes()
    middle = len(data) // 3
    if damage == "npy":
        with path.open("wb") as stream:
            np.save(stream, arrays["image_features"])
    elif damage == "folder":
        path = tmp_path / "none.npz"
        np.savez(path)
    else:
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        path.write_bytes({"empty": b"", "text": b"hello", "cut": data[:middle], "flipped": flipped}[damage])
    with pytest.raises(FormatError, match="bundle") as caught:
        open_data(path)
    assert "pickle" not in str(caught.value)


def test_the_digest_follows_the_content(arrays: Arrays, tmp_path: Path) -> None:
    path = write(tmp_path / "b.npz", arrays)
    before = open_data(path).digest
    assert open_data(path).digest == before
    arrays["image_features"][0, 0] += 1
    assert open_data(write(path, arrays)).digest != before


def test_images_cannot_be_saved_as_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="extract them first"):
        save_bundle(tmp_path / "b.npz", open_data("digits"))
