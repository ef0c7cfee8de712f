"""Phrases from elsewhere made fit for a bank: empty ones are dropped, too long ones cut, both are counted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from clipwright.core.errors import DataError

MOST_CHARACTERS = 2000
"""What a text may have; text towers read far less of it."""

EMPTY, NONE, REPEATED, CUT = "empty", "None", "repeated", "cut"

_NONE = re.compile(r"(?<!\w)None(?!\w)")


def tidy(text: str) -> str:
    """Composed Unicode (NFC), no control characters, single spaces."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in composed).split())


def says_none(text: str) -> bool:
    """Whether a text is what a program writes for nothing: ``None`` as a word, or ``none`` alone."""
    return _NONE.search(text) is not None or text.strip().casefold() == "none"


@dataclass
class Sieve:
    """Lets phrases through that say something, and counts what it held back or changed.

    Attributes:
        counts: how many phrases were ``empty``, ``None``, ``repeated`` (all three dropped) or ``cut``.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def take(self, phrase: object, where: str) -> str | None:
        """The phrase, tidied, or None where it says nothing.

        Args:
            phrase: what a file or a model gave.
            where: what messages call the place, such as ``"'cat' in texts.json"``.

        Raises:
            DataError: it is neither text nor null.
        """
        if phrase is None:
            self.counts[NONE] += 1
            return None
        if not isinstance(phrase, str):
            raise DataError(f"a text of {where} is {phrase!r:.60}, which is no text: write it in quotation marks.")
        text = tidy(phrase)
        if not text:
            self.counts[EMPTY] += 1
            return None
        if says_none(text):
            self.counts[NONE] += 1
            return None
        if len(text) > MOST_CHARACTERS:
            self.counts[CUT] += 1
            text = shortened(text)
        return text

    def repeated(self) -> None:
        """Count a phrase that was there before."""
        self.counts[REPEATED] += 1


def shortened(text: str) -> str:
    """The first words of a text that fit into `MOST_CHARACTERS`."""
    head = text[:MOST_CHARACTERS]
    if text[MOST_CHARACTERS].isspace():
        return head.rstrip()
    return head.rpartition(" ")[0].rstrip() or head


def notes(counts: Counter[str]) -> tuple[str, ...]:
    """What to tell the user of what a sieve held back, one sentence each."""
    found = []
    for reason, told in (
        (EMPTY, "had no words and were left out"),
        (NONE, 'said "None" and were left out'),
        (REPEATED, "stood there twice and were kept once"),
        (CUT, f"were longer than {MOST_CHARACTERS:,} characters and lost their end"),
    ):
        if number := counts[reason]:
            found.append(f"{number:,} {'text' if number == 1 else 'texts'} {_singular(told) if number == 1 else told}.")
    return tuple(found)


def _singular(told: str) -> str:
    return told.replace("were", "was").replace("their", "its")
