from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright import open_data
from clipwright.backbones import resolve
from clipwright.core.errors import UsageError
from clipwright.synthetic.pairs import all_pairs, confusable_pairs, pairs_of_predictions, pairs_of_texts

pytestmark = pytest.mark.filterwarnings("ignore:the embedded model")


def reference(score: np.ndarray, per_class: int) -> list[tuple[int, int]]:
    found = set()
    for i in range(len(score)):
        others = sorted((j for j in range(len(score)) if j != i), key=lambda j: (-score[i, j], j))
        found |= {tuple(sorted((i, j))) for j in others[:per_class]}
    return sorted(found)  # type: ignore[arg-type] # two numbers each


def test_pairs_of_texts_are_nearest_neighbours(rng: np.random.Generator) -> None:
    w = rng.normal(size=(9, 5))
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    for k in (1, 2, 8, 20):
        assert pairs_of_texts(torch.tensor(w), k) == reference(unit @ unit.T, k)
    assert pairs_of_texts(torch.tensor(w), 20) == all_pairs(9)
    assert pairs_of_texts(torch.tensor(w[:1]), 3) == []


def test_pairs_of_predictions_weigh_the_five_best(rng: np.random.Generator) -> None:
    logits = rng.normal(size=(40, 8)) * 2
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    score = np.zeros((8, 8))
    for row in p:
        top = np.argsort(-row)[:5]
        for i in top:
            for j in top:
                score[i, j] += row[i] * row[j]
    assert pairs_of_predictions(torch.tensor(logits), 2) == reference(score, 2)


def test_classes_that_nothing_confuses_have_no_pair() -> None:
    sure = torch.eye(4) * 1000
    assert pairs_of_predictions(sure, 3) == []
    sure[0, 1] = 1000  # an image that is either
    assert pairs_of_predictions(sure, 3) == [(0, 1)]


def test_a_missing_backbone_or_missing_images_are_told() -> None:
    with pytest.raises(UsageError, match="--pairs all"):
        confusable_pairs(["a", "b"], "texts", per_class=1, backbone=None)
    assert confusable_pairs(["a", "b", "c"], "all", per_class=1, backbone=None) == [(0, 1), (0, 2), (1, 2)]
    with pytest.raises(UsageError, match="needs images"):
        confusable_pairs(["a", "b"], "images", per_class=1, backbone=resolve("tiny"))


def test_a_bundle_predicts_with_its_own_texts(tmp_path: Path, rng: np.random.Generator) -> None:
    texts = np.eye(4, dtype="f4")
    near = texts[[0, 0, 0, 1, 2, 3]] + 0.9 * texts[[1, 1, 1, 0, 3, 2]]
    splits = np.array(["train"] * 4 + ["test"] * 2)
    np.savez(
        tmp_path / "b.npz",
        image_features=near,
        labels=np.array([3, 3, 3, 3, 2, 3]),  # nonsense: they aren't read
        class_names=np.array(list("abcd")),
        text_features=texts,
        split=splits,
    )
    data = open_data(tmp_path / "b.npz")
    assert confusable_pairs(data.class_names, "images", per_class=1, backbone=None, dataset=data) == [(0, 1)]
    expected = pairs_of_texts(torch.tensor(texts), 1)
    assert confusable_pairs(data.class_names, "texts", per_class=1, backbone=None, dataset=data) == expected


@pytest.mark.slow
def test_images_are_those_of_training_and_their_labels_do_not_matter() -> None:
    data = open_data("digits")
    rows = data.rows("train")[:200]
    some = data.take(np.concatenate([rows, data.rows("test")[:50]]))
    options = {"per_class": 1, "backbone": resolve("tiny"), "quiet": True}
    found = confusable_pairs(some.class_names, "images", dataset=some, **options)  # type: ignore[arg-type] # see above
    assert 1 <= len(found) <= 10
    assert found == confusable_pairs(some.class_names, "images", dataset=data.take(rows).without_labels(), **options)  # type: ignore[arg-type]
    tests = data.take(data.rows("test"))
    with pytest.raises(UsageError, match="outside its validation and test"):
        confusable_pairs(tests.class_names, "images", dataset=tests, **options)  # type: ignore[arg-type]
    texts = confusable_pairs(some.class_names, "texts", **options)  # type: ignore[arg-type]
    assert 5 <= len(texts) <= 10
