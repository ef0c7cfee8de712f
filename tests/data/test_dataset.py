"""What a data set tells about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError, UsageError
from clipwright.data import Dataset, manifest, open_data
from clipwright.data.dataset import SCHEMA, Split, column, numbers, split_array, strings

Plant = Callable[..., Path]


@pytest.fixture
def data() -> Dataset:
    table = manifest(
        ["a", "b", "c", "d"], np.array([0, 1, -1, 1]), split_array(["train", "test", "", "train"]), sizes=np.arange(4)
    )
    return Dataset("d", ("cat", "Polar_Bear"), table)


def test_columns_follow_the_schema(data: Dataset) -> None:
    assert data.table.schema == SCHEMA
    assert manifest([], np.empty(0)).schema == SCHEMA


def test_rows_counts_and_labels(data: Dataset) -> None:
    assert data.rows().tolist() == [0, 1, 2, 3]
    assert data.rows("train", "").tolist() == [0, 2, 3]
    assert data.counts().tolist() == [1, 2]
    assert data.counts("train").tolist() == [1, 1]
    assert data.is_labelled.tolist() == [True, True, False, True]
    assert data.without_labels().labels.tolist() == [-1] * 4
    assert data.with_notes("x").notes == ("x",)


def test_shots_are_drawn_from_real_rows_where_there_are_any(data: Dataset) -> None:
    assert data.is_training.tolist() == [True, False, True, True]
    place = data.table.schema.get_field_index("split")
    mixed: list[Split] = ["train", "generated", "test", "generated"]
    alone: list[Split] = ["generated"] * 4
    some, all_ = (
        replace(data, table=data.table.set_column(place, "split", split_array(splits))) for splits in (mixed, alone)
    )
    assert some.is_generated.tolist() == [False, True, False, True]
    assert some.is_training.tolist() == [True, False, False, False]
    assert some.rows("generated").tolist() == [1, 3]
    assert all_.is_training.all()
    assert not len(data.take([]).is_training)


def test_take_keeps_order_and_names(data: Dataset) -> None:
    part = data.take([3, 0])
    assert part.ids == ["d", "a"]
    assert part.labels.tolist() == [1, 0]
    assert part.class_names == data.class_names
    assert len(data.take([])) == 0


def test_align_maps_by_name(data: Dataset) -> None:
    assert data.align(("dog", "polar bear", "Cat")).labels.tolist() == [2, 1, -1, 1]
    with pytest.raises(DataError, match=r"has images of 'cat', which the classifier doesn't know"):
        data.align(("polar bear",))
    assert data.take([1, 2]).align(("polar bear",)).labels.tolist() == [0, -1]


def test_digest_follows_size_time_and_name(plant: Plant) -> None:
    root = plant(["a/1.png", "b/1.png"])
    before = open_data(root).digest
    assert open_data(root).digest == before
    (root / "a/1.png").rename(root / "a/2.png")
    assert open_data(root).digest != before
    (root / "a/2.png").rename(root / "a/1.png")
    assert open_data(root).digest == before
    (root / "a/1.png").write_bytes(b"other")
    assert open_data(root).digest != before


def test_digest_tells_where_ids_end() -> None:
    one = Dataset("d", ("x",), manifest(["ab", "c"], np.zeros(2)))
    two = Dataset("d", ("x",), manifest(["a", "bc"], np.zeros(2)))
    assert one.digest != two.digest


def test_slices_and_chunks_read_the_same(data: Dataset) -> None:
    table = pa.concat_tables([data.table.slice(3, 1), data.table.slice(1, 2), data.table.slice(0, 0)])
    part = Dataset("d", data.class_names, table)
    assert part.labels.tolist() == [1, 1, -1]
    assert part.splits.tolist() == ["train", "test", ""]
    assert part.digest == data.take([3, 1, 2]).digest


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_strings_come_back(texts: list[str]) -> None:
    column = strings(texts)
    column.validate(full=True)
    assert column.to_pylist() == texts


@given(st.lists(st.integers(-128, 127)), st.integers(0, 3))
def test_numbers_come_back(values: list[int], skip: int) -> None:
    for type_, dtype in ((pa.int8(), "i1"), (pa.int32(), "<i4"), (pa.int64(), "<i8")):
        packed = column(np.array(values, dtype=np.int64), type_)
        packed.validate(full=True)
        assert packed.to_pylist() == values
        assert numbers(packed.slice(skip), dtype).tolist() == values[skip:]


def subset_case() -> Dataset:
    """Five classes, each with a train and a test image, and an unlabeled image."""
    labels = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0, -1])
    splits = np.array([1] * 5 + [3] * 5 + [1], dtype=np.int8)  # train, test, train
    table = manifest([f"{i:02d}" for i in range(11)], labels, split_array(splits))
    names = ("a", "b (1)", "c", "b (2)", "d")
    return Dataset("five", names, table, prompt_names=("a", "b", "c", "b", "d"))


def test_base_is_the_larger_half_and_both_are_numbered_from_0() -> None:
    whole = subset_case()
    base, new = whole.class_subset("base"), whole.class_subset("new")
    assert (base.class_names, new.class_names) == (whole.class_names[:3], whole.class_names[3:])
    assert (base.prompt_names, new.prompt_names) == (("a", "b", "c"), ("b", "d"))
    assert (base.ids, base.labels.tolist()) == (["00", "01", "02", "07", "08", "09", "10"], [0, 1, 2, 2, 1, 0, -1])
    assert (new.ids, new.labels.tolist()) == (["03", "04", "05", "06", "10"], [0, 1, 1, 0, -1])
    assert base.splits.tolist() == ["train"] * 3 + ["test"] * 3 + ["train"]
    assert "3 of 5" in base.notes[-1]
    assert base.class_subset("base").class_names == ("a", "b (1)")


def test_what_is_no_half_is_refused() -> None:
    with pytest.raises(UsageError, match="base or new; it is 'old'"):
        subset_case().class_subset("old")  # type: ignore[arg-type] # on purpose
    single = subset_case().class_subset("base").class_subset("new").class_names
    assert single == ("c",)
    with pytest.raises(DataError, match="single class"):
        subset_case().class_subset("base").class_subset("new").class_subset("base")


def test_the_texts_of_a_bundle_follow_its_classes() -> None:
    import torch

    from clipwright.data.dataset import Bundle
    from clipwright.task import Features, TextFeatures

    whole = subset_case()
    text = TextFeatures(torch.arange(10.0).reshape(2, 5, 1))
    features = Features(torch.arange(11.0)[:, None], y=torch.from_numpy(whole.labels))
    new = replace(whole, bundle=Bundle(features, text)).class_subset("new")
    assert new.bundle is not None
    assert new.bundle.features.x[:, 0].tolist() == [3, 4, 5, 6, 10]
    assert new.bundle.features.labels.tolist() == [0, 1, 1, 0, -1]
    assert new.bundle.text is not None
    assert new.bundle.text.x[:, 0].tolist() == [3, 4, 8, 9]
    assert new.bundle.text.classes.tolist() == [0, 1, 0, 1]
