"""Class scores of a task: given, or made of texts and features."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from clipwright.core.errors import NeedsError
from clipwright.heads.refine import ChainHead, ScaleHead
from clipwright.methods.example import example
from clipwright.methods.scores import behind_scores, class_scores, text_head
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need

IDENTITY = ScaleHead(torch.ones(1, 5), torch.zeros(5))


def test_made_of_texts_they_are_what_names_alone_say() -> None:
    task = example({Need.LABELS, Need.TEXT}).task
    assert task.support is not None
    expected = ZeroShot().fit(task)(task.support)
    torch.testing.assert_close(class_scores(task, task.support)[:, 0], expected)
    head = behind_scores(task, IDENTITY)
    assert isinstance(head, ChainHead)
    torch.testing.assert_close(head(task.support.x).softmax(1), expected.softmax(1).float(), atol=1e-4, rtol=1e-4)
    assert text_head(task).weight.dtype == torch.float64


def test_given_ones_are_taken_as_they_are() -> None:
    made = example({Need.LABELS, Need.TEXT}).task
    assert made.support is not None
    scores = torch.randn(len(made.support), 2, 5)
    task = dataclasses.replace(made, support=dataclasses.replace(made.support, scores=scores))
    assert task.support is not None
    assert torch.equal(class_scores(task, task.support), scores)
    assert behind_scores(task, IDENTITY) is IDENTITY


def test_without_either_it_says_what_is_needed() -> None:
    task = example({Need.LABELS}).task
    with pytest.raises(NeedsError, match="class scores"):
        class_scores(task, Features(torch.zeros(1, 16)))
