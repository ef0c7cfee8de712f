"""Peak memory: a large array shows, and an earlier one doesn't."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from clipwright.core.memory import PeakMemory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a stretch of work")


def test_a_large_array_shows_and_an_earlier_one_does_not() -> None:
    with PeakMemory() as large:
        np.ones(1 << 27).sum()  # 1 GiB
    with PeakMemory() as small:
        np.ones(1 << 10).sum()
    if large.mib is None or small.mib is None:
        pytest.skip("this system doesn't let a process start its mark anew")
    assert large.mib > small.mib + 900
