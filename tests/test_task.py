"""Features, TextFeatures and Task: what they accept, refuse, and keep together when cut."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clipwright.core.errors import DataError
from clipwright.methods.example import ExampleTower, example
from clipwright.task import Access, AveragingRule, Features, Need, Task, TextFeatures, check_class_names

RULES: tuple[AveragingRule, ...] = ("raw_mean", "unit_mean", "mean_unit_renorm")


def rows(n: int = 6, dim: int = 3, **fields: Any) -> Features:
    return Features(torch.arange(n * dim, dtype=torch.float32).reshape(n, dim) + 1, **fields)


def full(n: int = 6) -> Features:
    """Rows whose every field carries the row's number."""
    number = torch.arange(n, dtype=torch.float32)[:, None]
    return Features(
        number.expand(n, 3),
        torch.arange(n),
        tuple(f"row {i}" for i in range(n)),
        views=number[:, None].expand(n, 4, 3),
        pre_projection=number.expand(n, 5),
        second=number,
        source=lambda i: f"image {i}",
    )


def numbers(part: Features) -> list[int]:
    """The row numbers that `part` holds, after checking that all fields agree on them."""
    found = [int(v) for v in part.x[:, 0]]
    assert part.views is not None
    assert part.pre_projection is not None
    assert part.second is not None
    assert part.ids is not None
    assert part.source is not None
    for values in (part.labels, part.views[:, 0, 0], part.pre_projection[:, 0], part.second[:, 0]):
        assert values.tolist() == found
    assert list(part.ids) == [f"row {i}" for i in found]
    assert [part.source(i) for i in range(len(part))] == [f"image {i}" for i in found]
    return found


