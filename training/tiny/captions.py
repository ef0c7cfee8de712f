"""The caption grammar: what may be said about a scene, and which scenes a caption is true of.

caption = prefix + article + [size] + [colour] + [texture] + noun phrase + ["on a {colour} background"] + [suffix]

Attributes are mentioned independently of each other. A caption remembers what it mentioned, so that every other image
of the batch it happens to be true of can be left out of the loss instead of being pushed away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer.atlas import DIGITS, LETTERS, MEDIA, NOUNS
from clipwright.assets.renderer.scenes import COLOURS, FIELDS, SIZES, TEXTURES, Scenes
from clipwright.core.rng import generator

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PREFIXES = (
    *("a photo of", "an image of", "a picture of", "a drawing of", "a rendering of", "a close-up of"),
    *("a blurry photo of", "a low resolution photo of", "a small picture of", "a cropped image of", "a scan of"),
    *("a bad photo of", "a good photo of", "this is", "there is", "it is", "here is", "we see", "art of", "an icon of"),
)
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "disk", "round dot", "filled circle"),
    "oval": ("oval", "ellipse", "egg shape", "flattened circle"),
    "ring": ("ring", "hoop", "donut", "circle with a hole"),
    "semicircle": ("semicircle", "half circle", "dome", "half of a disc"),
    "crescent": ("crescent", "moon", "crescent moon", "half moon shape"),
    "square": ("square", "box", "shape with four equal sides", "block"),
    "diamond": ("diamond", "rhombus", "tilted square", "lozenge"),
    "triangle": ("triangle", "three-sided shape", "shape with three corners", "pyramid shape"),
    "hexagon": ("hexagon", "six-sided shape", "shape with six corners", "honeycomb cell"),
    "star": ("star", "five-pointed star", "shape with five points"),
    "heart": ("heart", "love heart", "valentine heart"),
    "cross": ("cross", "plus sign", "plus", "medical cross"),
    "arrow": ("arrow", "arrow pointing right", "pointer", "direction sign"),
    "teardrop": ("teardrop", "drop", "water drop", "droplet"),
}
_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "purple": ("purple", "violet"),
    "cyan": ("cyan", "turquoise", "light blue"),
    "gray": ("gray", "grey"),
    "blue": ("blue", "dark blue"),
}
_SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
_TEXTURE_WORDS = {
    "plain": ("plain", "solid"),
    "outlined": ("outlined", "hollow"),
    "striped": ("striped", "lined"),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
}
_MEDIUM_WORDS = {"printed": ("printed", "typed"), "handwritten": ("handwritten", "hand-drawn")}
_MENTION = np.array([0.97, 0.35, 0.4, 0.3, 0.25, 0.2])  # chance of mentioning each of FIELDS, where it has a word


@dataclass(frozen=True)
class Captions:
    """Captions with what they say.

    Attributes:
        texts: B captions.
        said: (B, 6) int64: the scene's value of each of FIELDS that was mentioned, else -1.
        kind: (B,) 0 digit, 1 letter, 2 shape: always given away by the words.
    """

    texts: list[str]
    said: NDArray[np.int64]
    kind: NDArray[np.int64]


def kinds(noun: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 for digits, 1 for letters, 2 for shapes."""
    return np.digitize(noun, [len(DIGITS), len(DIGITS) + len(LETTERS)]).astype(np.int64)


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
    texts, said = [], np.full(scenes.table.shape, -1, dtype=np.int64)
    for row, (values, wanted) in enumerate(zip(scenes.table.tolist(), mention, strict=True)):
        words = {field: value if wish else -1 for field, value, wish in zip(FIELDS, values, wanted, strict=True)}
        if SIZES[values[5]] == "medium":
            words["size"] = -1
        if MEDIA[values[1]] == "drawn":
            words["medium"] = -1
        texts.append(_sentence(values[0], words, rng))
        said[row] = list(words.values())
    return Captions(texts, said, kinds(scenes.table[:, 0]))


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    # The first word of each list is the usual one.
    return options[0] if rng.random() < 0.45 else options[int(rng.integers(len(options)))]


