"""Which rows play which part."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clipwright.core.errors import DataError
from clipwright.data.dataset import Dataset
from clipwright.protocol.splits import pools

Make = Callable[..., Dataset]


def test_a_test_split_is_scored_and_a_training_split_drawn_from(make_dataset: Make) -> None:
    found = pools(make_dataset((2, 2), splits=["train", "test", "val", "train"]))
    assert found.train.tolist() == [0, 3]
    assert found.test is not None
    assert found.test.tolist() == [1]
    assert found.validation.tolist() == [2]


def test_rows_without_a_split_train_beside_a_test_split(make_dataset: Make) -> None:
    found = pools(make_dataset((2, 2), splits=["", "test", "", "test"]))
    assert found.train.tolist() == [0, 2]
    assert found.test is not None


def test_without_a_test_split_validation_is_scored(make_dataset: Make) -> None:
    found = pools(make_dataset((2, 2), splits=["train", "val", "train", "val"]))
    assert found.test is not None
    assert found.test.tolist() == [1, 3]
    assert not len(found.validation)
    assert "nothing is chosen on it" in found.note


def test_without_splits_each_draw_leaves_its_test_rows(make_dataset: Make) -> None:
    found = pools(make_dataset((2, 2), unlabeled=1))
    assert found.test is None
    assert found.train.tolist() == [0, 1, 2]
    assert found.unlabeled.tolist() == [3]


def test_rows_without_labels_are_never_drawn_or_scored(make_dataset: Make) -> None:
    found = pools(make_dataset((2, 2), splits=["train", "train", "test", "test"], unlabeled=1))
    assert found.test is not None
    assert found.test.tolist() == [2]
    assert not len(found.unlabeled)


def test_no_labels_at_all_are_refused(make_dataset: Make) -> None:
    with pytest.raises(DataError, match="no labelled images"):
        pools(make_dataset((2, 2), unlabeled=4))


def test_generated_rows_are_neither_drawn_nor_scored(make_dataset: Make) -> None:
    splits = ["train", "test", "generated", "train", "generated", "test"]
    found = pools(make_dataset((3, 3), splits=splits))
    assert found.train.tolist() == [0, 3]
    assert found.generated.tolist() == [2, 4]
    assert found.test is not None
    assert found.test.tolist() == [1, 5]
    whole = pools(make_dataset((3, 3), splits=["", "", "generated"] * 2))
    assert whole.train.tolist() == [0, 1, 3, 4]
    assert whole.test is None
    names_only = pools(make_dataset((2, 2), splits=["generated", "test"] * 2))
    assert not len(names_only.train)


def test_generated_images_alone_are_refused(make_dataset: Make) -> None:
    with pytest.raises(DataError, match="accuracy on generated images says little about real ones"):
        pools(make_dataset((2, 2), splits=["generated"] * 4))
