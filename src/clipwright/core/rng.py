"""Counter-based random numbers: a draw depends on its key alone, never on what was drawn before."""

from __future__ import annotations

import hashlib

import numpy as np

Key = str | int


def generator(seed: int, *key: Key) -> np.random.Generator:
    """Make the generator that belongs to a seed and a key.

    Equal arguments give the same stream on every machine, whatever else was drawn, in any order or process.

    Args:
        seed: the run's seed, any integer.
        key: what the numbers are for, such as ``("support", "digits", 3)``.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(k).__name__}:{k}" for k in key)])
    digest = hashlib.sha256(text.encode()).digest()
    words = [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)]
    return np.random.Generator(np.random.Philox(key=np.array(words, dtype=np.uint64)))
