"""Synonyms of class names out of WordNet: one meaning is chosen for each class, and its other nouns are taken."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from clipwright.backbones.base import Backbone, BackboneRef
from clipwright.core.errors import NeedsError
from clipwright.core.spelling import match_key
from clipwright.texts.bank import NAME, SYNONYM, Row, TextBank, check_names
from clipwright.texts.lexicon import Lexicon, Sense, spellings
from clipwright.texts.senses import Rule, choose_senses, spoken
from clipwright.texts.wn_lexicon import WnLexicon
from clipwright.texts.wndb import DATA, WordNetFolder

VARIABLE = "CLIPWRIGHT_WORDNET"
"""Environment variable: a folder of WordNet's files, or ``wn:<lexicon>``."""

USUAL_PLACES = (Path("/usr/share/wordnet"), Path("/usr/local/share/wordnet"), Path("/usr/share/wordnet/dict"))
"""Where systems put WordNet's files; Debian's package is called ``wordnet-base``."""


@dataclass(frozen=True)
class Choice:
    """What was made of one class.

    Attributes:
        class_name: the class.
        sense: the meaning that was chosen, or None where the lexicon doesn't know the name.
        senses: how many there were.
        synonyms: what is left of its nouns.
    """

    class_name: str
    sense: Sense | None
    senses: int
    synonyms: tuple[str, ...]


def open_lexicon(source: str | Path | Lexicon | None = None) -> Lexicon:
    """A lexicon by name: a WNDB folder, ``wn`` or ``wn:<lexicon>``.

    By default the one that CLIPWRIGHT_WORDNET names, else a folder in the usual places, else that of `wn`.

    Raises:
        NeedsError: there is none.
        UsageError: `wn` has several and it isn't said which.
        DataError: the folder has no WordNet files.
    """
    if source is not None and not isinstance(source, str | Path):
        return source
    chosen = source or os.environ.get(VARIABLE)
    if chosen is None or not str(chosen):
        if (found := next((p for p in USUAL_PLACES if (p / DATA).is_file()), None)) is not None:
            return WordNetFolder(found)
        try:
            return WnLexicon()
        except NeedsError as error:
            raise NeedsError(
                "there is no WordNet on this machine: install Debian's wordnet-base, give a folder of WordNet's files "
                f"({VARIABLE} or source), or install 'clipwright[wordnet]' and a lexicon for it."
            ) from error
    text = str(chosen)
    if text == "wn" or text.startswith("wn:"):
        return WnLexicon(text[3:])
    return WordNetFolder(Path(text).expanduser())


def wordnet_synonyms(
    classes: Sequence[str],
    source: str | Path | Lexicon | None = None,
    backbone: Backbone | BackboneRef | None = None,
    *,
    domain: str | None = None,
    rule: Rule | None = None,
    date: str | None = None,
) -> TextBank:
    """A bank of the classes' names and of their synonyms in WordNet.

    How one meaning is chosen is said at `choose_senses`. Never among the synonyms are the class's own name, the name of
    another class, and a noun that two classes would share; other spellings (case, dashes, underscores, plurals) count
    as the same.

    Args:
        classes: C names; ``crane (bird)`` is looked up as ``crane``.
        source: as for `open_lexicon`.
        backbone: whose text tower compares meanings.
        domain: what all classes are, such as ``a species of bird``, to compare meanings with.
        rule: how a meaning is chosen; by default ``glosses`` with a backbone, ``fields`` without.
        date: what rows are dated; today by default.

    Returns:
        Rows of kinds ``name`` and ``synonym``; the source of a synonym names the lexicon and the meaning.

    Raises:
        NeedsError: there is no lexicon.
        DataError: names that can't be used, or a damaged lexicon.
        UsageError: a rule or a domain without the backbone that it needs.
    """
    lexicon = open_lexicon(source)
    day = date or datetime.now(UTC).date().isoformat()
    model = "" if backbone is None else f"sense chosen by {backbone.spec}"
    rows = []
    for choice in choose_synonyms(classes, lexicon, backbone, domain=domain, rule=rule):
        rows.append(Row(choice.class_name, NAME, spoken(choice.class_name), source="class list", date=day))
        if choice.sense is not None:
            origin = f"{lexicon.name}, {choice.sense.key}"
            rows += [
                Row(choice.class_name, SYNONYM, word, source=origin, model=model, date=day) for word in choice.synonyms
            ]
    return TextBank.gather(tuple(classes), rows)


def choose_synonyms(
    classes: Sequence[str],
    lexicon: Lexicon,
    backbone: Backbone | BackboneRef | None = None,
    *,
    domain: str | None = None,
    rule: Rule | None = None,
) -> list[Choice]:
    """The meaning and the synonyms of each class; arguments and errors as for `wordnet_synonyms`."""
    check_names(classes)
    senses = [look_up(name, lexicon) for name in classes]
    chosen = choose_senses(classes, senses, backbone, domain=domain, rule=rule)
    taken = {match_key(form) for name in classes for form in (name, *spellings(name, lexicon))}
    found = []
    for name, several, number in zip(classes, senses, chosen, strict=True):
        sense = several[number] if number is not None else None
        words = {match_key(w): w for w in reversed(sense.lemmas)} if sense is not None else {}
        kept = tuple(w for key, w in reversed(words.items()) if key not in taken)
        found.append(Choice(name, sense, len(several), kept))
    times = Counter(match_key(word) for choice in found for word in choice.synonyms)
    return [replace(c, synonyms=tuple(w for w in c.synonyms if times[match_key(w)] == 1)) for c in found]


def look_up(name: str, lexicon: Lexicon) -> list[Sense]:
    """Meanings of the first spelling that the lexicon knows."""
    return next((found for word in spellings(name, lexicon) if (found := lexicon.senses(word))), [])
