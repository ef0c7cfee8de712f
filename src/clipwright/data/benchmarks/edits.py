"""How the class names of the benchmarks were made from those of the data sets themselves.

CoOp's split files hold the edited names already, and editing those again changes nothing; names that a data set brings,
or that a split file from elsewhere holds, become the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

_LAST_YEAR = re.compile(r"(.*\S)\s+((?:19|20)\d\d)")
_WORDS = re.compile(r"[A-Z][^A-Z]*")


def _year_first(name: str) -> str:
    """``Acura RL Sedan 2012`` to ``2012 Acura RL Sedan``."""
    found = _LAST_YEAR.fullmatch(name)
    return f"{found[2]} {found[1]}" if found else name


def _path_backwards(name: str) -> str:
    """``/c/church/outdoor`` to ``outdoor church``: without the letter, the last part first."""
    return " ".join(reversed(name.split("/")[2:])) if name.startswith("/") else name


def _camel_case(name: str) -> str:
    """``ApplyEyeMakeup`` to ``Apply_Eye_Makeup``."""
    if "_" in name or " " in name or not name[:1].isupper():
        return name
    return "_".join(_WORDS.findall(name))


RULES: Mapping[str, Callable[[str], str]] = {
    "": str,
    "lower case": str.lower,
    "year first": _year_first,
    "path backwards": _path_backwards,
    "camel case": _camel_case,
}


@dataclass(frozen=True)
class Edits:
    """The edits of one data set.

    Attributes:
        rename: new name of each class that has one.
        drop: classes that are left out.
        rule: one of `RULES`, for all names.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] | list[str] = ()
    rule: str = ""

    def __call__(self, name: str) -> str | None:
        """The edited name, or None for a class that is left out; an edited name stays as it is."""
        if name in self.drop:
            return None
        return self.rename.get(name) or RULES[self.rule](name)
