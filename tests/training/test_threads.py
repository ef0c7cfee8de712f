"""Small work runs in one thread, and the caller's number comes back."""

from __future__ import annotations

import pytest
import torch

from clipwright.training.threads import SMALL, threads_for


@pytest.mark.parametrize(("work", "inside"), [(SMALL - 1, 1), (SMALL, 2)])
def test_threads_are_limited_for_small_work_only_and_come_back(work: int, inside: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def fail() -> None:
        with threads_for(work):
            assert torch.get_num_threads() == inside
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
