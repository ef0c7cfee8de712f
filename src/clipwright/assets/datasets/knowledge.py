"""What the classes of the embedded data sets look like, in words: synonyms, attributes, look-alikes, differences.

The words lie in JSON files beside this module, one for each list of classes, so that variants of a data set share
them. Classes that join a colour with a shape have no words of their own: theirs are composed from both lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from types import MappingProxyType

from clipwright.assets.datasets import _knowledge_file as files
from clipwright.core.errors import DataError

_Pair = tuple[str, str]
_FILES = {
    "digits": "digits",
    "digits-print": "digits",
    "letters": "letters",
    "shapes": "shapes",
    "shapes-sketch": "shapes",
    "shapes-stipple": "shapes",
}
_COMPOSED = "shapes-colour"
_OF_A_COLOUR = 2  # a colour's first attributes: no other colour has them


@dataclass(frozen=True)
class Knowledge:
    """Phrases about the classes of one data set.

    Attributes:
        name: Of the data set, as in `clipwright.assets.datasets.names()`.
        class_names: C names, in the order of the labels.
        synonyms: For each class, other names of it, which fit the templates as the class's name does.
        attributes: For each class, noun phrases that complete "... with" or "... which has": only what can be seen.
        analogues: For each class, what looks like it: other classes by name, or things ("the letter O").
        paraphrases: For each class, whole sentences that name it.
        one_vs_one: For an ordered pair (i, j) of classes, noun phrases saying what i has and j lacks. Every pair is
            there; of classes that join a colour with a shape, every pair that differs in one of the two.
        templates: Prompt templates with one `{}` for the class name; the first are the data set's own.
        author: Who wrote the phrases.
        source: What they were written from.
        licence: Under which terms.
        date: When, as "2026-11-23".
    """

    name: str
    class_names: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]
    analogues: Mapping[str, tuple[str, ...]]
    paraphrases: Mapping[str, tuple[str, ...]]
    one_vs_one: Mapping[_Pair, tuple[str, ...]]
    templates: tuple[str, ...]
    author: str
    source: str
    licence: str
    date: str


@cache
def knowledge(name: str) -> Knowledge:
    """What is known in words about the classes of an embedded data set.

    Args:
        name: One of `clipwright.assets.datasets.names()`.

    Returns:
        The phrases, checked.

    Raises:
        DataError: There is no such data set.
        FormatError: A file is damaged, or newer than this clipwright.
    """
    if name == _COMPOSED:
        return _compose(files.read_colours(), knowledge("shapes"))
    if name not in _FILES:
        known = ", ".join((*_FILES, _COMPOSED))
        raise DataError(f"There is no knowledge about a data set {name!r}; choose from {known}.")
    file = files.read_classes(_FILES[name])
    return Knowledge(
        name=name,
        class_names=tuple(c.name for c in file.classes),
        synonyms=MappingProxyType({c.name: c.synonyms for c in file.classes}),
        attributes=MappingProxyType({c.name: c.attributes for c in file.classes}),
        analogues=MappingProxyType({c.name: c.analogues for c in file.classes}),
        paraphrases=MappingProxyType({c.name: c.paraphrases for c in file.classes}),
        one_vs_one=MappingProxyType(
            {(i, j): phrases for i, others in file.one_vs_one.items() for j, phrases in others.items()}
        ),
        templates=file.templates[name],
        author=file.author,
        source=file.source,
        licence=file.licence,
        date=file.date,
    )


def _compose(file: files.ColourFile, shapes: Knowledge) -> Knowledge:
    """Words for "{colour} {shape}" from the words for both."""
    colours = {colour.name: colour for colour in file.classes}
    synonyms, attributes, analogues, paraphrases = {}, {}, {}, {}
    for colour, shape in product(file.classes, shapes.class_names):
        name = f"{colour.name} {shape}"
        names = product((colour.name, *colour.synonyms), (shape, *shapes.synonyms[shape]))
        synonyms[name] = tuple(f"{c} {s}" for c, s in names)[1:]  # the first is the class's own name
        attributes[name] = (*shapes.attributes[shape], *colour.attributes)
        near = [s for s in shapes.analogues[shape] if s in shapes.class_names]
        analogues[name] = (*(f"{c} {shape}" for c in colour.near), *(f"{colour.name} {s}" for s in near))
        paraphrases[name] = tuple(s.format(colour=colour.name, shape=shape) for s in file.sentences)
    return Knowledge(
        name=_COMPOSED,
        class_names=tuple(synonyms),
        synonyms=MappingProxyType(synonyms),
        attributes=MappingProxyType(attributes),
        analogues=MappingProxyType(analogues),
        paraphrases=MappingProxyType(paraphrases),
        one_vs_one=_OneDifference(colours, shapes),
        templates=file.templates[_COMPOSED],
        author=file.author,
        source=file.source,
        licence=file.licence,
        date=file.date,
    )


class _OneDifference(Mapping[_Pair, tuple[str, ...]]):
    """Pairs of coloured shapes that differ in the colour only or in the shape only, made when asked for."""

    def __init__(self, colours: Mapping[str, files.Colour], shapes: Knowledge) -> None:
        self._colours, self._shapes = colours, shapes

    def __getitem__(self, pair: _Pair) -> tuple[str, ...]:
        (colour, shape), (other_colour, other_shape) = (name.split(" ", 1) for name in pair)
        if shape == other_shape and shape in self._shapes.class_names and colour != other_colour in self._colours:
            return self._colours[colour].attributes[:_OF_A_COLOUR]
        if colour == other_colour and colour in self._colours:
            return self._shapes.one_vs_one[shape, other_shape]
        raise KeyError(pair)

    def __iter__(self) -> Iterator[_Pair]:
        shapes = self._shapes.class_names
        for colour, shape in product(self._colours, shapes):
            name = f"{colour} {shape}"
            yield from ((name, f"{c} {shape}") for c in self._colours if c != colour)
            yield from ((name, f"{colour} {s}") for s in shapes if s != shape)

    def __len__(self) -> int:
        colours, shapes = len(self._colours), len(self._shapes.class_names)
        return colours * shapes * (colours + shapes - 2)
