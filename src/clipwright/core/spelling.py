"""Class names as prompts want them, and what two spellings of one name have in common."""

from __future__ import annotations

import unicodedata


def clean_name(name: str) -> str:
    """A class name as prompts want it: composed Unicode (NFC), ``_`` to spaces, no control characters, single spaces.

    Dashes stay, since they belong to names such as ``t-shirt``.
    """
    text = unicodedata.normalize("NFC", name).replace("_", " ")
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in text).split())


def match_key(name: str) -> str:
    """What two spellings of one name have in common: cleaned, dashes as spaces, case folded."""
    return " ".join(clean_name(name).replace("-", " ").casefold().split())
