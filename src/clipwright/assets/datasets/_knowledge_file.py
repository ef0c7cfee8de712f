"""The JSON files of class knowledge: their form, and the checks on what they say."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from clipwright.core.errors import FormatError

FORMAT = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassWords(_Strict):
    """What is said about one class."""

    name: str
    synonyms: tuple[str, ...]
    attributes: tuple[str, ...]
    analogues: tuple[str, ...]
    paraphrases: tuple[str, ...]


class Colour(_Strict):
    """What is said about one colour; `near` are the colours it may be taken for.

    The first two attributes are true of no other colour.
    """

    name: str
    synonyms: tuple[str, ...]
    attributes: tuple[str, ...]
    near: tuple[str, ...]


class _Header(_Strict):
    format: int
    name: str
    author: str
    licence: str
    source: str
    date: str
    templates: dict[str, tuple[str, ...]]


class ClassFile(_Header):
    """A list of classes with their words, and the templates of each data set that has these classes."""

    classes: tuple[ClassWords, ...]
    one_vs_one: dict[str, dict[str, tuple[str, ...]]]


class ColourFile(_Header):
    """A list of colours, and sentences about a `{colour}` and a `{shape}`."""

    classes: tuple[Colour, ...]
    sentences: tuple[str, ...]


_File = TypeVar("_File", ClassFile, ColourFile)


def read_classes(name: str) -> ClassFile:
    """Read and check the knowledge file of a list of classes.

    Args:
        name: Of the file, without its ending.

    Raises:
        FormatError: The file is missing, damaged, newer than this clipwright, or says something it must not.
    """
    return check_classes(parse(_text(name), ClassFile))


def read_colours() -> ColourFile:
    """Read and check the file of colours; errors as for `read_classes`."""
    return check_colours(parse(_text("colours"), ColourFile))


def _text(name: str) -> str:
    try:
        return resources.files("clipwright.assets.datasets").joinpath(f"knowledge/{name}.json").read_text("utf-8")
    except OSError as error:
        raise FormatError(f"The knowledge file {name}.json can't be read: install clipwright again.") from error


def parse(text: str, kind: type[_File]) -> _File:
    """Read the JSON of a knowledge file.

    Args:
        text: The JSON.
        kind: `ClassFile` or `ColourFile`.

    Raises:
        FormatError: It isn't JSON of that form, or its format is newer.
    """
    try:
        raw = json.loads(text)
        version = raw["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError('This is no knowledge file: it must be JSON with a "format".') from error
    if version != FORMAT:
        raise FormatError(
            f"The knowledge file has format {version}, this clipwright reads {FORMAT}: update clipwright."
        )
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = " -> ".join(str(part) for part in first["loc"])
        raise FormatError(f"The knowledge file is damaged at {where}: {first['msg']}.") from error


def check_classes(file: ClassFile) -> ClassFile:
    """Hold a file to the rules: every class has every kind, phrases keep to theirs, pairs name two classes.

    Raises:
        FormatError: It breaks one.
    """
    names = [c.name for c in file.classes]
    _distinct(f"{file.name}: class names", names)
    _templates(file)
    for c in file.classes:
        for kind in ("synonyms", "attributes", "analogues", "paraphrases"):
            _distinct(f"{file.name}: {kind} of {c.name}", getattr(c, kind))
        _nameless(f"{file.name}: attributes", c.attributes, c.name)
        _other(f"{file.name}: synonyms and analogues", (*c.synonyms, *c.analogues), c.name)
        for sentence in c.paraphrases:
            if not _says(sentence, c.name):
                raise FormatError(f"{file.name}: a paraphrase must name {c.name}, this one doesn't: {sentence!r}.")
    for i, others in file.one_vs_one.items():
        for j, phrases in others.items():
            if i == j or not {i, j} <= set(names):
                raise FormatError(f"{file.name}: one_vs_one has the pair {i!r}, {j!r}, which isn't two of the classes.")
            _distinct(f"{file.name}: one_vs_one of {i} and {j}", phrases)
            for name in (i, j):
                _nameless(f"{file.name}: one_vs_one of {i} and {j}", phrases, name)
    return file


def check_colours(file: ColourFile) -> ColourFile:
    """As `check_classes`, for the colours.

    Raises:
        FormatError: It breaks a rule.
    """
    names = [c.name for c in file.classes]
    _distinct(f"{file.name}: names", names)
    _templates(file)
    _distinct(f"{file.name}: sentences", file.sentences)
    for sentence in file.sentences:
        if sentence.count("{colour}") != 1 or sentence.count("{shape}") != 1:
            raise FormatError(f"{file.name}: a sentence must have one {{colour}} and one {{shape}}: {sentence!r}.")
    for c in file.classes:
        for kind in ("synonyms", "attributes", "near"):
            _distinct(f"{file.name}: {kind} of {c.name}", getattr(c, kind))
        _nameless(f"{file.name}: attributes", c.attributes, c.name)
        _other(f"{file.name}: synonyms and near colours", (*c.synonyms, *c.near), c.name)
        if not set(c.near) <= set(names):
            raise FormatError(f"{file.name}: a colour near {c.name} isn't one of the colours.")
    return file


def _says(phrase: str, name: str) -> bool:
    """Whether a phrase has the name as a word of its own; case counts for single letters ("A" isn't the article)."""
    flags = 0 if len(name) == 1 else re.IGNORECASE
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", phrase, flags) is not None


def _distinct(where: str, phrases: Iterable[str]) -> None:
    counts = Counter(phrases)
    if not counts:
        raise FormatError(f"{where}: there are none, at least one is needed.")
    if any(not phrase.strip() or phrase != " ".join(phrase.split()) for phrase in counts):
        raise FormatError(f"{where}: one is empty or has stray spaces.")
    phrase, times = counts.most_common(1)[0]
    if times > 1:
        raise FormatError(f"{where}: {phrase!r} stands there {times} times, keep one.")


def _nameless(where: str, phrases: Iterable[str], name: str) -> None:
    for phrase in phrases:
        if _says(phrase, name):
            raise FormatError(f"{where}: {phrase!r} names {name}, say only what can be seen.")


def _other(where: str, phrases: Iterable[str], name: str) -> None:
    if name in phrases:
        raise FormatError(f"{where}: {name} is there as another name of itself.")


def _templates(file: _Header) -> None:
    for name, templates in file.templates.items():
        _distinct(f"{file.name}: templates of {name}", templates)
        for template in templates:
            if template.count("{}") != 1 or re.search(r"[{}]", template.replace("{}", "")):
                raise FormatError(f"{file.name}: the template {template!r} needs exactly one {{}} and no other brace.")
