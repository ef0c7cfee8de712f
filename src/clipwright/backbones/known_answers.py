"""Known answers: features of a fixed image and fixed texts.

For the embedded model they ship with the package. For others they are recorded on first use, which can't tell whether
those first answers were right: it is drift detection only, and notices when another version of a library, another
driver or damaged memory gives other features under the same digest.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from clipwright.backbones.base import Backbone
from clipwright.core.atomic import write_json
from clipwright.core.errors import BackboneError, ClipwrightError
from clipwright.core.home import home

FORMAT = 1
TEXTS = ("a photo of a cat.", "the digit seven", "a large red circle on blue")
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 4e-2, torch.float16: 1e-2}  # relative; leaves room for other devices


def probe_image() -> Image.Image:
    """A fixed RGB image, 320 x 240, with edges, gradients and fine texture, from integer arithmetic alone."""
    y, x = np.mgrid[0:240, 0:320]
    red = (x * 255) // 319
    green = ((x // 16 + y // 16) % 2) * 160 + (y * 64) // 239
    blue = (x * x * 3 + y * y * 5 + x * y * 7) % 251
    disc = (x - 200) ** 2 + (y - 90) ** 2 < 60**2
    pixels = np.stack([red, green, blue], -1)
    pixels[disc] = (250, 220, 30)
    return Image.fromarray(pixels.astype(np.uint8), "RGB")


def answers(backbone: Backbone) -> dict[str, Any]:
    """JSON of the features that a backbone gives: ``image`` (D,) and ``texts`` (one row per text)."""
    pixels = torch.from_numpy(backbone.preprocess.clean(probe_image()))[None]
    return {
        "format": FORMAT,
        "purpose": "drift detection only",
        "digest": backbone.digest,
        "image": _rounded(backbone.images(pixels).x[0]),
        "text": list(TEXTS),
        "texts": [_rounded(row) for row in backbone.texts(TEXTS)],
    }


def check(backbone: Backbone) -> None:
    """Compare a backbone with the answers recorded in the cache folder, or record them on first use.

    Args:
        backbone: just loaded.

    Raises:
        BackboneError: the features are not what they were.
    """
    path = home() / "known_answers" / f"{backbone.digest}.json"
    found = answers(backbone)
    known = _read(path)
    if known is None:
        # Where the cache can't be written there is nothing to compare with next time, which is no reason to stop now.
        with suppress(OSError, ClipwrightError):
            write_json(path, found)
        return
    drift = max(_difference(found["image"], known["image"]), _difference(found["texts"], known["texts"]))
    if not drift <= _TOLERANCE[backbone.dtype]:
        raise BackboneError(
            f"{backbone.spec} no longer gives the features that it gave before (relative difference {drift:.2g}), so "
            f"something beneath it has changed: extract features again, after deleting {path} if the new answers are "
            "right."
        )


def check_shipped(backbone: Backbone, path: Path) -> None:
    """Compare a backbone with the answers that came with its weights.

    The file names its inputs: two images of the model's size made by a formula, and texts; per input it holds the
    first numbers of the raw features and their norm.

    Raises:
        BackboneError: the features are not those that the weights were shipped with, or the file is damaged.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        images = backbone.images(torch.from_numpy(_ramps(*backbone.preprocess.size)))
        pairs = [(images.x, known["image_features"]), (backbone.texts(known["texts"]), known["text_features"])]
        if images.pre_projection is not None:
            pairs.append((images.pre_projection, known["pre_projection"]))
        drift = max(_brief_difference(found, rows) for found, rows in pairs)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackboneError(f"the known answers {path} are damaged: reinstall clipwright.") from error
    if not drift <= _TOLERANCE[backbone.dtype]:
        raise BackboneError(
            f"{backbone.spec} doesn't give the features that it was shipped with (relative difference {drift:.2g}): "
            "reinstall clipwright, or go back to the versions of torch and open_clip that it was tested with."
        )


def _ramps(height: int, width: int) -> np.ndarray:
    """(2, 3, height, width) uint8: ``8x + y + 40 channel`` modulo 256, and its negative."""
    channel, y, x = np.indices((3, height, width))
    ramp = ((8 * x + y + 40 * channel) % 256).astype(np.uint8)
    return np.stack([ramp, 255 - ramp])


def _brief_difference(found: torch.Tensor, known: Any) -> float:
    """Largest relative distance of rows from known ones, of which only the first numbers and the norm are kept."""
    if len(found) != len(known):
        return float("inf")
    brief = [[*row[: len(k["first"])].tolist(), float(row.norm())] for row, k in zip(found, known, strict=True)]
    return max(_difference(f, [*k["first"], k["norm"]]) for f, k in zip(brief, known, strict=True))


def _rounded(row: torch.Tensor) -> list[float]:
    return [float(f"{value:.7g}") for value in row.tolist()]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(values, dict) and values.get("format") == FORMAT and values.get("text") == list(TEXTS):
        return values
    return None


def _difference(found: Any, known: Any) -> float:
    """Relative distance, infinite where shapes differ."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(known, dtype=np.float64)
    if a.shape != b.shape:
        return float("inf")
    return float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-12)
