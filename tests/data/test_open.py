"""One way in: which kind of source a name is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.data import FileReader, UnreadableImageError, open_data, open_images

Plant = Callable[..., Path]


def test_a_folder_named_like_an_embedded_set_comes_first(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(["a/1.png", "b/1.png"], tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    data = open_data("digits")
    assert data.class_names == ("a", "b")
    assert "move it away to have the embedded data set 'digits'" in data.notes[-1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere", r"there is no .*nowhere: .*embedded name \(digits, shapes"),
        ("x" * 5000, "there is no"),
        ("a\0b", "there is no"),
        ("image.png", "is no data set: give a folder"),
        ("model.pt", "is no data set"),
    ],
)
def test_what_is_no_source_says_what_is(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "image.png").touch()
    (tmp_path / "model.pt").touch()
    with pytest.raises(DataError, match=message):
        open_data(f"{tmp_path}/{source}")


def test_the_limit_reaches_the_reader(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(["a/1.png", "b/1.png"])
    data = open_data(root, max_pixels=15)
    assert data.reader is not None
    with pytest.raises(UnreadableImageError, match="4 x 4 pixels; the limit is 15"):
        data.reader.read("a/1.png")
    monkeypatch.setenv("CLIPWRIGHT_MAX_PIXELS", "16")
    assert open_data(root).reader == FileReader(root, 16)
    with pytest.raises(UsageError):
        open_data(root, max_pixels=0)


def test_images_to_classify(plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(["a/1.png", "a/2.png", "3.png", "notes/x.png"])
    (root / "text.txt").touch()
    monkeypatch.chdir(root)
    data = open_images(["3.png", "a", Path("a/1.png"), "gone.png", root / "3.png"])
    assert data.ids == ["3.png", "a/1.png", "a/2.png", "gone.png", str(root / "3.png")]
    assert data.class_names == ()
    assert data.labels.tolist() == [-1] * 5
    assert data.reader is not None
    assert data.reader.read("a/1.png").image.size == (4, 4)
    with pytest.raises(UnreadableImageError):
        data.reader.read("gone.png")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match=r"no images in .*void"):
        open_images([tmp_path / "void"])
    with pytest.raises(DataError, match="no images in no path"):
        open_images([])


def test_opening_and_reading_images_loads_neither_torch_nor_pandas(plant: Plant) -> None:
    root = plant(["a/1.png", "b/1.png"])
    code = (
        "import sys; from clipwright.data import open_data; data = open_data(sys.argv[1]); "
        "data.reader.read('a/1.png'); data.digest; data.take([0]).without_labels().splits; "
        "sys.exit(bool({'torch', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 0
