"""Criteria that judge a merge without test labels, against a few lines each."""

from __future__ import annotations

import math

import pytest
import torch

from clipwright.methods.merge_choice import best_alpha, mutual_information, neighbour_agreement


def test_mutual_information_by_hand() -> None:
    logits = torch.randn(40, 5, dtype=torch.float64) * 3
    p = logits.softmax(1)
    mean = p.mean(0)
    expected = sum(-m * math.log(m) for m in mean.tolist())
    expected += sum(x * math.log(x) for row in p.tolist() for x in row) / len(p)
    assert mutual_information(logits) == pytest.approx(expected, rel=1e-10)


def test_mutual_information_at_its_ends() -> None:
    sure = torch.full((10, 5), -1e4)
    sure[torch.arange(10), torch.arange(10) % 5] = 1e4
    assert mutual_information(sure) == pytest.approx(math.log(5))
    assert mutual_information(sure[:1].expand(7, 5)) == pytest.approx(0)
    assert mutual_information(torch.zeros(7, 5)) == pytest.approx(0)


def test_neighbour_agreement_by_loops() -> None:
    logits, x = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64)
    p, unit = logits.softmax(1), x / x.norm(dim=1, keepdim=True)
    values = []
    for i in range(12):
        near = sorted((j for j in range(12) if j != i), key=lambda j: -float(unit[i] @ unit[j]))[:4]
        values += [float(p[i] @ p[j]) for j in near]
    assert neighbour_agreement(logits, x, k=4) == pytest.approx(sum(values) / len(values), rel=1e-10)


def test_neighbour_agreement_of_two_images() -> None:
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0]])
    assert neighbour_agreement(logits, torch.randn(2, 3)) == pytest.approx(1)
    assert neighbour_agreement(logits * torch.tensor([[1.0], [-1.0]]), torch.randn(2, 3)) == pytest.approx(0)


def test_of_equals_the_nearest_to_half_wins() -> None:
    assert best_alpha({0.0: 1.0, 0.3: 1.0, 0.7: 1.0, 1.0: 1.0}) == 0.3
    assert best_alpha({0.0: 1.0, 1.0: 2.0}) == 1.0
    assert best_alpha({0.2: 1.0, 0.4: 1.0}, prefer=0.1) == 0.2
