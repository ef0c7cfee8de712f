"""A fitted classifier gives its head what it asks for, and never hands on NaN."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from clipwright.core.errors import DataError, NeedsError
from clipwright.fitted import Fitted, FitTrace
from clipwright.heads.base import Head, Input
from clipwright.heads.blend import BlendHead
from clipwright.heads.linear import LinearHead
from clipwright.task import Features


class SecondHead(LinearHead):
    """A linear head on the second tower."""

    inputs: ClassVar[tuple[Input, ...]] = ("second",)


def test_the_head_is_called_with_the_inputs_it_names() -> None:
    head: Head = BlendHead([LinearHead(torch.eye(2)), SecondHead(torch.ones(2, 3))], [1.0, 2.0])
    features = Features(torch.tensor([[1.0, 0.0]]), second=torch.tensor([[3.0, 0.0, 0.0]]))
    assert Fitted(head)(features).tolist() == [[300.0, 200.0]]


def test_an_input_that_is_missing_is_named() -> None:
    with pytest.raises(NeedsError, match="needs second features"):
        Fitted(SecondHead(torch.ones(2, 3)))(Features(torch.ones(1, 2)))


def test_a_prediction_carries_no_gradient() -> None:
    head = LinearHead(torch.eye(2).requires_grad_())
    assert not Fitted(head)(Features(torch.ones(1, 2))).requires_grad


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_infinity_are_never_handed_on(bad: float) -> None:
    with pytest.raises(DataError, match=r"NaN or infinity \(weight\)"):
        Fitted(LinearHead(torch.full((2, 2), bad)))
    with pytest.raises(DataError, match="the answers to the query"):
        Fitted(LinearHead(torch.eye(2)), query_logits=torch.full((2, 2), bad))


def test_time_adds_up_even_when_the_block_fails() -> None:
    trace = FitTrace()

    def fail() -> Any:
        with trace.timed():
            raise ValueError

    with trace.timed():
        pass
    once = trace.seconds
    with pytest.raises(ValueError):  # noqa: PT011 - the one raised above
        fail()
    assert trace.seconds > once > 0
