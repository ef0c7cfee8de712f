"""From a bank to the sentences that a text tower reads, and to their features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.core.errors import DataError
from clipwright.task import TextFeatures
from clipwright.texts.bank import KINDS, NAME, SYNONYM, TEMPLATE, Row, TextBank, check_kinds
from clipwright.texts.class_names import clean_names
from clipwright.texts.features import encode_cached
from clipwright.texts.phrasing import Phrasing
from clipwright.texts.phrasings import read_phrasing
from clipwright.texts.templates import read_templates

Underscores = bool | Literal["names"]


class Said(NamedTuple):
    """One text as the text tower reads it.

    Attributes:
        class_index: which class it speaks of.
        kind: one of `KINDS`.
        text: the whole text.
        rival: class number of the rival, -1 where there is none.
    """

    class_index: int
    kind: str
    text: str
    rival: int = -1


def say(
    bank: TextBank,
    templates: str | Sequence[str] | None = None,
    *,
    phrasing: str | Path | Phrasing | None = None,
    kinds: Iterable[str] | None = None,
    underscores: Underscores = True,
    names: Sequence[str] | None = None,
) -> list[Said]:
    """Everything that a bank says, in whole texts.

    Args:
        bank: C classes.
        templates: prompt templates, or the name of a set; None takes the bank's own, else ``a photo of a {}.``.
        phrasing: how bare phrases become sentences; None takes the bank's own.
        kinds: which kinds; all by default.
        underscores: as for `TextBank.features`.
        names: what the templates call the classes; by default each class's first row of kind ``name``, else its name.

    Returns:
        The templates first, template by template, then the rows in the bank's order; a class without a row of kind
        ``name`` has its name said before them.

    Raises:
        UsageError: bad templates, phrasing or kinds, or class names that read the same.
    """
    wanted = check_kinds(KINDS if kinds is None else kinds)
    wording = read_phrasing(bank.phrasing if phrasing is None else phrasing)
    index = {name: i for i, name in enumerate(bank.class_names)}
    spoken = clean_names(bank.class_names, underscores=underscores is True)
    cleaned = clean_names(bank.class_names, underscores=underscores is not False)
    found: list[Said] = []
    if TEMPLATE in wanted:
        found += _templates(bank, templates, underscores, names or _called(bank, cleaned))
    if NAME in wanted:
        named = {row.class_name for row in bank.rows if row.kind == NAME}
        unnamed = [row for i, row in enumerate(map(_own_name, bank.class_names)) if bank.class_names[i] not in named]
    else:
        unnamed = []
    for row in (*unnamed, *bank.rows):
        if row.kind == TEMPLATE or row.kind not in wanted:
            continue
        i = index[row.class_name]
        rival = index[row.rival] if row.rival else -1
        phrase = _spaced(row.text, underscores) if row.kind in {NAME, SYNONYM} else row.text
        texts = wording.say(row.kind, phrase, class_name=spoken[i], rival=spoken[rival] if row.rival else "")
        found += [Said(i, row.kind, text, rival) for text in texts]
    return found


def encode(backbone: Backbone | BackboneRef, said: Sequence[Said], class_names: Sequence[str]) -> TextFeatures:
    """Raw features of texts, each different one encoded once; what was encoded before is read from the cache.

    Raises:
        DataError: a class has no text.
        BackboneError: the weights are needed and can't be had.
    """
    spoken_of = {text.class_index for text in said}
    if missing := [name for i, name in enumerate(class_names) if i not in spoken_of]:
        shown = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise DataError(
            f"{len(missing)} of {len(class_names)} classes have no text of these kinds ({shown}): ask for more."
        )
    return TextFeatures(
        encode_cached(backbone, [text.text for text in said]),
        torch.tensor([text.class_index for text in said], dtype=torch.int64),
        kind=tuple(text.kind for text in said),
        rival=torch.tensor([text.rival for text in said], dtype=torch.int64),
        texts=tuple(text.text for text in said),
    )


def bank_features(
    ref: Backbone | BackboneRef,
    class_names: Sequence[str],
    bank: TextBank | str | Path,
    templates: str | Sequence[str] | None = None,
    *,
    phrasing: str | Path | Phrasing | None = None,
    kinds: Iterable[str] | None = None,
    underscores: Underscores = True,
    partial: bool = False,
) -> TextFeatures:
    """What a Task's `text` should be where there is a bank: the templates of the class names, and all that it says.

    The rows of kind ``template`` are those that `text_features` gives for the same names and templates.

    Args:
        ref: the backbone, loaded or not.
        class_names: C names, in the order of the labels.
        bank: a bank, or a file or folder that `open_bank` reads; its classes are found by name.
        templates: as for `text_features`; None takes the bank's own, else ``a photo of a {}.``.
        phrasing: how bare phrases become sentences; None takes the bank's own.
        kinds: which kinds; all by default. Leave ``one-vs-one`` out where no method re-ranks: it has the most texts.
        underscores: as for `TextBank.features`.
        partial: whether the bank may lack texts of some classes, which then have their names alone.

    Raises:
        UsageError: bad templates, phrasing or kinds, or names that read the same.
        DataError: the bank can't be read, or has no texts of some classes.
        FormatError: the bank is damaged or newer than this clipwright.
        BackboneError: the weights are needed and can't be had.
    """
    if not isinstance(bank, TextBank):
        from clipwright.texts.readers import open_bank

        bank = open_bank(bank, class_names=class_names)
    fitting = bank.for_classes(class_names, partial=partial)
    names = clean_names(class_names, underscores=underscores is not False)
    said = say(fitting, templates, phrasing=phrasing, kinds=kinds, underscores=underscores, names=names)
    return encode(ref, said, class_names)


def _templates(
    bank: TextBank, templates: str | Sequence[str] | None, underscores: Underscores, names: Sequence[str]
) -> list[Said]:
    """Templates filled with names, template by template; those of one class only are said of it alone."""
    index = {name: i for i, name in enumerate(bank.class_names)}
    everyone = list(range(len(names)))
    own = [
        (row.text, [index[row.class_name]] if row.class_name else everyone)
        for row in bank.rows
        if row.kind == TEMPLATE and templates is None
    ]
    covered = {i for _, whose in own for i in whose}
    left = [i for i in everyone if i not in covered]
    given = [(sentence, left) for sentence in read_templates(templates)]
    return [
        Said(i, TEMPLATE, sentence.replace("{}", _spaced(names[i], underscores)))
        for sentence, whose in (*own, *given)
        for i in whose
    ]


def _called(bank: TextBank, cleaned: Sequence[str]) -> tuple[str, ...]:
    """What each class is called: its first row of kind ``name``, else its cleaned name."""
    called: dict[str, str] = {}
    for row in bank.rows:
        if row.kind == NAME:
            called.setdefault(row.class_name, row.text)
    return tuple(called.get(name, clean) for name, clean in zip(bank.class_names, cleaned, strict=True))


def _own_name(class_name: str) -> Row:
    return Row(class_name, NAME, class_name)


def _spaced(text: str, underscores: Underscores) -> str:
    return " ".join((text if underscores is False else text.replace("_", " ")).split())
