"""Small pictures inside the page."""

from __future__ import annotations

import base64
import io

from PIL import Image

SIZE = 160  # pixels of the longer side: sharp at 80 CSS pixels on a dense screen, fair at 130
TINY = 48  # below this a picture is sent as it is and shown with hard pixels


def data_uri(image: Image.Image, size: int = SIZE) -> tuple[str, bool]:
    """An image as a ``data:`` address, and whether it is so small that it wants hard pixels.

    Args:
        image: of any mode and shape.
        size: longest side in pixels; larger images are shrunk.
    """
    picture = image.convert("RGB")
    small = max(picture.size) <= TINY
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    # Flat and tiny pictures are smaller and cleaner as PNG, photographs as JPEG.
    kind = "PNG" if small or len(picture.getcolors(256) or ()) else "JPEG"
    picture.save(stream, kind, optimize=True, **({} if kind == "PNG" else {"quality": 78}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}", small
