"""From data to features: alignment, views, copies, what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipwright.backbones import resolve
from clipwright.core.errors import DataError, UsageError
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.protocol.prepare import add_views, prepare


def colour(path: Path, value: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 36), value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for i in range(4):
        colour(root / "red" / f"{i}.png", (200 + i, 0, 0))
        colour(root / "blue" / f"{i}.png", (0, 0, 200 + i))
    (root / "blue" / "broken.png").write_bytes(b"no image")
    return root


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_rows_are_aligned_and_the_broken_one_is_listed(folder: Path) -> None:
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    assert [i for i, _ in prepared.problems] == ["blue/broken.png"]
    assert len(prepared.dataset) == len(prepared.features) == len(prepared.contents) == 8
    assert prepared.features.ids == tuple(prepared.dataset.ids)
    assert prepared.features.labels.tolist() == prepared.dataset.labels.tolist()
    assert prepared.text is not None
    assert prepared.text.n_classes == 2
    assert prepared.projection is not None
    assert prepared.features.pre_projection is not None
    again = prepared.features.pre_projection @ prepared.projection
    torch.testing.assert_close(again, prepared.features.x, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_prompts_say_the_names_that_were_told_apart(folder: Path) -> None:
    (folder / "red").rename(folder / "red (n1)")
    (folder / "blue").rename(folder / "red (n2)")
    colour(folder / "green" / "0.png", (0, 200, 0))
    data = dataclasses.replace(open_data(folder), prompt_names=("green", "red", "red"))
    prepared = prepare(data, resolve("tiny"), templates=["a {}.", "the {}!"], quiet=True)
    assert data.class_names == ("green", "red (n1)", "red (n2)")
    assert prepared.text is not None
    said = sorted(zip(prepared.text.classes.tolist(), prepared.text.texts or (), strict=True))
    assert [text for _, text in said] == ["a green.", "the green!", "a red.", "the red!", "a red.", "the red!"]
    assert [c for c, _ in said] == [0, 0, 1, 1, 2, 2]
    rows = prepared.text.classifier()
    torch.testing.assert_close(rows[1], rows[2], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_views_belong_to_the_rows_asked_for(folder: Path) -> None:
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    seen = add_views(prepared, [5, 1], 3, quiet=True)
    views = seen.rows([1, 5]).views
    assert views is not None
    assert views.shape == (2, 3, prepared.features.dim)
    assert seen.rows([1, 2]).views is None
    flipped = seen.rows([5, 1]).views
    assert flipped is not None
    torch.testing.assert_close(flipped, views.flip(0))
    assert "views" in seen.task([1, 5]).supplies()


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_copies_on_both_sides_are_told(tmp_path: Path) -> None:
    colour(tmp_path / "train" / "a" / "0.png", (1, 2, 3))
    colour(tmp_path / "train" / "b" / "0.png", (9, 9, 9))
    colour(tmp_path / "test" / "a" / "7.png", (1, 2, 3))
    colour(tmp_path / "test" / "b" / "8.png", (5, 5, 5))
    prepared = prepare(open_data(tmp_path), resolve("tiny"), quiet=True)
    assert any("exact cop" in note for note in prepared.notes)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_copies_in_one_pool_are_told(folder: Path) -> None:
    colour(folder / "red" / "copy.png", (200, 0, 0))
    prepared = prepare(open_data(folder), resolve("tiny"), quiet=True)
    assert any("exact copy of another" in note for note in prepared.notes)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_no_readable_image_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 2 images"):
        prepare(open_data(tmp_path), resolve("tiny"), quiet=True)


def test_a_bundle_takes_no_backbone(make_dataset: Callable[..., Dataset]) -> None:
    with pytest.raises(UsageError, match="leave out backbone"):
        prepare(make_dataset(), resolve("tiny"))
    with pytest.raises(UsageError, match="no images to augment"):
        add_views(prepare(make_dataset(), None), [0], 2)


def test_a_task_holds_no_other_label(make_dataset: Callable[..., Dataset]) -> None:
    prepared = prepare(make_dataset(), None)
    task = prepared.task([0, 12, 24], unlabeled=np.arange(1, 10))
    assert task.shots == (1, 1, 1)
    assert task.unlabeled is not None
    assert task.unlabeled.y is None
