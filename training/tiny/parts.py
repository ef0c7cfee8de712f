"""What every noun has and has not: loops, lines, openings, corners, symmetry, in many wordings.

An attribute is a noun phrase that completes "a digit with ...". Its truth is known for every noun: it has it, it has
it not, or it depends on the hand or the face ("maybe"), so that an image is never pushed away from a true sentence.
One wording in five is never trained on: development measures whether it is understood all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer.atlas import DIGITS, LETTERS, NOUNS
from clipwright.assets.renderer.counter import mix

_TOP = ("at the top", "on top", "in the upper half", "in the upper part", "at its upper end")
_BOTTOM = ("at the bottom", "at the foot", "in the lower half", "in the lower part", "at its lower end")
_MIDDLE = ("in the middle", "across the middle", "at half height", "halfway up", "in the centre")
_LEFT = ("on the left", "on the left side", "at the left", "along the left side", "to the left")
_RIGHT = ("on the right", "on the right side", "at the right", "along the right side", "to the right")
_LOOP = ("a loop", "a closed loop", "a round loop", "a ring", "a closed ring", "a hole", "a round hole", "an eye")
_LEVEL = ("a horizontal line", "a horizontal bar", "a flat line", "a level line", "a horizontal stroke", "a flat bar")
_UPRIGHT = ("a vertical line", "an upright line", "an upright stroke", "a stem", "a vertical bar", "a vertical stroke")
_SLANT = ("a slanted line", "a diagonal line", "a diagonal stroke", "a sloping line", "a slanting stroke")
_OPEN = ("an opening", "an open side", "a gap", "an open end")
_ONE = ("one", "a single", "only one", "exactly one", "just one")


def _cross(*lists: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(words) for words in product(*lists))


@dataclass(frozen=True)
class Attribute:
    """Something that can be seen.

    Attributes:
        name: For tables.
        wordings: Noun phrases that complete "with ...".
        yes: Nouns that have it.
        maybe: Nouns that have it in some hands or faces. All other nouns of the same kind lack it.
    """

    name: str
    wordings: tuple[str, ...]
    yes: frozenset[str]
    maybe: frozenset[str]


def _of(name: str, wordings: tuple[str, ...], yes: str, maybe: str = "") -> Attribute:
    return Attribute(name, wordings, frozenset(yes.split()), frozenset(maybe.split()))


CHARACTER: tuple[Attribute, ...] = (
    _of("loop top", _cross(_LOOP, _TOP), "8 9 B P R", "A 0 O Q D 4"),
    _of("loop bottom", _cross(_LOOP, _BOTTOM), "6 8 B", "0 O Q D 2"),
    _of(
        "two loops",
        (
            *_cross(("two",), ("loops", "closed loops", "rings", "holes", "round holes")),
            *("two loops, one above the other", "one loop above another", "a loop above and a loop below"),
            *("two rings on top of each other", "a pair of loops", "a hole above and a hole below"),
        ),
        "8 B",
    ),
    _of("one loop", _cross(_ONE, ("loop", "closed loop", "hole", "ring", "round hole")), "0 6 9 O D P Q R A", "4 2"),
    _of(
        "no loop",
        (
            *_cross(("no",), ("loop", "closed loop", "hole", "ring", "loops", "holes")),
            "nothing closed",
            "no closed part",
        ),
        "1 3 5 7 C E F G H I J K L M N S T U V W X Y Z",
        "4 2",
    ),
    _of(
        "closed outline",
        (
            *(
                "a closed outline",
                "one closed curve",
                "one loop all around",
                "a loop as tall as itself",
                "a round outline",
            ),
            *("a closed round line", "an outline without ends", "a large round hole", "a closed ring all around"),
        ),
        "0 O",
        "D Q",
    ),
    _of("bar top", (*_cross(_LEVEL, _TOP), "a flat top", "a straight top"), "5 7 E F T Z", "B D P R I 3 J"),
    _of(
        "bar bottom",
        (*_cross(_LEVEL, _BOTTOM), "a flat bottom", "a flat foot", "a straight base"),
        "2 E L Z",
        "1 I B D",
    ),
    _of("bar middle", _cross(_LEVEL, _MIDDLE), "A E F H", "4 B P R G 7 5 3 8 6 9"),
    _of("stem left", _cross(_UPRIGHT, _LEFT), "B D E F H K L M N P R", "U 5 6 4 0 O"),
    _of("stem right", _cross(_UPRIGHT, _RIGHT), "4 H M N J", "U 9 1 G 0 O"),
    _of("stem middle", _cross(_UPRIGHT, ("in the middle", "in the centre", "at the centre")), "1 I T", "Y 4"),
    _of(
        "two stems",
        (
            *_cross(("two",), ("vertical lines", "upright lines", "stems", "vertical strokes", "upright strokes")),
            *("a stem on each side", "a vertical line on both sides", "an upright line on each side"),
        ),
        "H M N",
        "U W",
    ),
    _of("slant", (*_SLANT, "a line that slants", "a line that leans"), "4 7 A K M N V W X Y Z", "R Q 2 1"),
    _of(
        "two slants",
        (
            *_cross(
                ("two",), ("slanted lines", "diagonal lines", "slanting strokes", "sloping lines", "diagonal strokes")
            ),
            *("two lines that meet in a point", "two slanted lines that meet"),
        ),
        "A V X",
        "M W Y K N 4 7",
    ),
    _of(
        "crossing",
        ("two lines that cross", "lines that cross", "a crossing", "a cross in the middle", "two crossing lines"),
        "X",
        "4 8 T Q H A",
    ),
    _of("open right", _cross(_OPEN, _RIGHT[:4]), "C E F G K", "6 2 L Z X 5 S"),
    _of("open left", _cross(_OPEN, _LEFT[:4]), "3", "2 5 7 9 J Z S X 1"),
    _of("open top", _cross(_OPEN, _TOP[:4]), "U V W Y", "H K X M N L 4 6"),
    _of("open bottom", _cross(_OPEN, _BOTTOM[:4]), "A M", "N H R K X 7 9 T F P Y"),
    _of(
        "curves only",
        (
            *_cross(("only", "nothing but"), ("curves", "curved lines", "round lines", "curved strokes")),
            *("no straight line", "no straight lines", "curves everywhere", "a round line throughout"),
        ),
        "0 3 6 8 9 C O S",
        "U Q G J 2",
    ),
    _of(
        "straight only",
        (
            *_cross(("only", "nothing but"), ("straight lines", "straight strokes", "lines without a bend")),
            *("no curve", "no curves", "no round part", "straight lines throughout"),
        ),
        "1 4 7 A E F H I K L M N T V W X Y Z",
    ),
    _of(
        "straight and curved",
        (
            *("straight and curved lines", "both straight and round parts", "a straight part and a curve"),
            *("a straight line and a curve", "both lines and curves", "a curve joined to a straight line"),
        ),
        "2 5 B D G P R J Q",
        "U 9 6 1 7 3",
    ),
    _of(
        "curve top",
        (
            *_cross(("a curve", "a round part", "a curved line", "an arc", "a bend"), _TOP),
            "a round top",
            "a curved top",
        ),
        "0 2 3 6 8 9 C G O Q S",
        "P R B D 1 7",
    ),
    _of(
        "curve bottom",
        (
            *_cross(("a curve", "a round part", "a curved line", "an arc", "a bend"), _BOTTOM),
            *("a round bottom", "a curved bottom", "a round base"),
        ),
        "0 3 5 6 8 C G J O Q S U",
        "9 B D 2",
    ),
    _of(
        "bumps right",
        (
            *_cross(("two",), ("bumps", "bulges", "bellies", "round bumps"), ("on the right", "on the right side")),
            *("two curves open to the left", "two arcs on the right side"),
        ),
        "3 B",
        "8 R",
    ),
    _of("hook bottom", _cross(("a hook", "a hooked end", "a curl"), _BOTTOM), "J", "9 5 3 2 U G S"),
    _of("tail", ("a small tail", "a short tail", "a tail at the bottom right", "a small stroke below"), "Q", "R 9 2 K"),
    _of(
        "mirrored left right",
        (
            *("equal left and right halves", "two equal sides, left and right", "a left half like its right half"),
            *("mirror symmetry from left to right", "the same form on the left and on the right"),
        ),
        "0 8 A H I M O T U V W X Y",
        "1",
    ),
    _of(
        "mirrored top bottom",
        (
            *(
                "equal upper and lower halves",
                "an upper half like its lower half",
                "mirror symmetry from top to bottom",
            ),
            *("the same form above and below", "a top half equal to the bottom half"),
        ),
        "0 3 8 B C D E H I K O X",
        "1 S Z N",
    ),
    _of(
        "narrow",
        ("a narrow form", "very little width", "a thin upright form", "a slim body", "a narrow body"),
        "1 I",
        "J",
    ),
    _of("wide", ("a wide form", "a broad form", "a wide body", "more width than usual"), "M W", "O Q D G H N U X A"),
    _of(
        "point top",
        ("a point at the top", "a pointed top", "a sharp top", "a tip at the top", "a peak", "a sharp corner on top"),
        "A",
        "4 M N 1",
    ),
    _of(
        "point bottom",
        ("a point at the bottom", "a pointed bottom", "a sharp bottom", "a tip at the bottom", "a sharp corner below"),
        "V",
        "W M N 7 Y",
    ),
)
"""Attributes of digits and capitals."""

_POINT = ("a point", "a tip", "a sharp point", "a corner", "a sharp corner", "a pointed end")
_SIDES = ("sides", "straight sides", "edges", "straight edges")
_CORNERS = ("corners", "points", "sharp corners", "vertices")


def _count(number: str) -> tuple[str, ...]:
    sides, corners = _cross((number,), _SIDES), _cross((number,), _CORNERS)
    return (*sides, *corners, f"{number} sides and {number} corners", f"exactly {number} corners")


SHAPE: tuple[Attribute, ...] = (
    _of(
        "no corner",
        (
            *_cross(("no", "not a single"), ("corner", "sharp corner", "point")),
            *(
                "no corners",
                "no points",
                "a round outline",
                "a smooth outline",
                "a smooth edge all around",
                "only curves",
            ),
        ),
        "circle oval ring",
        "semicircle crescent heart teardrop",
    ),
    _of("one point", _cross(_ONE, ("corner", "point", "tip", "sharp point", "pointed end")), "teardrop", "heart arrow"),
    _of(
        "two points",
        (
            *_cross(("two",), ("corners", "points", "tips", "sharp points", "pointed ends")),
            *("a point at each end", "two tips, one at each end"),
        ),
        "crescent semicircle",
        "heart",
    ),
    _of("three corners", _count("three"), "triangle"),
    _of("four corners", _count("four"), "square diamond"),
    _of("six corners", _count("six"), "hexagon"),
    _of(
        "five points",
        (
            *_cross(("five",), ("points", "tips", "arms", "rays", "spikes", "sharp points")),
            *("five points around the middle", "points in five directions"),
        ),
        "star",
    ),
    _of(
        "four arms",
        (
            *_cross(("four",), ("arms", "equal arms", "arms of equal length", "square arms", "bars", "ends")),
            *("two bars that cross", "a vertical bar and a horizontal bar", "arms in four directions"),
        ),
        "cross",
    ),
    _of(
        "curved outline",
        (
            *_cross(("only", "nothing but"), ("curved sides", "curved edges", "round edges")),
            *("no straight side", "no straight edge", "a curved outline", "a round edge everywhere"),
        ),
        "circle oval ring crescent heart",
        "teardrop",
    ),
    _of(
        "straight outline",
        (
            *_cross(("only", "nothing but"), ("straight sides", "straight edges", "straight lines")),
            *("no curve", "no curved side", "no round part", "straight edges everywhere", "an angular outline"),
        ),
        "square diamond triangle hexagon star cross arrow",
    ),
    _of(
        "one straight side",
        (
            *(
                "one straight side and one curved side",
                "a straight edge and a curved edge",
                "a curve above a straight line",
            ),
            *("a round top and a straight bottom", "a flat side and a round side"),
        ),
        "semicircle",
        "teardrop",
    ),
    _of(
        "hole",
        (
            *_cross(("a hole", "a round hole", "an opening", "an empty space"), ("in the middle", "in the centre")),
            *("an empty middle", "an empty centre", "a round band", "an inner edge and an outer edge", "a hole inside"),
        ),
        "ring",
    ),
    _of(
        "no hole",
        _cross(("a full", "a filled", "a solid"), ("middle", "centre")),
        "circle oval semicircle square diamond triangle hexagon star heart cross arrow teardrop",
        "crescent",
    ),
    _of(
        "point top", (*_cross(_POINT, _TOP), "a pointed top", "a sharp top"), "triangle diamond star teardrop", "heart"
    ),
    _of("point bottom", (*_cross(_POINT, _BOTTOM), "a pointed bottom", "a sharp bottom"), "diamond heart", "star"),
    _of(
        "point right",
        (*_cross(_POINT, _RIGHT[:4]), "a pointed right side", "a head on the right"),
        "arrow",
        "hexagon diamond semicircle star",
    ),
    _of(
        "flat bottom",
        (*_cross(_LEVEL, _BOTTOM), "a flat bottom", "a flat base", "a straight base", "a level foot"),
        "semicircle square triangle hexagon cross",
    ),
    _of("flat top", (*_cross(_LEVEL, _TOP), "a flat top", "a straight top", "a level top"), "square hexagon cross"),
    _of(
        "round top",
        (*_cross(("a curve", "a round part", "an arc"), _TOP), "a round top", "a curved top", "a dome on top"),
        "circle oval ring semicircle",
        "heart crescent",
    ),
    _of(
        "round bottom",
        (*_cross(("a curve", "a round part", "an arc"), _BOTTOM), "a round bottom", "a curved bottom", "a round base"),
        "circle oval ring teardrop",
        "crescent",
    ),
    _of(
        "two bumps top",
        (
            *_cross(("two",), ("bumps", "round bumps", "lobes", "humps", "arcs", "curves"), ("at the top", "on top")),
            *("a dent at the top", "a notch at the top", "a dip between two bumps"),
        ),
        "heart",
    ),
    _of(
        "wide",
        (
            *(
                "more width than height",
                "a wide form",
                "a broad low form",
                "a flat wide body",
                "a greater width than height",
            ),
            *("a long horizontal body", "a low and wide outline"),
        ),
        "oval semicircle arrow",
    ),
    _of(
        "tall",
        (
            *("more height than width", "a tall form", "a narrow tall body", "a greater height than width"),
            *("a tall and narrow outline", "a form taller than wide"),
        ),
        "diamond teardrop",
        "crescent",
    ),
    _of(
        "equal sides",
        (
            *("equal sides", "sides of equal length", "all sides equal", "edges of the same length", "equal edges"),
            *("sides that are all the same",),
        ),
        "square hexagon",
        "diamond triangle star cross",
    ),
    _of(
        "right angles",
        (
            *("right angles", "square corners", "upright and level sides", "corners like those of a box"),
            *("two vertical sides", "vertical and horizontal edges"),
        ),
        "square cross",
        "arrow",
    ),
    _of(
        "slanted sides",
        (
            *("slanted sides", "sloping sides", "slanting edges", "diagonal sides", "sides that slant"),
            *("diagonal edges", "leaning sides"),
        ),
        "triangle diamond",
        "hexagon star arrow teardrop heart",
    ),
    _of(
        "dents",
        (
            *("corners that go inward", "inner corners", "notches", "dents", "parts that stick out", "inward corners"),
            *("notches between its arms",),
        ),
        "star cross arrow",
        "heart crescent ring",
    ),
    _of(
        "thin ends",
        (
            *("a thick middle and thin ends", "ends that get thin", "thin curved ends", "a curved body with thin ends"),
            *("a large bite taken out", "one side hollow", "a hollow side", "a bite out of the right side"),
        ),
        "crescent",
    ),
    _of(
        "shaft",
        (
            *(
                "a shaft and a head",
                "a long shaft",
                "a straight shaft",
                "a shaft on the left",
                "a bar that ends in a head",
            ),
            *("a triangle at its end", "a thin bar and a pointed head"),
        ),
        "arrow",
    ),
    _of(
        "even radius",
        (
            *(
                "the same width in every direction",
                "an edge always as far from the middle",
                "a perfectly round outline",
            ),
            *("the same width and height", "equal width and height"),
        ),
        "circle ring",
        "square star cross hexagon",
    ),
)
"""Attributes of shapes."""

ATTRIBUTES: tuple[Attribute, ...] = (*CHARACTER, *SHAPE)
"""All attributes; a caption's are indices into this."""


