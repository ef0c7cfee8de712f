"""NearestMean against distances written out, with equal and unequal numbers of labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.methods.conformance import check_method
from clipwright.methods.example import example
from clipwright.methods.nearest_mean import NearestMean, class_means
from clipwright.task import Need


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


@pytest.mark.parametrize("kept", [slice(None), slice(1, None, 2)], ids=["equal counts", "unequal counts"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_logits_are_those_of_the_definition(distance: str, kept: slice) -> None:
    case = example({Need.LABELS}, shots=5)
    assert case.task.support is not None
    support = case.task.support[kept]
    fitted = NearestMean(distance=distance).fit(type(case.task)(case.task.class_names, None, support))  # type: ignore[arg-type] # a known name
    rows, y, test = unit(support.x.numpy()), support.labels.numpy(), unit(case.test.x.numpy())
    found = fitted(case.test).numpy()
    for i, v in enumerate(test):
        for c in range(5):
            mean = np.mean([r for r, label in zip(rows, y, strict=True) if label == c], axis=0)
            if distance == "cosine":
                assert found[i, c] == pytest.approx(100 * v @ mean / np.linalg.norm(mean), abs=1e-9)
            else:
                expected = -50 * np.sum((v - mean) ** 2) + 50
                assert found[i, c] == pytest.approx(expected, abs=1e-9)


def test_the_two_distances_agree_at_one_shot() -> None:
    case = example({Need.LABELS}, shots=1)
    cosine, euclidean = (NearestMean(distance=d).fit(case.task)(case.test) for d in ("cosine", "euclidean"))
    torch.testing.assert_close(euclidean, cosine - 50)


def test_class_means() -> None:
    found = class_means(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([1, 0, 1]), 2)
    assert found.tolist() == [[3.0, 4.0], [3.0, 4.0]]


def test_other_configurations_conform() -> None:
    check_method(NearestMean(distance="euclidean"))
