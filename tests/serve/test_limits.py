from __future__ import annotations

import pytest

from clipwright.core.errors import UsageError
from clipwright.serve.limits import Limits


def test_three_numbers_make_all_limits() -> None:
    assert Limits.of() == Limits()
    assert Limits.of(max_batch=2, max_mb=1, max_images=5) == Limits(2, 128, 2, 512, 1 << 20, 5)


@pytest.mark.parametrize("wrong", [{"max_batch": 0}, {"max_mb": -1}, {"max_images": 0}])
def test_limits_are_positive(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        Limits.of(**wrong)
    with pytest.raises(UsageError, match="the limit on bytes must be at least 1; it is 0"):
        Limits(bytes=0)
