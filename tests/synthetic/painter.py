"""Images of plain colours, and a script that names their colour as well as it is asked to."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.synthetic.scripted import Response, asked, said

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 40, 210)}
_LINE = re.compile(r"^- (\"(?:[^\"\\]|\\.)*\")(?:: (\"(?:[^\"\\]|\\.)*\"))?$", flags=re.M)


def paint(folder: Path, each: int, seed: int = 0) -> Path:
    """`each` noisy images of each colour, in class folders."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + rng.integers(-25, 26, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def listed(request: dict[str, Any]) -> dict[str, str]:
    """Names and words of the classes, in the order in which a request lists them."""
    return {json.loads(n): json.loads(w) if w else "" for n, w in _LINE.findall(asked(request))}


def shown(request: dict[str, Any]) -> np.ndarray:
    """The pixels that a request shows."""
    (url,) = [p["image_url"]["url"] for p in request["messages"][-1]["content"] if p["type"] == "image_url"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


def skill(request: dict[str, Any]) -> float:
    """How often a wording is answered rightly: each of three good choices adds a fifth to two fifths."""
    text = asked(request)
    good = ["colours and surfaces" in text, "exact name" in text, "like blood" in listed(request).get("red", "")]
    return 0.4 + 0.2 * sum(good)


def painter(request: dict[str, Any], _: int) -> Response:
    """The colour of the image, or a wrong one where the wording isn't good enough for this image."""
    pixels = shown(request)
    names = list(listed(request))
    colour = pixels.reshape(-1, 3).mean(0)
    right = min(COLOURS, key=lambda name: float(np.abs(colour - COLOURS[name]).sum()))
    luck = int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:4], "big") / 2**32  # of the image, not the wording
    wrong = next(name for name in names if name != right)
    return said(f"Answer: {(right if luck < skill(request) else wrong).upper()}.")
