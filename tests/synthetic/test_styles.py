"""Styles: templates and class names for each data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.styles import Style, read_styles, style_of

STYLES = {
    "pets": {"template": "a photo of a {}, a type of pet.", "classnames": ["Abyssinian", "beagle"]},
    "imagenet": {
        "templates": ["a {}.", "art of a {}."],
        "classnames": ["missile", "missile"],
        "save_subdir": ["n3", "n4"],
    },
    "bare": {"template": "{} texture."},
}


def test_styles_are_read_and_names_told_apart(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(STYLES))
    styles = read_styles(tmp_path / "s.json")
    assert styles["pets"] == Style(("a photo of a {}, a type of pet.",), ("Abyssinian", "beagle"))
    assert styles["imagenet"].unique_names == ("missile (n3)", "missile (n4)")
    assert styles["bare"].class_names == ()
    with pytest.raises(UsageError, match=r"s\.json has no style 'cars': choose --style among pets, imagenet, bare"):
        style_of(styles, "cars", "s.json")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "a JSON object with a style"),
        ({"a": []}, "an object with a template"),
        ({"a": {"template": "a {}.", "templates": ["a {}."]}}, "an object with a template"),
        ({"a": {"template": "a {}.", "steps": 3}}, "unknown key 'steps'"),
        ({"a": {"template": 3}}, "texts in its lists"),
        ({"a": {"template": "a {}.", "classnames": ["x", ""]}}, "texts in its lists"),
        ({"a": {"template": "a {}.", "classnames": ["x"], "save_subdir": ["1", "2"]}}, "save_subdir"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=said):
        read_styles(tmp_path / "s.json")


def test_a_template_without_a_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"a": {"template": "a photo."}}')
    with pytest.raises(UsageError, match=r"has no \{\}"):
        read_styles(tmp_path / "s.json")
