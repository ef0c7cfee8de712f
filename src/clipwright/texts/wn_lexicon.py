"""Lexicons of the package `wn` (the ``wordnet`` extra): Open English WordNet and others that it has on this machine."""

from __future__ import annotations

from typing import Any

from clipwright.core.errors import NeedsError, UsageError
from clipwright.texts.lexicon import Sense

_HELP = "python -m wn download oewn:2024"


class WnLexicon:
    """The nouns of one lexicon that `wn` has.

    Args:
        which: its specifier, such as ``oewn:2024``; empty for the only English one there is.

    Raises:
        NeedsError: the package is missing, or it has no such lexicon.
        UsageError: it isn't said which of several is meant.
    """

    def __init__(self, which: str = "") -> None:
        try:
            import wn
        except ImportError as error:
            raise NeedsError(
                "synonyms need a folder of WordNet's files or the package wn: pip install 'clipwright[wordnet]'."
            ) from error
        found = [x for x in wn.lexicons(lexicon=which or "*") if which or x.language.split("-")[0] == "en"]
        if not found:
            what = f"no lexicon {which}" if which else "no English lexicon"
            raise NeedsError(f"wn has {what}: get one with '{_HELP}', or give a folder of WordNet's files.")
        if len(found) > 1:
            known = ", ".join(sorted(lexicon.specifier() for lexicon in found))
            raise UsageError(f"wn has {known}: say which, as wn:{found[0].specifier()}.")
        specifier = found[0].specifier()
        self.name = f"{found[0].label} ({specifier})"
        self._nouns: Any = wn.Wordnet(specifier, expand="")

    def senses(self, word: str) -> list[Sense]:
        """The meanings of a noun, in the order of its entries and of their senses."""
        synsets = {s.id: s for entry in self._nouns.words(word, pos="n") for s in entry.synsets()}
        return [
            Sense(key, tuple(s.lemmas()), (s.definition() or "").strip(), s.lexfile() or "")
            for key, s in synsets.items()
        ]

    def irregular(self, word: str) -> tuple[str, ...]:
        """None: `wn` knows irregular plurals as forms of their entry, so `senses` finds them."""
        del word
        return ()
