"""Lists of class names as banks: one name on a line, or ``<WordNet id> <name>`` as CoOp's ``classnames.txt`` has it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from clipwright.core.errors import DataError
from clipwright.texts.bank import NAME, Row, TextBank
from clipwright.texts.files import limit_texts, read_text
from clipwright.texts.phrases import tidy

_WITH_ID = re.compile(r"(n[0-9]{8})\s+(\S.*)")


def read_class_list(path: str | Path) -> TextBank:
    """A bank of class names alone, each class with one row of kind ``name``.

    Where lines begin with WordNet ids, two classes may share a name, as "missile" and "sunglasses" do in ImageNet's
    list: then the id in brackets is added to the class's name, not to what is said.

    Raises:
        DataError: the file can't be read, is empty, has an empty line, or names a class twice.
    """
    place = Path(path)
    lines = class_lines(place)
    split = [_WITH_ID.fullmatch(line) for line in lines]
    if any(split) and not all(split):
        number = split.index(None) + 1
        raise DataError(
            f"line {number} of {place} has no WordNet id, as others have: write '<id> <name>' on each line."
        )
    names = [tidy(found[2]) if found else tidy(line) for found, line in zip(split, lines, strict=True)]
    shared = {name for name, times in Counter(names).items() if times > 1}
    if shared and not any(split):
        raise DataError(f"{place} has the class {min(shared)!r} on two lines: remove one of them.")
    classes = [
        f"{name} ({found[1]})" if found and name in shared else name for name, found in zip(names, split, strict=True)
    ]
    rows = [Row(key, NAME, name, source=place.name) for key, name in zip(classes, names, strict=True)]
    try:
        return TextBank.gather(classes, rows)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def class_lines(path: Path) -> list[str]:
    """The lines of a list of classes, in order.

    Raises:
        DataError: the file can't be read, is empty, or has an empty line in between.
    """
    lines = [line.strip() for line in read_text(path).rstrip().split("\n")]
    limit_texts(len(lines), path)
    if lines == [""]:
        raise DataError(f"{path} is empty: write one class name on each line.")
    if "" in lines:
        raise DataError(
            f"line {lines.index('') + 1} of {path} is empty, which would shift the classes after it: remove it."
        )
    return lines
