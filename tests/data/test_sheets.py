from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from clipwright.core.errors import DataError
from clipwright.data.embedded import load_embedded
from clipwright.data.sheets import COLUMNS, ROWS, classes_shown, contact_sheet


def test_all_classes_while_there_is_room() -> None:
    assert classes_shown(3) == (0, 1, 2)
    assert len(classes_shown(168)) == len(set(classes_shown(168))) == ROWS
    assert max(classes_shown(168)) < 168


def test_rows_are_classes_and_images_of_the_train_part() -> None:
    content = contact_sheet("digits")
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    data = load_embedded("digits")
    assert sheet.shape[0] == 10 * 36 - 4
    train = data.rows("train")
    eights = data.images[train[data.labels[train] == 8][:COLUMNS]]
    left = sheet.shape[1] - COLUMNS * 32
    apart = sheet[8 * 36 : 8 * 36 + 32, left:] - np.concatenate(list(eights), axis=1)
    assert np.abs(apart).max() < 8  # colours are rounded to those of a palette
    assert len(content) < 150_000
    assert (sheet[36 : 36 + 32, :left] < 128).any()  # the name


def test_no_such_data_set() -> None:
    with pytest.raises(DataError, match="choose from digits"):
        contact_sheet("birds")
