"""Wordings by name, one for each data set that has its own, and those of users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType

from clipwright.core.errors import UsageError
from clipwright.texts import contrasts
from clipwright.texts.files import read_json
from clipwright.texts.phrasing import Phrasing

_DEFAULT = Phrasing()
_PETS = replace(_DEFAULT, name=("a photo of a {class}, a type of pet.",), one_vs_one=contrasts.PETS)
_TEXTURES = replace(_DEFAULT, one_vs_one=contrasts.TEXTURES)

PHRASINGS: Mapping[str, Phrasing] = MappingProxyType(
    {
        "default": _DEFAULT,
        "eurosat": Phrasing(
            ("a photo of {class}, satellite domain.",),
            ("A satellite photo of {class} which has {phrase}.",),
            ("A satellite photo of a {class} similar to {phrase}.",),
            contrasts.SATELLITE,
        ),
        "food101": Phrasing(
            ("a photo of {class}, a type of food.",),
            ("A food photo of {class} which has {phrase}.",),
            ("A food photo of a {class} similar to {phrase}.",),
            contrasts.FOOD,
        ),
        "pets": replace(
            _PETS,
            attribute=("A pet photo of {class} which has {phrase}.",),
            analogue=("A pet photo of a {class} similar to {phrase}.",),
        ),
        "pets-few-shot": _PETS,
        "dtd": replace(
            _TEXTURES,
            attribute=("The texture of {class} is characterized by its {phrase} feature.",),
            analogue=("The texture of {class} bears a likeness to that of {phrase} .",),
        ),
        "dtd-few-shot": _TEXTURES,
        "flowers": replace(_DEFAULT, name=("a photo of a {class}, a type of flower.",)),
        "aircraft": replace(_DEFAULT, name=("a photo of a {class}, a type of aircraft.",)),
        "ucf101": replace(_DEFAULT, name=("a photo of a person doing {class}.",)),
        "places": replace(_DEFAULT, one_vs_one=contrasts.PLACES),
        "cub": replace(_DEFAULT, one_vs_one=contrasts.BIRDS),
        "dclip": replace(_DEFAULT, attribute=("{class}, {connector} {phrase}",)),
        "dclip-legacy": replace(_DEFAULT, attribute=("{class}, {connector} {phrase}",), loose_connector=True),
    }
)
"""Wordings by name: CODER's of each data set for names, attributes and look-alikes, with one-vs-one sentences of our
own, and DCLIP's for descriptors. CODER's few-shot code says attributes and look-alikes of pets and textures as by
default."""

_OTHER_NAMES = {
    "food": "food101",
    "oxfordpets": "pets",
    "oxfordpet": "pets",
    "describabletextures": "dtd",
    "oxfordflowers": "flowers",
    "flowers102": "flowers",
    "fgvcaircraft": "aircraft",
    "places365": "places",
    "cub200": "cub",
}


def phrasing_name(dataset: str) -> str:
    """The name of a data set's own wording in `PHRASINGS`, ``default`` where it has none; spelling doesn't matter."""
    key = _key(dataset)
    known = {_key(name): name for name in PHRASINGS} | _OTHER_NAMES
    return known.get(key, "default")


def read_phrasing(phrasing: str | Path | Phrasing) -> Phrasing:
    """What a user gave as phrasing: a name out of `PHRASINGS`, a JSON file, or a Phrasing.

    The file holds an object with any of ``name``, ``attribute``, ``analogue`` and ``one_vs_one``, each a sentence or a
    list of them; what it leaves out is said as by default.

    Raises:
        UsageError: an unknown name, or sentences that don't fit.
        DataError: the file can't be read.
    """
    if isinstance(phrasing, Phrasing):
        return phrasing
    if isinstance(phrasing, str) and not phrasing.endswith(".json"):
        if (found := PHRASINGS.get(phrasing)) is not None:
            return found
        raise UsageError(
            f"there is no phrasing {phrasing!r}: choose one of {', '.join(PHRASINGS)}, or give a JSON file."
        )
    path = Path(phrasing)
    raw = read_json(path)
    names = {f.name for f in fields(Phrasing)} - {"loose_connector"}
    if not isinstance(raw, dict) or not raw or not set(raw) <= names:
        raise UsageError(f"{path} is no phrasing: write a JSON object with any of {', '.join(sorted(names))}.")
    for kind, sentences in raw.items():
        if not isinstance(sentences, str | list) or not all(isinstance(sentence, str) for sentence in sentences):
            raise UsageError(f"{kind} in {path} must be a sentence or a list of sentences.")
    return Phrasing(**raw)


def _key(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
