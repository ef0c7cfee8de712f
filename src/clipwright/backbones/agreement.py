"""What a served backbone and its client agree on; docs/black-box.md describes it for others."""

from __future__ import annotations

import hashlib

import numpy as np

FORMAT = 1
"""Version of the routes and their fields."""

MODEL_HEADER = "clipwright-model"
"""Header of every answer: the digest of the model that gave it."""

TOKEN_VARIABLE = "CLIPWRIGHT_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds the bearer token, of the server and of the client."""

UNKNOWN_HANDLES = "unknown_handles"
"""Code of the error that names images which the server doesn't hold."""

NOT_GRANTED = "access"
"""Code of the error for a route that the server doesn't grant."""


def handle_of(pixels: np.ndarray) -> str:
    """SHA-256 (hex) of one image's (3, H, W) uint8 pixels, preprocessed: how clients and servers name it."""
    return hashlib.sha256(np.asarray(pixels, dtype=np.uint8).tobytes()).hexdigest()