class TestFeatures:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_arrays_of_any_width_are_taken_as_they_are(self, dtype: type) -> None:
        x: Any = np.ones((2, 3), dtype)
        taken = Features(x).x
        assert taken.numpy().dtype == dtype
        assert np.shares_memory(taken.numpy(), x)

    def test_lists_and_integers_become_float32(self) -> None:
        assert Features([[1, 2], [3, 4]]).x.dtype == torch.float32  # type: ignore[arg-type] # lists are converted

    def test_a_memory_map_is_read_without_a_warning(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
        mapped: Any = np.load(tmp_path / "x.npy", mmap_mode="r")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(Features(mapped)) == 2

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"x": [1.0, 2.0]}, r"image features must have 2 dimensions; the array has 1, shape \(2,\)"),
            ({"x": "cats"}, "can't be read as an array"),
            ({"x": [["a"]]}, "can't be read as an array"),
            ({"y": [0, 1]}, "y has 2 rows but there are 6 image features"),
            ({"y": torch.zeros(6)}, "labels must be integers; they are torch.float32"),
            ({"y": torch.full((6,), -2)}, "or -1 for unlabeled; one is -2"),
            ({"ids": ("a",)}, "ids has 1 rows"),
            ({"views": torch.zeros(6, 3)}, "views must have 3 dimensions"),
            ({"views": torch.zeros(6, 2, 4)}, "views have 4 dimensions but the clean view has 3"),
            ({"views": torch.zeros(5, 2, 3)}, "views has 5 rows"),
            ({"pre_projection": torch.zeros(5, 2)}, "pre_projection has 5 rows"),
            ({"second": torch.zeros(6)}, "second must have 2 dimensions"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            Features(**{"x": torch.zeros(6, 3), **fields})
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("name", ["x", "views", "pre_projection", "second"])
    def test_nan_and_infinity_are_refused_with_the_row(self, name: str, bad: float) -> None:
        shape = (6, 2, 3) if name == "views" else (6, 3)
        value = torch.zeros(shape)
        value[4] = bad
        with pytest.raises(DataError, match=r"NaN or infinity in 1 of 6 rows \(first: row 4\)"):
            Features(**{"x": torch.zeros(6, 3), name: value})  # type: ignore[arg-type] # names of tensors

    def test_nan_is_found_in_arrays_larger_than_one_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("clipwright.task._SCAN", 7)
        x = torch.zeros(50, 3)
        Features(x)
        x[41, 2] = torch.nan
        with pytest.raises(DataError, match="row 41"):
            Features(x)

    def test_no_rows_are_fine(self) -> None:
        empty = full()[:0]
        assert len(empty) == 0
        assert empty.dim == 3
        assert numbers(empty) == []
        assert Features(torch.zeros(0, 3)).unit_x().shape == (0, 3)

    @given(st.data())
    @settings(max_examples=60, deadline=None)
    def test_cutting_keeps_every_field_together(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(0, 7))
        kind = data.draw(st.sampled_from(["slice", "mask", "list", "array", "tensor"]))
        index: Any
        if kind == "slice":
            ends = st.none() | st.integers(-9, 9)
            step = data.draw(st.sampled_from([None, 1, 2, -1, -3]))
            index = slice(data.draw(ends), data.draw(ends), step)
            expected = list(range(n))[index]
        elif kind == "mask":
            index = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
            expected = [i for i in range(n) if index[i]]
        else:
            index = data.draw(st.lists(st.integers(-n, n - 1), max_size=9)) if n else []
            expected = [i % n for i in index]
            index = np.array(index, np.int64) if kind == "array" else index
            index = torch.tensor(index) if kind == "tensor" else index
        assert numbers(full(n)[index]) == expected

    def test_a_cut_of_a_cut_reads_the_right_images(self) -> None:
        assert numbers(full()[[4, 2, 0, 5]][torch.tensor([True, False, True, True])][-2:]) == [0, 5]

    def test_a_slice_shares_memory(self) -> None:
        whole = rows()
        assert whole[2:4].x.data_ptr() == whole.x[2:].data_ptr()

    @pytest.mark.parametrize(
        ("index", "message"),
        [
            (3, "a slice, a boolean mask or a list"),
            ([6], r"must lie in 0\.\.5"),
            ([-7], r"must lie in 0\.\.5"),
            ([0.5], "must be integers"),
            ([True, False], "one entry per row: it has 2, there are 6"),
            ([[0, 1]], "a slice, a boolean mask or a list"),
        ],
    )
    def test_rows_that_are_not_there_are_refused(self, index: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            full()[index]

    def test_labels_can_be_taken_off(self) -> None:
        assert rows(y=torch.zeros(6, dtype=torch.int64)).without_labels().labels.tolist() == [-1] * 6
        assert rows().labels.tolist() == [-1] * 6

    @given(arrays(np.float64, (4, 3), elements=st.floats(-1e6, 1e6, width=32)))
    def test_unit_rows_have_length_one_or_zero(self, x: np.ndarray) -> None:
        lengths = np.linalg.norm(Features(torch.from_numpy(x)).unit_x().numpy(), axis=1)
        expected = np.minimum(1, np.linalg.norm(x, axis=1) / 1e-12)
        np.testing.assert_allclose(lengths, expected, rtol=1e-9)

    def test_half_precision_rows_are_normalised_in_single(self) -> None:
        huge = Features(torch.full((1, 4), 60000, dtype=torch.float16))
        torch.testing.assert_close(huge.unit_x(), torch.full((1, 4), 0.5))


def reference(x: np.ndarray, classes: np.ndarray, rule: AveragingRule) -> np.ndarray:
    """The averaging rules in float64, class by class."""

    def unit(v: np.ndarray) -> np.ndarray:
        return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))

    members = [x[classes == c] for c in range(classes.max() + 1)]
    if rule == "raw_mean":
        return np.stack([m.mean(0) for m in members])
    means = np.stack([unit(m).mean(0) for m in members])
    return means if rule == "unit_mean" else unit(means)


