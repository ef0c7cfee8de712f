"""A reader of Princeton WordNet's own files (WNDB): the nouns, from ``index.noun``, ``data.noun`` and ``noun.exc``.

The format is that of the manual page ``wndb(5WN)``: the index has a line for each word with the byte offsets of its
meanings in the data file, the most frequent first.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from clipwright.core.errors import DataError
from clipwright.texts.lexicon import Sense

INDEX, DATA, EXCEPTIONS = "index.noun", "data.noun", "noun.exc"

_VERSION = re.compile(rb"WordNet (\d[\d.]*\d)")
# lexicographer files 03 to 28, which hold the nouns
_FIELDS = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)
_EXAMPLES = re.compile(r';\s*"')
_LONGEST_LINE = 1 << 16


class WordNetFolder:
    """The nouns of a WNDB folder, such as Debian's ``wordnet-base`` installs; nothing is read before it is needed.

    Args:
        folder: with ``index.noun`` and ``data.noun``, and ``noun.exc`` where there is one.

    Raises:
        DataError: there are no such files.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        for name in (INDEX, DATA):
            if not (self.folder / name).is_file():
                raise DataError(f"{self.folder} has no {name}: give the folder of WordNet's database files (WNDB).")

    @cached_property
    def name(self) -> str:
        """``WordNet`` and the version that its licence names."""
        with self._open(DATA) as stream:
            found = _VERSION.search(stream.read(4096))
        return "WordNet " + found[1].decode() if found else "WordNet"

    def senses(self, word: str) -> list[Sense]:
        """The meanings of a noun in the index's order: the most frequent first.

        Raises:
            DataError: the files are damaged or don't belong together.
        """
        line = self._index.get(word.lower().replace(" ", "_").encode())
        if line is None:
            return []
        parts = line.decode("utf-8", "replace").split()
        try:
            number, pointers = int(parts[2]), int(parts[3])
            offsets = [int(part) for part in parts[6 + pointers :]]
        except (IndexError, ValueError) as error:
            raise self._damaged(INDEX, word) from error
        if number != len(offsets):
            raise self._damaged(INDEX, word)
        return [self._sense(offset) for offset in offsets]

    def irregular(self, word: str) -> tuple[str, ...]:
        """Base forms that ``noun.exc`` gives."""
        return self._exceptions.get(word.lower().replace(" ", "_"), ())

    @cached_property
    def _index(self) -> dict[bytes, bytes]:
        """The line of each word, by the word; the licence's lines begin with spaces."""
        with self._open(INDEX) as stream:
            lines = stream.read().splitlines()
        return {line.split(b" ", 1)[0]: line for line in lines if line and not line.startswith(b" ")}

    @cached_property
    def _exceptions(self) -> dict[str, tuple[str, ...]]:
        if not (self.folder / EXCEPTIONS).is_file():
            return {}
        with self._open(EXCEPTIONS) as stream:
            lines = [line.decode("utf-8", "replace").split() for line in stream.read().splitlines()]
        return {words[0]: tuple(word.replace("_", " ") for word in words[1:]) for words in lines if len(words) > 1}

    def _sense(self, offset: int) -> Sense:
        """The meaning whose line begins at a byte of the data file."""
        with self._open(DATA) as stream:
            stream.seek(offset)
            raw = stream.readline(_LONGEST_LINE)
        head, bar, gloss = raw.decode("utf-8", "replace").partition("|")
        parts = head.split()
        try:
            if int(parts[0]) != offset or parts[2] != "n" or not bar:
                raise self._damaged(DATA, f"byte {offset}")
            words = parts[4 : 4 + 2 * int(parts[3], 16) : 2]
            number = int(parts[1]) - 3
        except (IndexError, ValueError) as error:
            raise self._damaged(DATA, f"byte {offset}") from error
        field = f"noun.{_FIELDS[number]}" if 0 <= number < len(_FIELDS) else ""
        lemmas = tuple(word.replace("_", " ") for word in words)
        return Sense(f"{offset:08d}-n", lemmas, _EXAMPLES.split(gloss.strip(), 1)[0].strip(), field)

    def _open(self, name: str) -> BinaryIO:
        path = self.folder / name
        try:
            return path.open("rb")
        except OSError as error:
            raise DataError(f"{path} can't be read ({error.strerror or error}): give yourself access to it.") from error

    def _damaged(self, name: str, where: str) -> DataError:
        return DataError(f"{self.folder / name} is damaged at {where!r}: install WordNet's database files again.")