@cache
def truth() -> NDArray[np.int8]:
    """(nouns, attributes): 1 has it, 0 lacks it, -1 depends, or the attribute isn't used for this kind of noun."""
    table = np.full((len(NOUNS), len(ATTRIBUTES)), -1, dtype=np.int8)
    characters = len(DIGITS) + len(LETTERS)
    for column, attribute in enumerate(ATTRIBUTES):
        rows = slice(0, characters) if column < len(CHARACTER) else slice(characters, None)
        kind = NOUNS[rows]
        unknown = (attribute.yes | attribute.maybe) - set(kind)
        if unknown:
            msg = f"attribute {attribute.name!r} names {sorted(unknown)}, which can't be drawn"
            raise ValueError(msg)
        table[rows, column] = [1 if n in attribute.yes else -1 if n in attribute.maybe else 0 for n in kind]
    return table


def held_out(wording: str) -> bool:
    """Whether a wording is kept for development: one in five, by a hash of its letters."""
    return mix(*wording.encode()) % 5 == 0


@cache
def trained(attribute: int) -> tuple[str, ...]:
    """Wordings of an attribute that captions use."""
    return tuple(w for w in ATTRIBUTES[attribute].wordings if not held_out(w))


@cache
def unseen(attribute: int) -> tuple[str, ...]:
    """Wordings of an attribute that captions never use."""
    return tuple(w for w in ATTRIBUTES[attribute].wordings if held_out(w))
