"""Which class an answer in words means."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from clipwright.core.spelling import match_key

_FIELDS = ("class", "label", "answer", "name", "category")
_LEAD = re.compile(r"^(?:the\s+)?(?:final\s+)?(?:answer|class|label)\s*(?:is)?\s*[:=]?\s*", flags=re.I)
_EDGE = " \t\"'`*.,:;!?()[]{}“”‘’"


def read_label(text: str, class_names: Sequence[str]) -> int | None:
    """The class that an answer names, or None where it names none, or more than one.

    Taken are, in this order: the whole answer or its first line (spelling of case, dashes and underscores doesn't
    matter, nor do quotation marks, a full stop, or ``Answer:`` before it); a JSON object's ``class``, ``label``,
    ``answer``, ``name`` or ``category``; the only class that is mentioned anywhere, of overlapping names the longest.

    Args:
        text: what the model said.
        class_names: C names.
    """
    keys = {match_key(name): i for i, name in enumerate(class_names)}
    whole = text.strip()
    first = whole.split("\n", 1)[0]
    for part in (whole, first, _field(whole)):
        for form in (part, part.strip(_EDGE), _LEAD.sub("", part.strip(_EDGE)).strip(_EDGE)):
            if (found := keys.get(match_key(form))) is not None:
                return found
    mentioned = _mentions(match_key(whole), keys)
    return mentioned.pop() if len(mentioned) == 1 else None


def _field(text: str) -> str:
    """The value of the first known field of a JSON object in a text, empty where there is none."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return ""
    if not isinstance(value, dict):
        return ""
    return next((value[name] for name in _FIELDS if isinstance(value.get(name), str)), "")


def _mentions(text: str, keys: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for key in sorted(keys, key=len, reverse=True):
        pattern = re.compile(rf"(?<!\w){re.escape(key)}(?!\w)")
        text, times = pattern.subn("\x00", text)  # a shorter name inside it is no mention of its own
        if times:
            found.add(keys[key])
    return found
