from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.synthetic.viewer import photos

import clipwright
from clipwright.synthetic.captions import read_captions

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / "home"))


@pytest.mark.slow
def test_groups_are_of_what_zero_shot_takes_for_one_class_and_labels_do_not_count(tmp_path: Path) -> None:
    data = clipwright.open_data("digits").take(np.arange(0, 1200, 6))
    done = clipwright.caption(data, tmp_path / "a", backbone="tiny", groups=5, quiet=True)
    assert done.captions is not None
    labels = dict(zip(data.ids, data.labels.tolist(), strict=True))
    test = {name for name, split in zip(data.ids, data.splits, strict=True) if split == "test"}
    assert set(done.captions.ids) == set(data.ids) - test
    right = Counter(labels[m] == e.group.class_index for e in done.captions.groups for m in e.group.members)
    assert right[True] > 0.5 * right.total()  # the embedded model reads 71 % of them
    assert right[False]  # true labels would make no mistake
    other = clipwright.caption(data.without_labels(), tmp_path / "b", backbone="tiny", groups=5, quiet=True)
    assert other.captions == done.captions == read_captions(tmp_path / "a")


def test_a_list_of_names_or_a_file_of_them(tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    done = clipwright.caption(
        tmp_path / "photos",
        tmp_path / "out",
        classes=["red", "green", "blue"],
        backbone="tiny",
        groups="all",
        quiet=True,
    )
    assert done.captions is not None
    assert len(done.captions.images) == 12
    assert sum(len(done.captions.group_texts(name)) for name in done.captions.class_names) == 12
    again = clipwright.caption(
        tmp_path / "photos",
        tmp_path / "out",
        classes=tmp_path / "names.txt",
        backbone="tiny",
        groups="all",
        quiet=True,
    )
    assert (again.summary["made"], again.captions) == (0, done.captions)
