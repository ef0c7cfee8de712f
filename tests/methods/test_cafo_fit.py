"""What CaFo's fit is made of."""

from __future__ import annotations

import math

import pytest
import torch

from clipwright.methods.cafo_fit import class_shares, cosine_steps, held_rows, pick, step_batches, with_generated
from clipwright.task import Features

GRID = (torch.tensor([1.0, 10.0, 100.0]), torch.tensor([0.1, 1.0]))


def rows(labels: list[int], made: list[int]) -> Features:
    return Features(torch.eye(len(labels)), torch.tensor(labels), generated=torch.tensor(made, dtype=torch.bool))


def test_only_real_images_with_a_real_companion_are_held_out() -> None:
    support = rows([0, 0, 0, 1, 1, 2, 2, 3], [0, 0, 1, 0, 1, 1, 1, 0])
    assert held_rows(support).tolist() == [0, 1]
    assert held_rows(support[:0]).tolist() == []
    assert held_rows(Features(torch.eye(2), torch.tensor([0, 0]))).tolist() == [0, 1]


def test_generated_images_are_drawn_class_by_class() -> None:
    support = rows([0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1, 0])
    kept = with_generated(support, 1, seed=0, key="test")
    assert kept.labels.tolist() == [0, 0, 1, 1]
    assert kept.is_generated.sum() == 2
    assert with_generated(support, None, seed=0, key="test") is support
    drawn = {tuple(with_generated(support, 1, seed=s, key="test").x.argmax(1).tolist()) for s in range(100)}
    assert len(drawn) == 6


def test_shares_make_every_class_worth_as_much() -> None:
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    shares = class_shares(labels, 3)
    sums = torch.zeros(3, dtype=torch.float64).index_add_(0, labels, shares)
    torch.testing.assert_close(sums, torch.full((3,), 2.0, dtype=torch.float64))
    assert class_shares(torch.tensor([0, 1, 1, 0]), 2).tolist() == [1.0] * 4


def test_a_choice_weighs_rows_right_against_distance() -> None:
    counts = torch.tensor([[5, 5], [5, 5], [5, 5]])
    assert pick(counts, GRID, (10.0, 1.0), first=False) == [10.0, 1.0]
    assert pick(counts, GRID, (10.0, 1.0), first=True) == pytest.approx([1.0, 0.1])
    counts[2, 1] = 8  # three rows more, a decade off: four would be needed
    assert pick(counts, GRID, (10.0, 1.0), first=False) == [10.0, 1.0]
    counts[2, 1] = 10
    assert pick(counts, GRID, (10.0, 1.0), first=False) == [100.0, 1.0]


def test_the_schedule_ends_unless_it_is_the_overrunning_one() -> None:
    ends, runs_on = cosine_steps(1.0, 8, 8), cosine_steps(1.0, 8, 4)
    assert ends == sorted(ends, reverse=True)
    assert ends[0] == 1.0
    assert ends[-1] == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)
    assert runs_on[4] == pytest.approx(0)
    assert runs_on[7] > runs_on[6] > runs_on[5]


def test_batches_of_real_rows_come_before_those_of_generated_ones() -> None:
    support = rows([0] * 10, [1, 0, 0, 1, 1, 0, 0, 0, 1, 0])
    batches, real = step_batches(support, 4, seed=0)
    found = [support.is_generated[b].tolist() for b in batches(0)]
    assert found == [[False] * 4, [False] * 2, [True] * 4]
    assert real == 2
    assert sorted(torch.cat(batches(3)).tolist()) == list(range(10))
    assert [b.tolist() for b in batches(0)] != [b.tolist() for b in batches(1)]
    for made, expected in ((0, 1), (1, 0)):
        _, alone = step_batches(rows([0, 1], [made, made]), 4, seed=0)
        assert alone == expected
