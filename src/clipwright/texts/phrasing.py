"""How bare phrases become sentences: the templates of names, attributes, look-alikes and differences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from clipwright.core.errors import UsageError
from clipwright.texts import contrasts

_SLOT = re.compile(r"\{(\w*)\}")
_SLOTS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {  # slots that a sentence of this kind must have, and those that it may have
        "name": (frozenset({"class"}), frozenset({"class"})),
        "attribute": (frozenset({"class", "phrase"}), frozenset({"class", "phrase", "connector"})),
        "analogue": (frozenset({"class", "phrase"}), frozenset({"class", "phrase"})),
        "one_vs_one": (frozenset({"class", "rival", "phrase"}), frozenset({"class", "rival", "phrase"})),
    }
)


@dataclass(frozen=True)
class Phrasing:
    """Sentences with slots, one or several for each kind; every phrase is said in all of them.

    The slots are ``{class}``, ``{rival}``, ``{phrase}`` and ``{connector}`` (what joins a class to the phrase, such as
    ``which has``; see `connector`). Whatever is put into a slot stays as it is, braces included. CODER says one
    sentence for each kind but one-vs-one.

    Attributes:
        name: for names, and for synonyms in place of the name.
        attribute: for attributes.
        analogue: for look-alikes.
        one_vs_one: for what a class has and its rival lacks.
        loose_connector: find ``{connector}`` by the first letters of the phrase instead of its first word, as DCLIP's
            released code does.

    Raises:
        UsageError: no sentence of a kind, a slot that is missing, or one that there is not.
    """

    name: tuple[str, ...] = ("a photo of {class}",)
    attribute: tuple[str, ...] = ("{class} which has {phrase}",)
    analogue: tuple[str, ...] = ("a {class} similar to {phrase}.",)
    one_vs_one: tuple[str, ...] = contrasts.PLAIN
    loose_connector: bool = False

    def __post_init__(self) -> None:
        for kind, (needed, allowed) in _SLOTS.items():
            sentences = getattr(self, kind)
            sentences = (sentences,) if isinstance(sentences, str) else tuple(sentences)
            object.__setattr__(self, kind, sentences)
            if not sentences:
                raise UsageError(f"the phrasing has no sentence for {kind}: give at least one.")
            for sentence in sentences:
                _check_sentence(kind, sentence, needed, allowed)

    def say(self, kind: str, phrase: str, *, class_name: str, rival: str = "") -> list[str]:
        """The texts of one row.

        Args:
            kind: as in a bank; descriptions and captions are said as they stand.
            phrase: the row's text; for kinds ``name`` and ``synonym`` it is what the class is called.
            class_name: the class as a sentence says it.
            rival: the rival as a sentence says it.
        """
        if kind in {"name", "synonym"}:
            return [_fill(sentence, {"class": phrase}) for sentence in self.name]
        sentences: dict[str, tuple[str, ...]] = {
            "attribute": self.attribute,
            "analogue": self.analogue,
            "one-vs-one": self.one_vs_one,
        }
        slots = {"class": class_name, "rival": rival, "phrase": phrase}
        slots["connector"] = connector(phrase, loose=self.loose_connector)
        return [_fill(sentence, slots) for sentence in sentences.get(kind, ())] or [phrase]


def connector(phrase: str, *, loose: bool = False) -> str:
    """What joins a class to a descriptor (DCLIP, Menon and Vondrick, ICLR 2023).

    A phrase that begins with the word "a", "an" or "used" gets ``which is``, one that begins with "has", "often",
    "typically", "may" or "can" gets ``which``, any other ``which has``.

    Args:
        phrase: the descriptor.
        loose: compare the first letters instead of the first word, as the released code does: there "antlers" begins
            with "a", and "canine teeth" with "can".
    """
    first = phrase.split(" ", 1)[0].strip(",.;:").casefold()

    def begins(words: tuple[str, ...]) -> bool:
        return phrase.startswith(words) if loose else first in words

    if begins(("a", "an", "used")):
        return "which is"
    return "which" if begins(("has", "often", "typically", "may", "can")) else "which has"


def _check_sentence(kind: str, sentence: str, needed: frozenset[str], allowed: frozenset[str]) -> None:
    slots = set(_SLOT.findall(sentence))
    left = _SLOT.sub("", sentence)
    if needed <= slots <= allowed and "{" not in left and "}" not in left:
        return
    wanted = " and ".join(f"{{{slot}}}" for slot in sorted(needed))
    raise UsageError(f"the sentence {sentence!r} for {kind} must have {wanted}, and no other braces.")


def _fill(sentence: str, slots: Mapping[str, str]) -> str:
    return _SLOT.sub(lambda found: slots[found[1]], sentence)
