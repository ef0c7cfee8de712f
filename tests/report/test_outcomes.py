"""Galleries, class scores and confusions from what was said of each image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from clipwright.core.intervals import wilson
from clipwright.core.metrics import negative_log_likelihood, softmax
from clipwright.data.dataset import SCHEMA, Dataset, DecodedImage, UnreadableImageError
from clipwright.report.outcomes import SHOWN, Outcomes

_NAMES = ("cat", "dog", "cow")


@dataclass
class Shelf:
    """A reader of coloured squares; one of them is damaged."""

    read_: list[str] = field(default_factory=list)

    def read(self, source: str) -> DecodedImage:
        self.read_.append(source)
        if source == "file 3":
            raise UnreadableImageError("damaged")
        return DecodedImage(Image.new("RGB", (200, 100), (int(source[5:]) % 255, 0, 0)), "")


def _dataset(n: int) -> tuple[Dataset, Shelf]:
    rows = [
        {"id": f"id {i}", "source": f"file {i}", "label": 0, "split": "", "size": 0, "mtime_ns": 0} for i in range(n)
    ]
    shelf = Shelf()
    return Dataset("shelf", _NAMES, pa.Table.from_pylist(rows, schema=SCHEMA), reader=shelf), shelf


def _outcomes(n: int = 90, seed: int = 0, wrong: float = 0.3) -> Outcomes:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    predicted = np.where(rng.random(n) < wrong, (label + 1) % 3, label)
    return Outcomes([f"id {i}" for i in range(n)], label, predicted, rng.random(n), _NAMES)


def test_class_scores_count_rows_and_leave_empty_classes_out() -> None:
    said = Outcomes(["a", "b", "c"], np.array([0, 0, 2]), np.array([0, 1, 2]), np.ones(3), _NAMES)
    cat, cow = said.class_scores()
    assert (cat.name, cat.right, cat.total, cat.share) == ("cat", 1, 2, 0.5)
    interval = wilson(1, 2)
    assert (cat.low, cat.high) == (interval.low, interval.high)
    assert cow.name == "cow"


def test_confusions_are_the_commonest_mistakes_most_first() -> None:
    label = np.array([0] * 5 + [1] * 4 + [2] * 3)
    predicted = np.array([1, 1, 1, 0, 0, 2, 2, 1, 1, 0, 2, 2])
    said = Outcomes([str(i) for i in range(12)], label, predicted, np.ones(12), _NAMES)
    assert [(c.label, c.predicted, c.count, c.total) for c in said.confusions()] == [
        ("cat", "dog", 3, 5),
        ("dog", "cow", 2, 4),
    ]
    single = Outcomes(["a"], np.array([0]), np.array([1]), np.ones(1), _NAMES)
    assert len(single.confusions()) == 1
    assert not Outcomes(["a"], np.array([0]), np.array([0]), np.ones(1), _NAMES).confusions()


def test_mistakes_are_shown_by_confidence_and_right_ones_class_by_class() -> None:
    said = _outcomes()
    right, wrong, doubtful = said.galleries(None)
    assert len(right.examples) == len(wrong.examples) == len(doubtful.examples) == SHOWN
    assert all(e.correct for e in right.examples)
    assert not any(e.correct for e in wrong.examples)
    sure = [e.confidence for e in wrong.examples]
    assert sure == sorted(sure, reverse=True)
    assert sure[0] == said.confidence[said.label != said.predicted].max()
    assert sorted([e.label for e in right.examples].count(name) for name in _NAMES) == [4, 4, 4]
    assert [e.confidence for e in doubtful.examples] == sorted(said.confidence)[:SHOWN]
    assert len(said.galleries(None, 6)[0].examples) == 6


def test_the_order_of_rows_does_not_change_what_is_shown() -> None:
    said = _outcomes()
    order = np.random.default_rng(3).permutation(90)
    moved = Outcomes(
        [said.ids[i] for i in order], said.label[order], said.predicted[order], said.confidence[order], _NAMES
    )
    for one, other in zip(said.galleries(None), moved.galleries(None), strict=True):
        assert {e.id for e in one.examples} == {e.id for e in other.examples}


def test_only_what_is_shown_is_read_and_damaged_images_go_without_a_picture() -> None:
    dataset, shelf = _dataset(6)
    said = Outcomes([f"id {i}" for i in range(2, 5)], np.array([0, 1, 2]), np.array([0, 1, 1]), np.ones(3), _NAMES)
    galleries = said.galleries(dataset)
    assert sorted(shelf.read_) == ["file 2", "file 3", "file 4"]
    pictures = {e.id: e.thumbnail for g in galleries for e in g.examples}
    assert pictures["id 3"] is None
    assert (pictures["id 2"] or "").startswith("data:image/png;base64,")


def test_images_whose_class_nobody_gave_have_no_verdict() -> None:
    said = _outcomes()
    guesses = Outcomes(said.ids, np.full(90, -1), said.predicted, said.confidence, _NAMES)
    some, doubtful = guesses.unlabeled_galleries(None)
    assert all(e.correct is None and e.label is None for e in (*some.examples, *doubtful.examples))
    assert doubtful.examples[0].confidence == pytest.approx(said.confidence.min())


def test_no_mistakes_make_no_gallery() -> None:
    right, doubtful = _outcomes(wrong=0).galleries(None)
    assert (right.title, doubtful.title) == ("Named right", "Least certain")


def test_logits_give_what_is_said_before_and_after_the_temperature(rng: np.random.Generator) -> None:
    raw = 4 * rng.standard_normal((50, 3))
    label = rng.integers(0, 3, 50)
    ids = [str(i) for i in range(50)]
    said = Outcomes.of_logits(ids, label, raw / 2.5, _NAMES, 2.5)
    assert said.before is not None
    np.testing.assert_allclose(said.before, softmax(raw).max(axis=1))
    np.testing.assert_allclose(said.confidence, softmax(raw / 2.5).max(axis=1))
    assert said.figures_before["nll"] == pytest.approx(negative_log_likelihood(raw, label))
    before, after = said.reliability()
    assert sum(b.share * b.confidence for b in before) == pytest.approx(said.before.mean())
    assert sum(b.share * b.confidence for b in after) == pytest.approx(said.confidence.mean())
    plain = Outcomes.of_logits(ids, label, raw, _NAMES)
    assert plain.before is None
    assert plain.reliability()[1] == ()


def test_the_matrix_counts_true_classes_in_rows() -> None:
    found = Outcomes(["a", "b", "c"], np.array([0, 0, 2]), np.array([0, 1, 2]), np.ones(3), _NAMES).matrix()
    assert found is not None
    assert found.counts == ((1, 1, 0), (0, 0, 0), (0, 0, 1))
