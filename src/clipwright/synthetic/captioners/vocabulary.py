"""The words of the offline captioner: phrases in slots, without any that could give a class's name away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from clipwright.core.hashing import digest_json

_FILE = "vocabulary.json"
_WORD = re.compile(r"[^\W\d_]+|\d+")
_ENDINGS = ("ies", "ing", "es", "ed", "s", "y", "e")
_SMALL = frozenset(
    {"a", "an", "and", "are", "at", "by", "for", "from", "in", "into", "of", "on", "or", "out", "over"}
    | {"something", "that", "the", "thing", "things", "to", "up", "with"}
)
"""Words that say nothing of a class; a class called so is not given away by them."""


@dataclass(frozen=True)
class Slot:
    """One thing that a caption may say.

    Attributes:
        name: what it is about.
        frame: the sentence in which a phrase is compared with images, with one ``{}``.
        say: how it stands in the caption of an image.
        say_of_all: how it stands in the caption of a group.
        options: phrases.
    """

    name: str
    frame: str
    say: str
    say_of_all: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """Slots in the order in which a caption says them; the first is its head.

    Attributes:
        slots: each with two phrases at least.
        plain: heads for where all those of the first slot were dropped.
        silence: the sentence that says nothing; a phrase is said where it fits an image better than this.
    """

    slots: tuple[Slot, ...]
    plain: tuple[str, ...]
    silence: str

    @property
    def sentences(self) -> list[str]:
        """What is compared with images: P phrases in their frames, slot by slot, and the one that says nothing."""
        return [slot.frame.format(option) for slot in self.slots for option in slot.options] + [self.silence]

    @property
    def hash(self) -> str:
        """What a caption's manifest knows it by."""
        said = [[s.name, s.frame, s.say, s.say_of_all, list(s.options)] for s in self.slots]
        return digest_json([said, list(self.plain), self.silence])[:16]

    def without(self, names: Sequence[str]) -> Vocabulary:
        """The same without phrases that share a word with one of these names, whatever its ending.

        Args:
            names: class names, and synonyms where they are known.
        """
        taken = stems(names)
        slots = []
        for slot in self.slots:
            kept = tuple(option for option in slot.options if not stems([option]) & taken)
            if len(kept) > 1 and not stems([slot.say, slot.say_of_all]) & taken:
                slots.append(replace(slot, options=kept))
        plain = tuple(head for head in self.plain if not stems([head]) & taken)
        return replace(self, slots=tuple(slots), plain=plain or ("something",))


def stems(texts: Iterable[str]) -> frozenset[str]:
    """The words of texts without case and ending (``stripes`` and ``Striped`` are one), small ones left out."""
    return frozenset(stem(word) for text in texts for word in _WORD.findall(text.casefold()) if word not in _SMALL)


def stem(word: str) -> str:
    """A word without its usual English endings."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary that comes with clipwright: for photographs, and for drawings of letters, digits and shapes."""
    value = json.loads((files(__package__) / _FILE).read_text(encoding="utf-8"))
    slots = tuple(
        Slot(s["name"], s["frame"], s["say"], s.get("say_of_all", s["say"]), tuple(s["options"]))
        for s in value["slots"]
    )
    return Vocabulary(slots, tuple(value["plain"]), value["silence"])
