"""Waiting so that a server is asked no more than so many requests and tokens a minute."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

_MINUTE = 60.0


class RateLimit:
    """A sliding window of one minute, shared by all threads of a run.

    Args:
        requests: requests a minute, or None.
        tokens: tokens a minute, or None. A request larger than the limit waits for an empty window.
        clock: seconds, never going back.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        requests: float | None,
        tokens: float | None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self._requests, self._tokens = requests, tokens
        self._clock, self._sleep = clock, sleep
        self._sent: deque[tuple[float, int]] = deque()
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def wait(self, tokens: int) -> None:
        """Return once a request of about this many tokens may be sent; it then counts as sent."""
        while (pause := self._pause(tokens)) > 0:
            self._sleep(pause)

    def close(self, seconds: float) -> None:
        """Send nothing for this long: the server asked for it."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _pause(self, tokens: int) -> float:
        """Seconds to wait before asking again, or 0 when the request is counted as sent."""
        with self._lock:
            now = self._clock()
            while self._sent and self._sent[0][0] <= now - _MINUTE:
                self._sent.popleft()
            if now < self._closed_until:
                return self._closed_until - now
            if not self._fits(tokens):
                return max(self._sent[0][0] + _MINUTE - now, 1e-3)
            self._sent.append((now, tokens))
            return 0.0

    def _fits(self, tokens: int) -> bool:
        if not self._sent:
            return True
        if self._requests is not None and len(self._sent) + 1 > max(self._requests, 1):
            return False
        return self._tokens is None or sum(count for _, count in self._sent) + tokens <= self._tokens
