"""Chat messages as JSON: text, and images as data URLs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from typing import Any, Literal

from PIL import Image

Message = dict[str, Any]


def system(text: str) -> Message:
    """What the model is told before the user speaks."""
    return {"role": "system", "content": text}


def user(text: str, images: Sequence[str] = ()) -> Message:
    """What the user says, with images (data URLs, see `image_url`) after the text."""
    if not images:
        return {"role": "user", "content": text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    parts += [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return {"role": "user", "content": parts}


def assistant(text: str) -> Message:
    """What the model said."""
    return {"role": "assistant", "content": text}


def image_url(image: Image.Image, *, max_side: int = 512, style: Literal["png", "jpeg"] = "png") -> str:
    """An image as a data URL; equal pixels give equal text, so that a cache knows the image again.

    Args:
        image: RGB.
        max_side: longer images are scaled down to this many pixels, which saves tokens.
        style: ``png`` loses nothing; ``jpeg`` is smaller.
    """
    picture = image.convert("RGB")
    if max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    if style == "jpeg":
        picture.save(stream, "JPEG", quality=90)
    else:
        picture.save(stream, "PNG")
    return f"data:image/{style};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def quoted(text: str) -> str:
    """`text` as a JSON string: what a stranger wrote, fenced off so that it reads as data and never as a line of ours.

    Angle brackets and line breaks are escaped too, so that it can't pretend to be a role marker of a chat template.
    """
    found = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    for character in "<>|\u2028\u2029\x85":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found
