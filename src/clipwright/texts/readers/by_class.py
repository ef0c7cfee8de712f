"""``{class: [text, ...]}``: CuPL's and CaFo's whole sentences, and DCLIP's descriptors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clipwright.core.errors import DataError
from clipwright.core.spelling import match_key
from clipwright.texts.bank import ATTRIBUTE, DESCRIPTION, Row, TextBank
from clipwright.texts.files import texts_by_class

_MOSTLY = 0.75  # share of texts from which on a file is taken for one kind


def read_cupl(path: str | Path) -> TextBank:
    """Sentences about each class, as CuPL (Pratt et al., ICCV 2023) and ``gpt_file`` of CaFo and RegFT have them.

    Returns:
        A bank of rows of kind ``description``.

    Raises:
        DataError: the file can't be read, or has another form.
    """
    place = Path(path)
    return _bank(texts_by_class(place), DESCRIPTION, place, "default")


def read_dclip(path: str | Path) -> TextBank:
    """Descriptors of each class, as DCLIP (Menon and Vondrick, ICLR 2023) has them.

    A class may have none: then only its name is said.

    Returns:
        A bank of rows of kind ``attribute`` with the phrasing ``dclip``, which puts "which is", "which" or "which has"
        before them.

    Raises:
        DataError: the file can't be read, or has another form.
    """
    place = Path(path)
    return _bank(texts_by_class(place), ATTRIBUTE, place, "dclip")


def are_sentences(texts: Mapping[str, Sequence[Any]], where: Path) -> bool:
    """Whether a file holds sentences rather than descriptors.

    A text counts as a sentence if it names its class or ends with a full stop, "!" or "?". From three quarters on the
    file is one of sentences, up to one quarter one of descriptors.

    Raises:
        DataError: it may be either.
    """
    marks = [
        text.rstrip().endswith((".", "!", "?")) or match_key(name) in match_key(text)
        for name, listed in texts.items()
        for text in listed
        if isinstance(text, str) and text.strip()
    ]
    share = sum(marks) / len(marks) if marks else 0.0
    if 1 - _MOSTLY < share < _MOSTLY:
        raise DataError(
            f"{share:.0%} of the texts in {where} are sentences, so it may be CuPL's form or DCLIP's: "
            f"say which, as cupl:{where} or dclip:{where}."
        )
    return share >= _MOSTLY


def _bank(texts: Mapping[str, Sequence[Any]], kind: str, path: Path, phrasing: str) -> TextBank:
    rows = [Row(name, kind, text, source=path.name) for name, listed in texts.items() for text in listed]
    try:
        return TextBank.gather(tuple(texts), rows, phrasing=phrasing)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
