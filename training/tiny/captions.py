"""The caption grammar: what may be said about a scene, and which scenes a caption is true of.

    [a {quality} photo of | prefix] article [size] [weight] [colour] [texture] noun [with parts] [on a {} background]

The noun is a name ("the digit seven", "a droplet"), or only its kind ("a digit", "something") with one to three of
its parts ("with a flat top and no loop"), or both. Whatever is said is drawn independently of everything else that is
said, and is visible. A caption remembers which nouns it may be true of, so that no image is pushed away from a true
sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from training.tiny import lexicon, parts

from clipwright.assets.renderer.atlas import DIGITS, LETTERS, MEDIA, NOUNS
from clipwright.assets.renderer.scenes import COLOURS, FIELDS, QUALITIES, SIZES, TEXTURES, WEIGHTS, Scenes
from clipwright.core.rng import generator

_MENTION = np.array(
    [1.0, 0.35, 0.4, 0.3, 0.25, 0.2, 0.2, 0.25]
)  # chance of mentioning each of FIELDS, if it has a word
_DESCRIBED, _BOTH, _SIMILAR = 0.3, 0.14, 0.06  # shares of captions: parts only, name and parts, "similar to"
_KIND = np.array(lexicon.KINDS)


@dataclass(frozen=True)
class Captions:
    """Captions with what they say.

    Attributes:
        texts: B captions.
        said: (B, 8) int64: the scene's value of each of FIELDS that was mentioned, else -1.
        allowed: (B, nouns) booleans: nouns that the caption may be true of.
    """

    texts: list[str]
    said: NDArray[np.int64]
    allowed: NDArray[np.bool_]


@dataclass
class _Words:
    """A caption in the making."""

    head: str
    allowed: NDArray[np.bool_]
    definite: bool = False
    tail: list[str] = field(default_factory=list)


def write(scenes: Scenes, *, seed: int, step: int) -> Captions:
    """Write one caption for each scene.

    Args:
        scenes: B scenes.
        seed: Of the run.
        step: Of the batch; equal (seed, step) and scenes give equal captions.

    Returns:
        The captions.
    """
    rng = generator(seed, "captions", step)
    mention = rng.random((len(scenes.mask), len(FIELDS))) < _MENTION
    style = rng.random(len(scenes.mask))
    said = np.where(mention, scenes.table, -1)
    for name, options, silent in (("size", SIZES, "medium"), ("weight", WEIGHTS, "medium"), ("medium", MEDIA, "drawn")):
        column = FIELDS.index(name)
        said[:, column] = np.where(scenes.table[:, column] == options.index(silent), -1, said[:, column])
    said[style < _DESCRIBED, 0] = -1
    texts, allowed = [], np.empty((len(said), len(NOUNS)), dtype=np.bool_)
    for row, (noun, words, share) in enumerate(zip(scenes.table[:, 0].tolist(), said.tolist(), style, strict=True)):
        fields = dict(zip(FIELDS, words, strict=True))
        phrase = _noun_phrase(noun, fields, float(share), rng)
        texts.append(_sentence(phrase, fields, rng))
        allowed[row] = phrase.allowed
    return Captions(texts, said, allowed)


def _pick(options: tuple[str, ...], rng: np.random.Generator, usual: float = 0.35) -> str:
    """The first word of each list is the usual one."""
    return options[0] if rng.random() < usual else options[int(rng.integers(len(options)))]


def _alike() -> NDArray[np.bool_]:
    table = np.eye(len(NOUNS), dtype=np.bool_)
    for first, second in lexicon.ALIKE:
        a, b = NOUNS.index(first), NOUNS.index(second)
        table[a, b] = table[b, a] = True
    return table


_SAME = _alike()


def _noun_phrase(noun: int, said: dict[str, int], share: float, rng: np.random.Generator) -> _Words:
    if said["noun"] >= 0:
        words = _Words(_named(noun, said, rng), _SAME[noun].copy(), definite=noun < len(DIGITS) + len(LETTERS))
        if share < _DESCRIBED + _BOTH:
            words.tail.append(_having(_wordings(noun, int(rng.integers(1, 3)), words, rng), rng))
        elif share < _DESCRIBED + _BOTH + _SIMILAR:
            words.tail.append(f"{_pick(_LIKE, rng)} {_lookalike(noun, words, rng)}")
        return words
    words = _kind(noun, rng)
    if share < 0.2 * _SIMILAR:
        words.tail.append(f"{_pick(_LIKE, rng)} {_lookalike(noun, words, rng)}")
    else:
        count = int(rng.choice(3, p=[0.35, 0.4, 0.25])) + 1
        words.tail.append(_having(_wordings(noun, count, words, rng), rng))
    return words


_LIKE = ("similar to", "that looks like", "which resembles", "much like")


def _lookalike(noun: int, words: _Words, rng: np.random.Generator) -> str:
    names = lexicon.LOOKALIKES[NOUNS[noun]].split()
    name = names[int(rng.integers(len(names)))]
    similar = [n == name or name in lexicon.LOOKALIKES[n].split() for n in NOUNS]
    words.allowed &= np.array(similar)
    return lexicon.said_of(name)


def _named(noun: int, said: dict[str, int], rng: np.random.Generator) -> str:
    """A name without its article: "handwritten digit seven", "capital letter b", "ring"."""
    name = NOUNS[noun]
    medium = _pick(lexicon.MEDIUM_WORDS[MEDIA[said["medium"]]], rng) + " " if said["medium"] >= 0 else ""
    if noun < len(DIGITS):
        name = lexicon.DIGIT_WORDS[noun] if rng.random() < 0.65 else name
        words = f"{medium}{_pick(lexicon.DIGIT_NOUNS, rng)}"
        if medium.startswith("hand") and rng.random() < 0.3:
            return f"{words.removeprefix(medium)} {name} written by hand"
        return f"{words} {name}" if rng.random() < 0.75 else f"{medium}{name}"
    if noun < len(DIGITS) + len(LETTERS):
        return f"{medium}{_pick(lexicon.LETTER_NOUNS, rng)} {name}"
    name = _pick(lexicon.SYNONYMS[name], rng)
    return f"{name} shape" if " " not in name and rng.random() < 0.12 else name


_HEADS: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = (
    (("digit", "number", "numeral"), (0,)),
    (("letter", "capital letter", "capital"), (1,)),
    (("shape", "form", "outline", "geometric shape"), (2,)),
)


def _kind(noun: int, rng: np.random.Generator) -> _Words:
    """Only what sort of thing it is: "digit", "character" (a digit or a letter), "something"."""
    kind = int(_KIND[noun])
    fate = rng.random()
    if fate < 0.7:
        names, kinds = _HEADS[kind]
    elif fate < 0.85 and kind < 2:
        names, kinds = ("character", "written character", "glyph"), (0, 1)
    else:
        names, kinds = ("symbol", "sign", "object", "thing", "figure"), (0, 1, 2)
    return _Words(_pick(names, rng), np.isin(_KIND, kinds))


def _wordings(noun: int, count: int, words: _Words, rng: np.random.Generator) -> list[str]:
    """Up to `count` parts that the noun has, in trained wordings; narrows down what the caption may be true of."""
    truth = parts.truth()
    has = np.flatnonzero(truth[noun] == 1)
    chosen = rng.permutation(has)[:count]
    found = []
    for part in chosen.tolist():
        options = parts.trained(part)
        found.append(options[int(rng.integers(len(options)))])
        words.allowed &= truth[:, part] != 0
    return found


_HAVING = ("with", "with", "that has", "which has", "having", "showing")


def _having(found: list[str], rng: np.random.Generator) -> str:
    listed = found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"
    return f"{_HAVING[int(rng.integers(len(_HAVING)))]} {listed}"


def _sentence(noun: _Words, said: dict[str, int], rng: np.random.Generator) -> str:
    words: list[str] = []
    colours = tuple(COLOURS)
    if said["size"] >= 0:
        words.append(_pick(lexicon.SIZE_WORDS[SIZES[said["size"]]], rng))
    if said["weight"] >= 0:
        words.append(_pick(lexicon.WEIGHT_WORDS[WEIGHTS[said["weight"]]], rng))
    if said["colour"] >= 0:
        words.append(_pick(lexicon.COLOUR_WORDS[colours[said["colour"]]], rng))
    if said["texture"] >= 0:
        words.append(_pick(lexicon.TEXTURE_WORDS[TEXTURES[said["texture"]]], rng))
    words += [noun.head, *noun.tail]
    phrase = " ".join(words)
    if said["background"] >= 0:
        ground = _article(_pick(lexicon.COLOUR_WORDS[colours[said["background"]]], rng))
        phrase += f" on {ground} background"
    article = _pick(("the", "a") if noun.definite else ("a", "the"), rng, 0.45)
    stop = "." if rng.random() < 0.5 else ""
    subject = _article(phrase) if article == "a" else f"the {phrase}"
    if said["quality"] >= 0:
        quality = _pick(lexicon.QUALITY_WORDS[QUALITIES[said["quality"]]], rng)
        return f"{_article(f'{quality} {_pick(lexicon.PICTURES, rng)}')} of {subject}{stop}"
    fate = rng.random()
    if fate < 0.15:
        return phrase
    return f"{_pick(lexicon.PREFIXES, rng, 0.15)} {subject}{stop}" if fate < 0.8 else f"{subject}{stop}"


def _article(phrase: str) -> str:
    """Put "a" or "an" before a phrase; "one" and "uniform" begin with a consonant to the ear."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith(("one", "uni"))
    return f"{'an' if vowel else 'a'} {phrase}"


def conflicts(captions: Captions, scenes: Scenes) -> NDArray[np.bool_]:
    """Pairs of caption and image that must not be trained apart: the caption is true of the image, or may be.

    Args:
        captions: Of B captions.
        scenes: Of N scenes.

    Returns:
        (B, N) booleans. Nouns that look alike (0 and O, 1 and I, ...) count as equal.
    """
    said, table = captions.said[:, None, 1:], scenes.table[None, :, 1:]
    same = ((said < 0) | (said == table)).all(-1)
    return np.asarray(same & captions.allowed[:, scenes.table[:, 0]])


def implied(captions: Captions) -> NDArray[np.int8]:
    """What the captions say of every part, by logic: the parts that all nouns share which the caption may be true of.

    Args:
        captions: Of B captions.

    Returns:
        (B, attributes): 1 has it, 0 lacks it, -1 not said.
    """
    truth = parts.truth()
    allowed = captions.allowed.astype(np.int64)
    count = allowed.sum(1, keepdims=True)
    every_yes = allowed @ (truth == 1) == count
    every_no = allowed @ (truth == 0) == count
    return np.where(every_yes, 1, np.where(every_no, 0, -1)).astype(np.int8)
