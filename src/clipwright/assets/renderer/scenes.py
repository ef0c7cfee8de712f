"""What is in an image: a noun in a medium, colour, texture, size and weight, on a background, seen well or badly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer.atlas import DIGITS, LETTERS, MEDIA, NOUNS, Atlas
from clipwright.core.rng import generator

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (210, 30, 35),
    "green": (35, 150, 50),
    "blue": (35, 65, 205),
    "yellow": (240, 215, 35),
    "orange": (242, 135, 25),
    "purple": (125, 45, 165),
    "pink": (245, 145, 185),
    "brown": (115, 70, 35),
    "cyan": (55, 200, 215),
    "white": (245, 245, 245),
    "black": (12, 12, 12),
    "gray": (128, 128, 128),
}
TEXTURES: tuple[str, ...] = ("plain", "outlined", "striped", "dotted", "checkered")
SIZES: tuple[str, ...] = ("small", "medium", "large")
WEIGHTS: tuple[str, ...] = ("thin", "medium", "bold")
QUALITIES: tuple[str, ...] = ("clear", "blurry", "pixelated", "noisy")
FIELDS: tuple[str, ...] = ("noun", "medium", "colour", "background", "texture", "size", "weight", "quality")
"""The columns of a table of scenes, drawn independently of each other but for what can't be seen otherwise."""

_CONTRAST = 130.0  # least distance in RGB between the object and its background


@dataclass(frozen=True)
class Scenes:
    """A batch of scenes.

    Attributes:
        mask: (B,) int64 index into the atlas.
        table: (B, 8) int64, a column for each of `FIELDS`: indices into NOUNS, MEDIA, COLOURS (twice), TEXTURES, SIZES,
            WEIGHTS, QUALITIES.
    """

    mask: NDArray[np.int64]
    table: NDArray[np.int64]


def held_out(colour: NDArray[np.int64], noun: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pairs of colour and noun that are never drawn in training: one in nine, for measuring composition.

    Args:
        colour: Indices into `COLOURS`.
        noun: Indices into `NOUNS`, same shape.

    Returns:
        Booleans of that shape; always false for digits and letters.
    """
    shape = noun >= len(DIGITS) + len(LETTERS)
    return np.asarray(shape & ((colour * 4 + noun * 7) % 9 == 0))


def _backgrounds() -> NDArray[np.bool_]:
    """(12, 12): which background contrasts with which colour."""
    rgb = np.array(list(COLOURS.values()), dtype=np.float64)
    return np.asarray(np.linalg.norm(rgb[:, None] - rgb[None], axis=-1) > _CONTRAST)


def sample(atlas: Atlas, count: int, *, seed: int, step: int, handwriting: float = 0.5) -> Scenes:
    """Draw the scenes of one training batch.

    Args:
        atlas: Masks to choose from.
        count: Number of scenes B.
        seed: Of the run.
        step: Of the batch; equal (seed, step) give equal scenes.
        handwriting: Share of the characters that is handwritten, in [0, 1]; the others are printed.

    Returns:
        Scenes: 42 % digits, 23 % letters, 35 % shapes; half of the characters in plain black, white or gray.
    """
    rng = generator(seed, "scenes", step)
    kind = rng.choice(3, size=count, p=[0.42, 0.23, 0.35])
    low = np.array([0, len(DIGITS), len(DIGITS) + len(LETTERS)])
    high = np.array([len(DIGITS), len(DIGITS) + len(LETTERS), len(NOUNS)])
    noun = rng.integers(low[kind], high[kind])
    character = kind < 2
    medium = np.where(character, np.where(rng.random(count) < handwriting, 2, 1), 0)

    members = [
        [np.flatnonzero((atlas.noun == n) & (atlas.medium == m)) for m in range(len(MEDIA))] for n in range(len(NOUNS))
    ]
    draw = rng.random(count)
    mask = np.array([members[n][m][int(u * len(members[n][m]))] for n, m, u in zip(noun, medium, draw, strict=True)])

    colour = rng.integers(len(COLOURS), size=count)
    grayscale = character & (rng.random(count) < 0.5)
    colour = np.where(grayscale, rng.integers(9, 12, size=count), colour)
    while np.any(again := held_out(colour, noun)):
        colour = np.where(again, rng.integers(len(COLOURS), size=count), colour)
    preference = rng.random((count, len(COLOURS))) * _backgrounds()[colour]
    preference[:, 9:] += grayscale[:, None] * (preference[:, 9:] > 0)
    background = preference.argmax(1)
    fancy = rng.random(count) < np.where(character, 0.2, 0.55)
    texture = np.where(fancy, rng.integers(1, len(TEXTURES), size=count), 0)
    # An outline needs a body: the strokes of a character are too thin for one.
    texture = np.where(character & (texture == 1), 0, texture)
    size = rng.choice(len(SIZES), size=count, p=[0.2, 0.4, 0.4])
    weight = np.where(character, rng.choice(len(WEIGHTS), size=count, p=[0.25, 0.4, 0.35]), 1)
    # Few cells blur, coarsen or drown a texture beyond recognition: such images are drawn clear or blurred instead.
    quality = rng.choice(len(QUALITIES), size=count, p=[0.36, 0.18, 0.3, 0.16])
    quality = np.where(~character & (quality == 2) & (rng.random(count) < 0.6), 0, quality)
    columns = [noun, medium, colour, background, texture, size, weight, quality]
    return Scenes(mask.astype(np.int64), np.stack(columns, 1).astype(np.int64))
