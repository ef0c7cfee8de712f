from __future__ import annotations

import pytest

from clipwright.core.backoff import Patience, retry_after

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


def test_waits_double_up_to_the_longest_and_are_scattered() -> None:
    patience = Patience(first=1, factor=2, longest=10)
    waits = [patience.wait(failures, 0, "/scores") for failures in range(1, 8)]
    for wait, whole in zip(waits, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert whole / 2 <= wait <= whole
    assert len(set(waits)) == len(waits)
    assert patience.wait(10_000, 0) <= 10  # no overflow


def test_a_wait_depends_on_seed_key_and_count_alone() -> None:
    patience = Patience()
    assert patience.wait(3, 1, "/a", "x") == patience.wait(3, 1, "/a", "x")
    others = {patience.wait(3, 2, "/a", "x"), patience.wait(3, 1, "/b", "x"), patience.wait(3, 1, "/a", "y")}
    assert len(others | {patience.wait(3, 1, "/a", "x")}) == 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 09:28:30 +0200", 30.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOW) == seconds


def test_no_retry_after() -> None:
    assert retry_after({}, NOW) is None
