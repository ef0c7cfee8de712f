from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import ClipwrightError
from clipwright.texts.class_names import clean_names


def test_underscores_and_spaces() -> None:
    assert clean_names(["air_plane", "  big   cat ", "Ärger_über"]) == ("air plane", "big cat", "Ärger über")
    assert clean_names(["air_plane"], underscores=False) == ("air_plane",)


@given(st.lists(st.text(), max_size=6), st.booleans())
def test_cleaned_names_are_unique_and_stay_as_they_are(names: list[str], underscores: bool) -> None:
    try:
        cleaned = clean_names(names, underscores=underscores)
    except ClipwrightError:
        return
    assert len(set(cleaned)) == len(names)
    assert clean_names(cleaned, underscores=underscores) == cleaned
