"""Small words and numbers, and untrusted text made safe to set."""

from __future__ import annotations

import unicodedata

_BIDI = {chr(c) for c in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def clean(text: str) -> str:
    """The text with control characters, broken surrogates and direction overrides shown as a replacement mark.

    Escaping for HTML is the template's job; this is for what no escaping makes displayable.
    """
    return "".join("\ufffd" if c in _BIDI or unicodedata.category(c) in {"Cc", "Cs"} else c for c in text)


def shortened(text: str, length: int) -> str:
    """At most `length` characters, the last an ellipsis where some are left out."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def percent(share: float, digits: int = 1) -> str:
    """A fraction as a percentage with a narrow space, such as ``93.1 %``."""
    return f"{100 * share:.{digits}f}\u202f%"


def points(difference: float) -> str:
    """A difference of fractions in percentage points with its sign, such as ``+1.3`` or ``−0.4``."""
    value = round(100 * difference, 1)
    return f"{value:+.1f}".replace("-", "\u2212") if value else "0.0"


def duration(seconds: float) -> str:
    """Wall time in the unit that suits it."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f}\u202fms" if seconds >= 0.0095 else f"{1000 * seconds:.1f}\u202fms"
    if seconds < 99.95:
        return f"{seconds:.1f}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u202fh {minutes}\u202fmin" if hours else f"{minutes}\u202fmin {rest}\u202fs"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 image``, ``1,200 images``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
