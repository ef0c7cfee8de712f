"""Which texts help: against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.methods.text_value import agreement, helpful, leave_one_out_gain, redundancy
from clipwright.task import Features, TextFeatures

KINDS = ("name", "attribute", "attribute", "name", "attribute", "name", "one-vs-one", "one-vs-one")
CLASSES, RIVALS = (0, 0, 0, 1, 1, 2, 0, 2), (-1, -1, -1, -1, -1, -1, 2, 1)


def bank(seed: int = 0) -> TextFeatures:
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((8, 5)))
    return TextFeatures(x, torch.tensor(CLASSES), KINDS, torch.tensor(RIVALS))


def unit(x: torch.Tensor) -> np.ndarray:
    return np.asarray(x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True))


def test_agreement_is_with_the_own_name_against_others() -> None:
    rows = unit(bank().x)
    names = rows[[0, 3, 5]]
    expected = []
    for row, c, r in zip(rows, CLASSES, RIVALS, strict=True):
        others = [names[r]] if r >= 0 else [n for k, n in enumerate(names) if k != c]
        expected.append(row @ names[c] - max(row @ n for n in others))
    np.testing.assert_allclose(agreement(bank()), expected, atol=1e-12)
    assert torch.equal(agreement(bank()[[0, 1]]), torch.zeros(2, dtype=torch.float64))


def test_only_the_second_of_two_that_say_the_same_is_redundant() -> None:
    text = bank()
    x = text.x.clone()
    x[2] = 3 * x[1]
    x[4] = x[1]  # of another class
    x[6] = x[1]  # of another pair
    found = redundancy(TextFeatures(x, text.classes, KINDS, text.rivals))
    assert float(found[2]) == pytest.approx(1)
    rows = unit(x)
    assert float(found[1]) == pytest.approx(rows[1] @ rows[0])
    assert found[[0, 3, 5, 6, 7]].tolist() == [-1] * 5
    assert float(found[4]) == pytest.approx(rows[4] @ rows[3])


@pytest.mark.parametrize("seed", range(3))
def test_gain_is_leaving_a_text_out(seed: int) -> None:
    text, rng = bank(seed), np.random.default_rng(seed)
    labelled = Features(torch.from_numpy(rng.standard_normal((30, 5))), torch.from_numpy(rng.integers(0, 3, 30)))
    x, rows, y = unit(labelled.x), unit(text.x), labelled.labels.numpy()

    def judged(left: list[int]) -> tuple[int, float]:
        logits = np.stack([4 * (x @ rows[[t for t in left if CLASSES[t] == c]].T).mean(1) for c in range(3)], 1)
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return int((logits.argmax(1) == y).sum()), float(log[np.arange(30), y].mean())

    found = leave_one_out_gain(text, labelled, scale=4.0)
    every = [t for t in range(8) if RIVALS[t] < 0]
    whole = judged(every)
    for t in range(8):
        if RIVALS[t] >= 0 or CLASSES[t] == 2:
            assert found.rows[t] == found.nats[t] == 0
            continue
        without = judged([k for k in every if k != t])
        assert int(found.rows[t]) == whole[0] - without[0]
        assert float(found.nats[t]) == pytest.approx(whole[1] - without[1])


def test_gain_needs_labels() -> None:
    with pytest.raises(DataError, match="labelled rows"):
        leave_one_out_gain(bank(), Features(torch.ones(2, 5)))
    with pytest.raises(DataError, match="labelled rows"):
        leave_one_out_gain(bank(), Features(torch.ones(0, 5)))


def test_what_misleads_or_repeats_is_not_helpful_but_a_class_keeps_a_text() -> None:
    x = torch.eye(4, dtype=torch.float64)
    rows = torch.stack([x[0], x[1], x[0] + 0.3 * x[2], x[0] + 0.3 * x[2], 0.2 * x[0] + x[1], x[0] + x[3]])
    kinds = ("name", "name", "attribute", "attribute", "attribute", "attribute")
    text = TextFeatures(rows, torch.tensor([0, 1, 0, 0, 0, 1]), kinds)
    assert helpful(text).tolist() == [True, True, True, False, False, False]
    nameless = TextFeatures(rows[[0, 4, 5]], torch.tensor([0, 1, 1]), ("name", "attribute", "attribute"))
    assert helpful(nameless, least=2.0).tolist() == [True, True, False]
