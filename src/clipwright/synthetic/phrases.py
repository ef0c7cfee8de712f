"""What a model says of a class, made fit for a text bank: cleaned, and what is no phrase dropped and counted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from clipwright.core.spelling import match_key

MOST = 100  # phrases of one answer that are looked at
LONGEST_PHRASE, LONGEST_SENTENCE = 120, 400  # characters; a text tower reads about 300 of English

_BULLET = re.compile(r"^(?:[-*•–—·]+|\(?\d{1,3}[.):])\s+")
_NOTHING = frozenset({"", "none", "null", "nil", "n/a", "na", "nothing", "unknown", "not applicable", "-", "...", "…"})
_MARKUP = re.compile(r"<\||\|>|://|```|\[/?INST\]|</?\w+>", flags=re.I)
_NONE_WORD = re.compile(r"\bNone\b")

# Servers are shown a plain schema, which all of them can hold a model to; null is taken all the same, and dropped.
Phrases = Annotated[list[str | None], WithJsonSchema({"type": "array", "items": {"type": "string"}})]


class ClassPhrases(BaseModel):
    """An answer about one class: the name that it is about, and phrases."""

    model_config = ConfigDict(extra="ignore")
    name: str
    phrases: Phrases


class PairPhrases(BaseModel):
    """An answer about two classes: what each has and the other lacks."""

    model_config = ConfigDict(extra="ignore")
    first_name: str
    second_name: str
    first: Phrases
    second: Phrases


def about(name: str, asked: str) -> str | None:
    """What is wrong with an answer about `name` where `asked` was meant, or None."""
    if match_key(name.strip().strip("\"'")) == match_key(asked):
        return None
    return "The answer is about another name than the one that was given: repeat that name exactly as it stands."


def cleaned(phrase: str, *, sentence: bool = False) -> str:
    """A phrase on one line, without bullet, number, quotation marks, and (but for a sentence) the full stop."""
    text = unicodedata.normalize("NFC", phrase)
    text = "".join(" " if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp", "Cs"} else c for c in text)
    text = _BULLET.sub("", " ".join(text.split()))
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'“”":
        text = text[1:-1].strip()
    return text if sentence else text.rstrip(" .;,")


def usable(
    phrases: Iterable[str | None],
    *,
    sentence: bool = False,
    names: Collection[str] = (),
    dropped: Counter[str],
) -> list[str]:
    """The phrases that say something, in order, each once.

    Args:
        phrases: as the model gave them.
        sentence: whether whole sentences are wanted.
        names: class names that no phrase may be: those of a data set, where synonyms are wanted.
        dropped: counts what is left out, by reason.
    """
    longest = LONGEST_SENTENCE if sentence else LONGEST_PHRASE
    keys = {match_key(name) for name in names}
    found: dict[str, str] = {}
    for number, phrase in enumerate(phrases):
        if number >= MOST:
            dropped["too many"] += 1
            continue
        text = cleaned(phrase or "", sentence=sentence)
        key = match_key(text)
        if key in _NOTHING or _NONE_WORD.search(text) or not any(c.isalnum() for c in text):
            dropped["empty or None"] += 1
        elif len(text) > longest:
            dropped["too long"] += 1
        elif _MARKUP.search(text):
            dropped["markup"] += 1
        elif key in keys:
            dropped["name of a class"] += 1
        elif key in found:
            dropped["repeated"] += 1
        else:
            found[key] = text
    return list(found.values())
