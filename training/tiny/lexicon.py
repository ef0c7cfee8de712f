"""The words of the captions: names and synonyms, colours, sizes, qualities, and how a sentence may begin."""

from __future__ import annotations

from clipwright.assets.renderer.atlas import DIGITS, LETTERS, NOUNS

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

PREFIXES = (
    *(
        "a photo of",
        "an image of",
        "a picture of",
        "a drawing of",
        "a rendering of",
        "a close-up of",
        "a photograph of",
    ),
    *("a small picture of", "a cropped image of", "a scan of", "a copy of", "a view of", "a sketch of", "a print of"),
    *("this is", "there is", "it is", "here is", "we see", "this shows", "the image shows", "the picture shows"),
    *("a photo showing", "an image with", "someone drew", "look at", "you can see", "one can see", "an example of"),
    *("art of", "an icon of", "the photo shows", "a snapshot of", "in this image there is", "it shows"),
)
QUALITY_WORDS: dict[str, tuple[str, ...]] = {
    "clear": ("clear", "sharp", "good", "clean"),
    "blurry": ("blurry", "blurred", "unsharp", "out of focus"),
    "pixelated": ("pixelated", "low resolution", "coarse", "bad"),
    "noisy": ("noisy", "grainy", "speckled"),
}
"""Said of the picture, as in "a blurry photo of", and only where it is so."""

PICTURES = ("photo", "image", "picture", "photograph", "scan", "view", "shot", "drawing")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "disk", "round dot", "filled circle", "ball"),
    "oval": ("oval", "ellipse", "egg shape", "flattened circle", "oval shape"),
    "ring": ("ring", "hoop", "donut", "annulus", "loop"),
    "semicircle": ("semicircle", "half circle", "dome", "half disc", "half round"),
    "crescent": ("crescent", "moon", "sickle", "new moon", "banana shape"),
    "square": ("square", "box", "shape with four equal sides", "block", "tile"),
    "diamond": ("diamond", "rhombus", "lozenge", "kite", "diamond shape"),
    "triangle": ("triangle", "three-sided shape", "wedge", "pyramid"),
    "hexagon": ("hexagon", "six-sided shape", "honeycomb cell", "nut shape"),
    "star": ("star", "shape with five points", "star shape", "starfish"),
    "heart": ("heart", "valentine heart", "heart shape", "symbol of love"),
    "cross": ("cross", "plus", "medical cross", "cross shape", "plus shape"),
    "arrow": ("arrow", "pointer", "direction sign", "arrow sign"),
    "teardrop": ("teardrop", "drop", "droplet", "tear", "rain drop"),
}
UNSEEN_SYNONYMS: dict[str, str] = {
    "circle": "round shape",
    "oval": "stretched circle",
    "ring": "circle with a hole",
    "semicircle": "half of a disc",
    "crescent": "crescent moon",
    "square": "square box",
    "diamond": "tilted square",
    "triangle": "shape with three corners",
    "hexagon": "shape with six corners",
    "star": "five-pointed star",
    "heart": "love heart",
    "cross": "plus sign",
    "arrow": "arrow pointing right",
    "teardrop": "water drop",
}
"""Synonyms that no caption contains; development measures whether they are understood."""

DIGIT_NOUNS = ("digit", "number", "numeral", "figure", "numeric digit", "cipher")
LETTER_NOUNS = ("letter", "capital letter", "character", "uppercase letter", "capital", "big letter")

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "green": ("green", "grass green"),
    "blue": ("blue", "dark blue", "navy"),
    "yellow": ("yellow", "golden"),
    "orange": ("orange",),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose"),
    "brown": ("brown", "chocolate"),
    "cyan": ("cyan", "turquoise", "light blue"),
    "white": ("white", "snow white"),
    "black": ("black", "jet black"),
    "gray": ("gray", "grey"),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")}
TEXTURE_WORDS = {
    "plain": ("plain", "solid", "uniform"),
    "outlined": ("outlined", "hollow"),
    "striped": ("striped", "lined", "stripy"),
    "dotted": ("dotted", "spotted"),
    "checkered": ("checkered", "checked"),
}
MEDIUM_WORDS = {
    "printed": ("printed", "typed", "machine-printed"),
    "handwritten": ("handwritten", "hand-drawn", "hand-written"),
}
WEIGHT_WORDS = {"thin": ("thin", "light", "fine"), "bold": ("bold", "thick", "heavy", "fat")}

LOOKALIKES: dict[str, str] = {
    "0": "O D 6 oval ring",
    "1": "I 7 L",
    "2": "Z 7",
    "3": "8 B 5",
    "4": "9 A",
    "5": "S 6 3",
    "6": "8 0 G 5",
    "7": "1 T 2",
    "8": "3 B 0 6",
    "9": "4 7 P 8",
    "A": "H 4 R",
    "B": "8 P R D",
    "C": "G O",
    "D": "O 0 B",
    "E": "F B",
    "F": "E P",
    "G": "C 6",
    "H": "N M A",
    "I": "1 L T",
    "J": "U I",
    "K": "X R H",
    "L": "I E",
    "M": "N W H",
    "N": "M H",
    "O": "0 Q D C",
    "P": "R F 9",
    "Q": "O 0",
    "R": "P K B",
    "S": "5 Z",
    "T": "I 7 Y",
    "U": "V J",
    "V": "U Y",
    "W": "M V",
    "X": "K Y",
    "Y": "V X T",
    "Z": "2 S 7",
    "circle": "oval ring hexagon",
    "oval": "circle ring",
    "ring": "circle oval",
    "semicircle": "circle crescent",
    "crescent": "semicircle circle",
    "square": "diamond hexagon",
    "diamond": "square triangle",
    "triangle": "diamond arrow",
    "hexagon": "circle square",
    "star": "cross triangle",
    "heart": "teardrop triangle",
    "cross": "star square",
    "arrow": "triangle cross",
    "teardrop": "heart circle",
}
"""What a noun may be called similar to."""

ALIKE: tuple[tuple[str, str], ...] = (
    *(("0", "O"), ("1", "I"), ("0", "oval"), ("O", "circle"), ("O", "ring"), ("0", "ring")),
)
"""Nouns that can't be told apart in an image: never trained apart."""


def said_of(noun: str) -> str:
    """How a noun is named as something that another one looks like: "the letter O", "a seven", "a ring"."""
    if noun in DIGITS:
        word = DIGIT_WORDS[int(noun)]
        return f"{'an' if word[0] in 'aei' else 'a'} {word}"
    if noun in LETTERS:
        return f"the letter {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def kind_of(noun: str) -> int:
    """0 for digits, 1 for letters, 2 for shapes."""
    return 0 if noun in DIGITS else 1 if noun in LETTERS else 2


KINDS = tuple(kind_of(noun) for noun in NOUNS)
"""The kind of each noun."""
