"""What is asked of a lexicon: the senses of a noun; and how a class name becomes words that a lexicon may have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sense:
    """One meaning of a noun.

    Attributes:
        key: what the lexicon calls it.
        lemmas: the nouns that have this meaning, spaces between words.
        gloss: what it means.
        field: which part of the world it belongs to, such as ``noun.animal``; empty where the lexicon doesn't say.
    """

    key: str
    lemmas: tuple[str, ...]
    gloss: str
    field: str = ""


class Lexicon(Protocol):
    """A lexicon of nouns."""

    @property
    def name(self) -> str:
        """What it is called, with its version."""

    def senses(self, word: str) -> list[Sense]:
        """The meanings of a noun, the most usual first; none where it isn't known. Spaces between words, any case."""

    def irregular(self, word: str) -> tuple[str, ...]:
        """Base forms of an irregular plural, none where there are none."""


_ENDINGS: Mapping[str, str] = {
    "ses": "s", "xes": "x", "zes": "z", "ches": "ch", "shes": "sh", "men": "man", "ies": "y", "s": "",
}  # fmt: skip


def spellings(name: str, lexicon: Lexicon) -> Iterator[str]:
    """Words to look a class name up by, the likeliest first.

    The name as it is; with its dashes as spaces; with its spaces as dashes; with neither; then the same of its
    singular. What stands in brackets at the end, as in ``crane (bird)``, is left out last.
    """
    base = " ".join(name.replace("_", " ").split())
    bare = base.partition("(")[0].strip()
    for form in dict.fromkeys(form for form in (base, bare) if form):
        for number in (form, *singulars(form, lexicon)):
            yield from dict.fromkeys(
                (number, number.replace("-", " "), number.replace(" ", "-"), number.replace("-", "").replace(" ", ""))
            )


def singulars(name: str, lexicon: Lexicon) -> tuple[str, ...]:
    """What a name may be the plural of: irregular forms of its last word, then regular endings taken off."""
    head, space, last = name.rpartition(" ")
    low = last.casefold()
    found = list(lexicon.irregular(low))
    for ending, instead in _ENDINGS.items():
        if low.endswith(ending) and len(low) > len(ending) + 1 and not low.endswith("ss"):
            found.append(last[: -len(ending)] + instead)
    return tuple(head + space + word for word in dict.fromkeys(found))
