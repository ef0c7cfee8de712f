"""How long to wait before a request is tried again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from clipwright.core.rng import Key, generator


@dataclass(frozen=True)
class Patience:
    """How a client waits for a server that is away or busy; all times in seconds.

    Attributes:
        first: the wait after the first failure.
        factor: what each further wait is multiplied by.
        longest: no wait is longer, unless the server asks for it.
        total: a request is given up when the next wait would end later than this after its first try.
        connect: how long making a connection may take.
        read: how long the server may be silent.
    """

    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    total: float = 600.0
    connect: float = 10.0
    read: float = 240.0

    def wait(self, failures: int, seed: int, *key: Key) -> float:
        """Seconds before the next try: growing geometrically, and scattered, so that clients don't come back as one.

        Args:
            failures: how often this request has failed, at least 1.
            seed: of the jitter.
            key: what is asked for; together with `failures` it decides the jitter, whatever else was asked.

        Returns:
            Between half of the wait and all of it.
        """
        exponent = min(failures - 1, 64)  # far beyond `longest`, and no overflow
        longest = min(self.longest, self.first * self.factor**exponent)
        return longest * float(generator(seed, "backoff", *key, failures).uniform(0.5, 1.0))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that a server asks to wait (RFC 9110, section 10.2.3), or None where it doesn't say or isn't understood.

    Args:
        headers: of the answer; names in any case that the mapping finds.
        now: seconds since 1970, UTC.
    """
    text = (headers.get("retry-after") or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
