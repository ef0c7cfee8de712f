from __future__ import annotations

import pytest
from tests.synthetic.scripted import Clock

from clipwright.synthetic.limits import RateLimit


def sent(limit: RateLimit, clock: Clock, sizes: list[int]) -> list[float]:
    """When each request of a size was sent."""
    times = []
    for size in sizes:
        limit.wait(size)
        times.append(clock.now)
    return times


def test_without_limits_nothing_waits() -> None:
    clock = Clock()
    assert sent(RateLimit(None, None, clock=clock, sleep=clock.sleep), clock, [10] * 50) == [0.0] * 50


def test_requests_a_minute() -> None:
    clock = Clock()
    times = sent(RateLimit(3, None, clock=clock, sleep=clock.sleep), clock, [1] * 8)
    assert times == pytest.approx([0, 0, 0, 60, 60, 60, 120, 120])


def test_tokens_a_minute_and_a_request_that_is_too_large() -> None:
    clock = Clock()
    times = sent(RateLimit(None, 100, clock=clock, sleep=clock.sleep), clock, [60, 40, 1, 500, 10])
    assert times == pytest.approx([0, 0, 60, 120, 180])


@pytest.mark.parametrize("limits", [(7, None), (None, 90), (4, 100), (0.5, None)])
def test_no_minute_holds_more_than_the_limit(limits: tuple[float | None, float | None]) -> None:
    clock = Clock()
    sizes = [(7 * i) % 40 + 1 for i in range(60)]
    times = sent(RateLimit(*limits, clock=clock, sleep=clock.sleep), clock, sizes)
    for start in times:
        inside = [size for time, size in zip(times, sizes, strict=True) if start <= time < start + 60 - 1e-6]
        assert limits[0] is None or len(inside) <= max(limits[0], 1)
        assert limits[1] is None or sum(inside) <= limits[1]


def test_a_closed_limit_holds_everybody_back() -> None:
    clock = Clock()
    limit = RateLimit(None, None, clock=clock, sleep=clock.sleep)
    limit.close(17)
    limit.close(5)
    assert sent(limit, clock, [1, 1]) == [17, 17]
