"""What a run asked for and what it cost, counted while it runs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clipwright.synthetic.endpoint import Prices

Message = Mapping[str, Any]

_CHARACTERS_PER_TOKEN = 4  # of English text, roughly; other scripts need more tokens
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_IMAGE = 300  # a small picture; what a model makes of one differs widely


@dataclass
class Usage:
    """Counts of one run; safe to add to from several threads.

    Attributes:
        calls: requests that were answered, and so paid.
        cached: requests that were answered before, and cost nothing.
        retries: requests that had to be sent again.
        repairs: answers that the model was asked to correct.
        invalid: answers that stayed wrong after that.
        truncated: answers that were cut off at the limit of tokens.
        prompt_tokens: tokens sent.
        completion_tokens: tokens answered.
        estimated: whether some of the tokens are an estimate, because the server doesn't count them.
    """

    calls: int = 0
    cached: int = 0
    retries: int = 0
    repairs: int = 0
    invalid: int = 0
    truncated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, estimated: bool = False, **counts: int) -> None:
        """Add to some of the counts."""
        with self._lock:
            self.estimated |= estimated
            for name, count in counts.items():
                setattr(self, name, getattr(self, name) + count)

    def as_json(self, prices: Prices | None = None) -> dict[str, Any]:
        """The counts, with the cost where prices are known."""
        found: dict[str, Any] = {
            "calls": self.calls,
            "cached": self.cached,
            "retries": self.retries,
            "repairs": self.repairs,
            "invalid": self.invalid,
            "truncated": self.truncated,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "tokens_estimated": self.estimated,
        }
        if prices is not None:
            found["cost"] = round(prices.cost(self.prompt_tokens, self.completion_tokens), 6)
        return found

    def meter(self, prices: Prices | None = None) -> str:
        """One short line for a progress display."""
        tokens = self.prompt_tokens + self.completion_tokens
        text = f"{self.calls} calls, {self.cached} cached, {'about ' * self.estimated}{tokens:,} tokens"
        if prices is not None:
            text += f", cost {prices.cost(self.prompt_tokens, self.completion_tokens):.4f}"
        return text


def estimate_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens messages are: a quarter of their characters, and 300 for an image."""
    total = 0
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part.get("type") == "text":
                total += -(-len(part["text"]) // _CHARACTERS_PER_TOKEN)
            else:
                total += _TOKENS_PER_IMAGE
        total += _TOKENS_PER_MESSAGE
    return total
