"""Captions as a Task holds them: aligned, encoded by the backbone, missing ones told."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.protocol.conftest import MakePrepared

from clipwright.backbones import resolve
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.protocol.captions import add_captions
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.task import Need

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Two images without a label, and one of each class to score."""
    for i, path in enumerate(("train/a.png", "train/b.png", "test/red/c.png", "test/dark_blue/d.png")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * i, 9, 9)).save(tmp_path / path)
    return prepare(open_data(tmp_path, ["red", "dark blue"]), resolve("tiny", device="cpu"), quiet=True)


def test_captions_are_rows_and_missing_ones_are_told(prepared: Prepared) -> None:
    ids = prepared.dataset.ids
    train = [name for name in ids if name.startswith("train")]
    with pytest.warns(UserWarning, match=r"1 of 2 images of the training side have no caption \('train/b.png'\)"):
        found = add_captions(prepared, {"train/a.png": " a red thing ", "train/b.png": "", "elsewhere.png": "x"})
    assert train == ["train/a.png", "train/b.png"]
    row = ids.index("train/a.png")
    assert found.features.captioned.tolist() == [i == row for i in range(4)]
    assert found.features.caption_texts is not None
    assert found.features.caption_texts[row] == "a red thing"
    assert prepared.ref is not None
    wanted = prepared.ref.load().texts(["a red thing"])[0]
    assert found.features.captions is not None
    torch.testing.assert_close(found.features.captions[row], wanted)
    task = found.task(unlabeled=[ids.index(name) for name in train])
    assert Need.CAPTIONS in task.supplies()
    assert task.unlabeled is not None
    assert task.unlabeled.captioned.tolist() == [True, False]


def test_group_captions_belong_to_classes_by_name_or_number(prepared: Prepared) -> None:
    whole = {"train/a.png": "one", "train/b.png": "two"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_name = add_captions(prepared, whole, {"Dark_Blue": ["deep", "night"], "red": ["fire", " "], "green": ["z"]})
        by_number = add_captions(prepared, whole, {1: ["deep", "night"], 0: ["fire"], 5: ["z"]})
    for found in (by_name, by_number):
        groups = found.group_captions
        assert groups is not None
        assert groups.texts == ("fire", "deep", "night")
        assert groups.classes.tolist() == [0, 1, 1]
        assert set(groups.kind) == {"caption"}
        assert found.task(unlabeled=[0]).group_captions is groups
    assert add_captions(prepared, whole, {"red": [""]}).group_captions is None


def test_captions_of_something_else_are_refused(prepared: Prepared) -> None:
    with pytest.raises(DataError, match="none of the 1 caption is of an image of"):
        add_captions(prepared, {"elsewhere.png": "x"})
    with pytest.raises(DataError, match=r"all group captions are of classes that .* doesn't have \('green'\)"):
        add_captions(prepared, {"train/a.png": "one", "train/b.png": "two"}, {"green": ["x"]})


def test_a_backbone_that_encodes_no_texts_is_refused(make_prepared: MakePrepared) -> None:
    with pytest.raises(UsageError, match="encodes no texts, so captions can't be used"):
        add_captions(make_prepared(), {"img/000.png": "x"})
