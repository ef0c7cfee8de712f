"""The offline generator: digits, capitals and shapes as posters, in faces the embedded model was never trained with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from clipwright.assets.datasets import glyphs, poster, raster
from clipwright.assets.datasets.digits import NAMES as DIGITS
from clipwright.assets.renderer.outlines import SHAPES
from clipwright.core.errors import DataError
from clipwright.core.spelling import match_key
from clipwright.data.names import quoted
from clipwright.synthetic.generators.base import Picture, Request

_STYLE = "poster"
_BATCH = 64


def figure(class_name: str) -> str | None:
    """What is drawn for a class: a digit (``seven`` or ``7``), a capital letter, a shape, or None."""
    return _FIGURES.get(match_key(class_name))


def _figures() -> dict[str, str]:
    found = {match_key(word): glyphs.CHARACTERS[number] for number, word in enumerate(DIGITS)}
    found |= {match_key(character): character for character in glyphs.CHARACTERS}
    return found | {match_key(shape): shape for shape in SHAPES}


_FIGURES = _figures()


class Renderer:
    """Draws the embedded classes as posters (`clipwright.assets.datasets.poster`): the gap to real images is real.

    The prompt decides nothing. An image is a function of its class and seed alone, in integer arithmetic: the same
    pixels on every machine.
    """

    name = "renderer"
    model = f"renderer:{_STYLE}"
    batch_size = _BATCH
    independent = True
    save_size = raster.SIDE

    def check(self, class_names: Sequence[str]) -> None:
        """Refuse classes that can't be drawn.

        Raises:
            DataError: neither digits, capital letters nor shapes.
        """
        if strange := [name for name in class_names if figure(name) is None]:
            raise DataError(
                f"the renderer draws digits, capital letters and shapes ({', '.join(SHAPES)}), not {quoted(strange)}: "
                "choose --generator diffusers or endpoint."
            )

    def prepare(self) -> None:
        """Nothing is needed."""

    def settings(self) -> dict[str, Any]:
        """The style, and its size in pixels."""
        return {"generator": self.name, "style": _STYLE, "size": raster.SIDE}

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
        """Draw."""
        names = [figure(request.class_name) for request in requests]
        images = poster.draw_many([name for name in names if name is not None], [r.seed for r in requests])
        for number, pixels in enumerate(images):
            yield number, Picture(Image.fromarray(pixels))
