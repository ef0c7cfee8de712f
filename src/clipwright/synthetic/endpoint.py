"""Where an OpenAI-compatible server is, which model it is asked for, and how hard it may be asked."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from clipwright.core.errors import UsageError

KEY_VARIABLE = "OPENAI_API_KEY"
NO_KEY = "none"  # servers on one's own machine ask for none, but the client insists on sending something
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in the user's currency.

    Attributes:
        prompt: of tokens sent.
        completion: of tokens answered.
    """

    prompt: float = 0.0
    completion: float = 0.0

    def __post_init__(self) -> None:
        if min(self.prompt, self.completion) < 0:
            raise UsageError("a price per million tokens can't be negative.")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What this many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class Endpoint:
    """A model behind a server that speaks OpenAI's chat protocol.

    Attributes:
        base_url: of the server, such as ``http://127.0.0.1:8000/v1``.
        model: what the server calls the model.
        api_key: sent as a bearer token; never shown, logged or stored.
        timeout: seconds that one request may take.
        concurrency: requests in flight at a time.
        requests_per_minute: limit on requests, or None.
        tokens_per_minute: limit on tokens sent and answered, or None.
        attempts: how often one request is sent before the run gives up.
        prices: of a million tokens, or None where the cost isn't known.

    Raises:
        UsageError: an address that is none, or a limit that isn't positive.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    concurrency: int = 4
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    attempts: int = 6
    prices: Prices | None = None

    def __post_init__(self) -> None:
        url = _parsed(self.base_url)
        if url is None or url[0] not in {"http", "https"} or not url[1]:
            raise UsageError(
                f"--base-url {self.base_url!r} is no address: write one such as http://127.0.0.1:8000/v1 "
                "(that of 'vllm serve')."
            )
        if "@" in urlsplit(self.base_url).netloc:
            raise UsageError(
                f"--base-url must hold no user name or password: give the key by {KEY_VARIABLE} or --api-key-file."
            )
        if not self.model.strip():
            raise UsageError("--model is empty: give the name that the server has for the model.")
        limits = (self.timeout, self.concurrency, self.attempts, self.requests_per_minute, self.tokens_per_minute)
        if any(value is not None and value <= 0 for value in limits):
            raise UsageError("timeout, concurrency, attempts and limits per minute must be positive.")

    @property
    def is_exposed(self) -> bool:
        """Whether the key would travel unencrypted to another machine."""
        url = urlsplit(self.base_url)
        return self.api_key is not None and url.scheme == "http" and url.hostname not in _LOCAL

    def hide(self, text: str) -> str:
        """`text` without the key, whoever put it there."""
        return text.replace(self.api_key, "***") if self.api_key else text


def _parsed(url: str) -> tuple[str, str | None] | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts.scheme, parts.hostname


def read_api_key(path: Path | None = None) -> str | None:
    """The key in a file, else in ``OPENAI_API_KEY``, else None.

    Raises:
        UsageError: the file can't be read, or holds something else than one line of visible characters.
    """
    if path is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        where = KEY_VARIABLE
        if not key:
            return None
    else:
        where = f"--api-key-file {path}"
        try:
            key = path.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(f"{where} can't be read ({reason}): give a file that holds the key alone.") from None
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where} holds no key: it must be one word of visible ASCII characters.")
    return key
