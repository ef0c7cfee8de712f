from __future__ import annotations

import pytest

from clipwright.synthetic.label_answers import read_label

NAMES = ("cat", "tiger cat", "t-shirt", "none of these", "St. Bernard", "c++", "猫")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("cat", 0),
        ("Tiger_Cat.", 1),
        ('"tiger cat"', 1),
        ("Answer: cat", 0),
        ("The class is **T-Shirt**!", 2),
        ("cat\n\nBecause it has whiskers, unlike a tiger cat.", 0),
        ('{"class": "tiger cat", "why": "stripes"}', 1),
        ('```json\n{"label": "cat"}\n```', 0),
        ("I see a tiger cat on a sofa.", 1),
        ("It could be a cat or a t-shirt.", None),
        ("A dog.", None),
        ("concatenate", None),
        ("", None),
        ("St. Bernard", 4),
        ("C++", 5),
        ("猫", 6),
        ("none of these", 3),
        ("[" * 10_000, None),
        ('{"class": 3}', None),
    ],
)
def test_answers_are_read(text: str, label: int | None) -> None:
    assert read_label(text, NAMES) == label


def test_every_name_is_read_as_itself() -> None:
    for number, name in enumerate(NAMES):
        assert read_label(name, NAMES) == number
        assert read_label(f"  '{name.upper()}'.\n", NAMES) == number