def _noun_phrase(noun: int, named: bool, medium: str, rng: np.random.Generator) -> str:
    """The noun with its article-less words: "handwritten digit seven", "capital letter b", "ring"."""
    if noun < len(DIGITS):
        name = DIGIT_WORDS[noun] if rng.random() < 0.65 else DIGITS[noun]
        noun_words = f"{medium}{_pick(('digit', 'number', 'numeral'), rng)}"
        if not named:
            return noun_words
        ending = " written by hand" if medium == "handwritten " and rng.random() < 0.3 else ""
        if ending:
            noun_words = noun_words.removeprefix(medium)
        return f"{noun_words} {name}{ending}" if rng.random() < 0.8 else f"{medium}{name}"
    if noun < len(DIGITS) + len(LETTERS):
        name = NOUNS[noun]
        words = f"{medium}{_pick(('letter', 'capital letter', 'character', 'uppercase letter'), rng)}"
        return f"{words} {name}" if named else words
    name = _pick(SYNONYMS[NOUNS[noun]], rng) if named else "shape"
    return f"{name} shape" if named and " " not in name and rng.random() < 0.15 else name


def _sentence(noun: int, said: dict[str, int], rng: np.random.Generator) -> str:
    words: list[str] = []
    colours = tuple(COLOURS)
    if said["size"] >= 0:
        words.append(_pick(_SIZE_WORDS[SIZES[said["size"]]], rng))
    if said["colour"] >= 0:
        words.append(_pick(_COLOUR_WORDS.get(colours[said["colour"]], (colours[said["colour"]],)), rng))
    if said["texture"] >= 0:
        words.append(_pick(_TEXTURE_WORDS[TEXTURES[said["texture"]]], rng))
    medium = _pick(_MEDIUM_WORDS[MEDIA[said["medium"]]], rng) + " " if said["medium"] >= 0 else ""
    words.append(_noun_phrase(noun, said["noun"] >= 0, medium, rng))
    phrase = " ".join(words)
    if said["background"] >= 0:
        phrase += f" on {_article(colours[said['background']])} background"
    article = _pick(("the", "a") if noun < len(DIGITS) + len(LETTERS) else ("a", "the"), rng)
    if rng.random() < 0.2:
        return phrase
    prefix = _pick(PREFIXES, rng) + " " if rng.random() < 0.75 else ""
    stop = "." if rng.random() < 0.5 else ""
    return f"{prefix}{_article(phrase) if article == 'a' else 'the ' + phrase}{stop}"


def _article(phrase: str) -> str:
    """Put "a" or "an" before a phrase; "one" begins with a consonant to the ear."""
    vowel = phrase[0] in "aeiou" and not phrase.startswith("one")
    return f"{'an' if vowel else 'a'} {phrase}"


_LOOKALIKES = (("0", "O"), ("1", "I"), ("0", "oval"), ("O", "circle"), ("O", "ring"), ("0", "ring"))


def conflicts(captions: Captions, scenes: Scenes) -> NDArray[np.bool_]:
    """Pairs of caption and image that must not be trained apart: the caption is true of the image, or nearly.

    Args:
        captions: Of B captions.
        scenes: Of N scenes.

    Returns:
        (B, N) booleans. Nouns that look alike (0 and O, 1 and I, ...) count as equal.
    """
    alike = np.eye(len(NOUNS), dtype=np.bool_)
    for first, second in _LOOKALIKES:
        a, b = NOUNS.index(first), NOUNS.index(second)
        alike[a, b] = alike[b, a] = True
    said, table = captions.said[:, None, :], scenes.table[None, :, :]
    same = (said < 0) | (said == table)
    noun = (said[..., 0] < 0) & (captions.kind[:, None] == kinds(scenes.table[:, 0])[None])
    same[..., 0] = noun | ((said[..., 0] >= 0) & alike[captions.said[:, :1], scenes.table[None, :, 0]])
    return np.asarray(same.all(-1))
