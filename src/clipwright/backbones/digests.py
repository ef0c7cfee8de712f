"""What makes features comparable: hashes of weights, preprocessing, decoder and dtype."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import PIL
from PIL import features as pil_features

from clipwright.backbones.preprocess import Preprocess
from clipwright.core.atomic import write_json
from clipwright.core.errors import BackboneError, ClipwrightError
from clipwright.core.hashing import digest_file, digest_json
from clipwright.core.home import home


def decoder() -> dict[str, str]:
    """What decodes and resizes images: Pillow and its JPEG library; another version may give other pixels."""
    jpeg = "libjpeg-turbo" if pil_features.check_feature("libjpeg_turbo") else "libjpeg"
    feature = "libjpeg_turbo" if jpeg == "libjpeg-turbo" else "jpg"
    return {"pillow": PIL.__version__, jpeg: str(pil_features.version(feature))}


def features_digest(weights: Mapping[str, str], config: Any, preprocess: Preprocess, dtype: str) -> str:
    """SHA-256 (hex) of everything that features depend on.

    Args:
        weights: SHA-256 of each file that is part of the model, by its role.
        config: JSON of the architecture, activation included.
        preprocess: from decoded image to pixels.
        dtype: what the model computes in.
    """
    return digest_json(
        {
            "weights": dict(weights),
            "config": config,
            "preprocess": preprocess.as_json(),
            "decoder": decoder(),
            "dtype": dtype,
        }
    )


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, remembered by path, size and time of change in the cache folder.

    Raises:
        BackboneError: the file can't be read.
    """
    try:
        path = path.resolve(strict=True)
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        known = _read_cache().get(str(path))
        if isinstance(known, list) and known[:2] == stamp and len(known) == 3:
            return str(known[2])
        found = digest_file(path)
    except OSError as error:
        raise BackboneError(f"the file {path} can't be read ({error.strerror}): check its name.") from error
    # The cache only saves time: where it can't be written, the hash is computed again next time.
    with suppress(OSError, ClipwrightError):
        write_json(_cache_path(), {**_read_cache(), str(path): [*stamp, found]})
    return found


def _cache_path() -> Path:
    return home() / "digests.json"


def _read_cache() -> dict[str, Any]:
    try:
        values = json.loads(_cache_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
