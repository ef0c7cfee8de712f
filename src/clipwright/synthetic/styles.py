"""Styles: how prompts for a data set are worded, and what it calls its classes, in one JSON file for many data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipwright.core.errors import DataError, UsageError
from clipwright.core.spelling import clean_name
from clipwright.data.names import told_apart
from clipwright.texts.files import read_json
from clipwright.texts.templates import check_template

_KEYS = ("template", "templates", "classnames", "save_subdir")


@dataclass(frozen=True)
class Style:
    """One data set's entry.

    Attributes:
        templates: prompt templates, at least one.
        class_names: what prompts call the classes, in order; may repeat, may be empty.
        folders: what tells apart classes of one name (ImageNet's WordNet identifiers); may be empty.
    """

    templates: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def unique_names(self) -> tuple[str, ...]:
        """The class names, with the folder behind those that repeat."""
        keys = self.folders or tuple(str(number) for number in range(len(self.class_names)))
        return tuple(clean_name(name) for name in told_apart(keys, self.class_names, True)[0])


def read_styles(path: Path) -> dict[str, Style]:
    """The styles in a file: ``{data set: {"template": ..., "classnames": [...], "save_subdir": [...]}}``.

    ``templates``, a list, may stand in place of ``template``; ``classnames`` and ``save_subdir`` may be left out. This
    is the form of RegFT's ``prompt_styles.json``.

    Raises:
        DataError: the file can't be read or has another form.
        UsageError: a template without exactly one ``{}``.
    """
    raw = read_json(path)
    if not isinstance(raw, dict) or not raw:
        raise DataError(f"{path} must hold a JSON object with a style for each data set.")
    return {str(name): _style(entry, f"the style {name!r} in {path.name}") for name, entry in raw.items()}


def style_of(styles: dict[str, Style], name: str, where: str) -> Style:
    """The style of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in styles:
        raise UsageError(f"{where} has no style {name!r}: choose --style among {', '.join(list(styles)[:12])}.")
    return styles[name]


def _style(entry: Any, what: str) -> Style:
    if not isinstance(entry, dict) or ("template" in entry) == ("templates" in entry):
        raise DataError(f"{what} must be an object with a template.")
    if strange := [key for key in entry if key not in _KEYS]:
        raise DataError(f"{what} has the unknown key {strange[0]!r}: the keys are {', '.join(_KEYS)}.")
    templates = _texts(entry.get("templates", [entry.get("template")]), what)
    names, folders = _texts(entry.get("classnames", []), what), _texts(entry.get("save_subdir", []), what)
    if not templates or (folders and len(folders) != len(names)) or len(set(folders)) < len(folders):
        raise DataError(f"{what} needs a template, and in save_subdir a different name for each of its classnames.")
    for template in templates:
        check_template(template)
    return Style(templates, names, folders)


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise DataError(f"{what} must have texts in its lists, none of them empty.")
    return tuple(text.strip() for text in value)
