"""Small words and numbers."""

from __future__ import annotations

import pytest

from clipwright.report.text import clean, count, duration, percent, shortened


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0008, "0.8 ms"),
        (0.0421, "42 ms"),
        (0.9999, "1.0 s"),
        (7.25, "7.2 s"),
        (99.96, "1 min 40 s"),
        (3725, "1 h 2 min"),
    ],
)
def test_durations_take_the_unit_that_suits_them(seconds: float, shown: str) -> None:
    assert duration(seconds).replace("\u202f", " ") == shown


def test_percentages_and_counts() -> None:
    assert percent(0.9307) == "93.1\u202f%"
    assert percent(1.0, 0) == "100\u202f%"
    assert (count(1, "class", "classes"), count(1200, "image")) == ("1 class", "1,200 images")


def test_long_names_end_in_an_ellipsis() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


def test_what_can_t_be_displayed_is_marked_and_all_else_stays() -> None:
    assert clean("a\x00b\ud800c\u202ed\n") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    assert clean("naïve 狗 🐕 <b> é") == "naïve 狗 🐕 <b> é"