class TestTextFeatures:
    @pytest.mark.parametrize("rule", RULES)
    @given(st.integers(1, 5), st.integers(2, 6), st.integers(0, 9), st.integers(0, 999))
    @settings(max_examples=25, deadline=None)
    def test_averaging_is_the_reference(self, rule: AveragingRule, C: int, D: int, extra: int, seed: int) -> None:
        # from two dimensions on: in one, the unit rows of a class may cancel
        made = np.random.default_rng(seed)
        classes = np.concatenate([np.arange(C), made.integers(0, C, extra)])
        made.shuffle(classes)
        x = made.normal(2, 1, (len(classes), D))
        for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
            found = TextFeatures(torch.from_numpy(x).to(dtype), torch.from_numpy(classes)).classifier(rule)
            assert found.dtype == dtype
            np.testing.assert_allclose(found.numpy(), reference(x, classes, rule), rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("rule", RULES)
    def test_a_dense_array_is_prompt_major(self, rule: AveragingRule) -> None:
        x = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        text = TextFeatures(x)
        assert len(text) == 12
        assert text.n_classes == 4
        expected = reference(x.flatten(0, 1).numpy(), np.tile(np.arange(4), 3), rule)
        np.testing.assert_allclose(text.classifier(rule).numpy(), expected, rtol=1e-12)

    def test_one_text_per_class(self) -> None:
        x = torch.eye(3) * 2
        assert torch.equal(TextFeatures(x).classifier("raw_mean"), x)

    def test_half_precision_is_averaged_in_single(self) -> None:
        assert TextFeatures(torch.ones(2, 3, dtype=torch.float16)).classifier().dtype == torch.float32

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"x": torch.ones(4)}, "text features must have 2 or 3 dimensions"),
            ({"x": torch.ones(2, 3, 4), "class_index": [0, 1]}, "take no class_index"),
            ({"class_index": [0, 1]}, "class_index has 2 rows but there are 4"),
            ({"class_index": [0, 1, -1, 0]}, "must not be negative"),
            ({"class_index": [0.0, 1.0, 1.0, 0.0]}, "must be integers"),
            ({"kind": ("template",)}, "kind has 1 rows"),
            ({"rival": [0]}, "rival has 1 rows"),
            ({"rival": [0, 0, 0, -2]}, "rival must be"),
            ({"texts": ("a cat",)}, "texts has 1 rows"),
            ({"x": torch.full((4, 3), torch.nan)}, "text features hold NaN or infinity in 4 of 4"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            TextFeatures(**{"x": torch.ones(4, 3), **fields})

    def test_a_class_without_text_is_named(self) -> None:
        with pytest.raises(DataError, match="class number 1 has no text"):
            TextFeatures(torch.ones(2, 3), torch.tensor([0, 2])).classifier()

    def test_no_texts_have_no_classes(self) -> None:
        assert TextFeatures(torch.zeros(0, 3)).n_classes == 0

    def test_cutting_keeps_every_field_together(self) -> None:
        text = TextFeatures(
            torch.eye(4),
            torch.tensor([0, 0, 1, 1]),
            ("template", "attribute", "template", "one-vs-one"),
            torch.tensor([-1, -1, -1, 0]),
            ("a", "b", "c", "d"),
        )
        part = text[[3, 1]]
        assert part.classes.tolist() == [1, 0]
        assert part.kind == ("one-vs-one", "attribute")
        assert part.rivals.tolist() == [0, -1]
        assert part.texts == ("d", "b")
        assert part.x.argmax(1).tolist() == [3, 1]
        assert text.describing().texts == ("a", "c")
        assert text.describing("attribute").texts == ("b", "c")
        assert text.describing("synonym").texts == ("a", "b", "c")

    def test_some_classes_in_another_order_and_one_of_them_twice(self) -> None:
        text = TextFeatures(
            torch.arange(6.0)[:, None],
            torch.tensor([0, 1, 2, 0, 1, 2]),
            kind=("template",) * 3 + ("ovo",) * 3,
            rival=torch.tensor([-1, -1, -1, 1, 2, 0]),
            texts=tuple("abcdef"),
        )
        some = text.of_classes([2, 0])
        assert some.texts == ("a", "c", "f")  # of the one-vs-one rows only 2 against 0
        assert some.classes.tolist() == [1, 0, 0]
        assert some.rivals.tolist() == [-1, -1, 1]
        assert some.kind == ("template", "template", "ovo")
        twice = TextFeatures(torch.arange(4.0).reshape(2, 2, 1)).of_classes(iter([1, 0, 1]))
        assert sorted(zip(twice.classes.tolist(), twice.x[:, 0].tolist(), strict=True)) == [
            *((0, 1), (0, 3), (1, 0), (1, 2), (2, 1), (2, 3))
        ]
        assert len(text.of_classes([])) == 0


class TestTask:
    names = ("cat", "dog", "owl")

    def labelled(self, *labels: int) -> Features:
        return rows(len(labels), y=torch.tensor(labels, dtype=torch.int64))

    def test_labels_of_unlabeled_and_query_rows_are_taken_off(self) -> None:
        task = Task(self.names, unlabeled=self.labelled(0, 1), query=self.labelled(2))
        assert task.unlabeled is not None
        assert task.query is not None
        assert task.unlabeled.y is None
        assert task.query.y is None

    def test_shots_are_counted_per_class(self) -> None:
        assert Task(self.names, support=self.labelled(2, 0, 2)).shots == (1, 0, 2)
        assert Task(self.names).shots == (0, 0, 0)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"class_names": ()}, "there are no classes"),
            ({"class_names": ("cat", "dog", "cat")}, "'cat' appears twice"),
            ({"class_names": ("cat", " ", "dog")}, "a class name is empty"),
            ({"class_names": ("cat", 3, "dog")}, "must be text; one is 3"),
            ({"text": TextFeatures(torch.ones(2, 3))}, "texts of 2 classes but 3 class names: give each"),
            ({"support": rows(2, y=[0, 3])}, r"support set must lie in 0\.\.2; they range from 0 to 3"),
            ({"support": rows(2, y=[0, -1])}, r"from -1 to 0 \(rows without a label go to `unlabeled`\)"),
            ({"support": rows(2)}, "rows without a label"),
            ({"validation": rows(1, y=[7])}, "labels of the validation set"),
            ({"query": rows(2, 4), "text": TextFeatures(torch.ones(3, 3))}, "same width; they have: query 4, text 3"),
            ({"logit_scale": 0.0}, "logit_scale must be positive"),
            ({"logit_scale": float("nan")}, "logit_scale must be positive"),
            ({"logit_scale": float("inf")}, "positive and finite"),
            ({"projection": torch.ones(3)}, "projection must have 2 dimensions"),
            ({"projection": torch.ones(5, 4), "query": rows()}, r"D = 3, the features' width"),
            (
                {"projection": torch.ones(5, 3), "query": rows(pre_projection=torch.ones(6, 4))},
                "query set are 4 wide, but the projection takes 5",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            Task(**{"class_names": self.names, **fields})
        assert "\n" not in str(caught.value)

    @given(st.lists(st.integers(-3, 6), min_size=1, max_size=8), st.integers(1, 5))
    def test_labels_are_accepted_exactly_within_the_classes(self, labels: list[int], C: int) -> None:
        names = tuple(f"class {c}" for c in range(C))
        if all(0 <= label < C for label in labels):
            assert sum(Task(names, support=self.labelled(*labels)).shots) == len(labels)
        else:
            with pytest.raises(DataError, match="label"):
                Task(names, support=self.labelled(*labels))

    def test_supplies_says_what_is_there(self) -> None:
        assert Task(self.names).supplies() == set()
        assert Task(self.names, support=self.labelled()).supplies() == set()
        assert Task(self.names, query=rows()).supplies() == {Need.QUERY, Need.RAW_NORMS}
        assert Task(self.names, query=rows(unit=True)).supplies() == {Need.QUERY}
        assert example().task.supplies() == set(Need)

    def test_stored_features_grant_features_and_a_model_grants_more(self) -> None:
        assert Task(self.names).grants() == {Access.FEATURES, Access.SCORES}
        assert Task(self.names, access=ExampleTower(4)).grants() == {Access.FEATURES, Access.SCORES, Access.WEIGHTS}

    def test_a_model_that_keeps_its_features_grants_none(self) -> None:
        rows = Features(torch.zeros(2, 0), torch.tensor([0, 1]), handles=("a", "b"))
        assert Task(self.names, support=rows).grants() == frozenset()
        scored = Features(torch.zeros(2, 0), torch.tensor([0, 1]), scores=torch.randn(2, len(self.names)))
        assert scored.scores is not None
        assert scored.scores.shape == (2, 1, len(self.names))
        assert Task(self.names, support=scored).grants() == {Access.SCORES}
        assert scored[[1]].scores is not None
        assert rows[[1]].handles == ("b",)


def test_class_names_are_checked_alone_too() -> None:
    check_class_names(["cat", "Cat", "chat"])
    with pytest.raises(DataError, match="twice"):
        check_class_names(iter(["cat", "cat"]))
