"""Names as prompts want them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.spelling import clean_name, match_key


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("polar_bear", "polar bear"),
        ("  t-shirt ", "t-shirt"),
        ("a__b\tc\nd", "a b c d"),
        ("Straße", "Straße"),
        (unicodedata.normalize("NFD", "café"), "café"),
        ("bell\x07", "bell"),
        ("北極熊", "北極熊"),
    ],
)
def test_cleaning(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@given(st.text())
def test_cleaning_is_idempotent(name: str) -> None:
    assert clean_name(clean_name(name)) == clean_name(name)
    assert match_key(clean_name(name)) == match_key(name)
