"""One request to an OpenAI-compatible server: sent again when that may help, else explained in one sentence."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipwright.core.backoff import Patience, retry_after
from clipwright.core.errors import ClipwrightError
from clipwright.synthetic.endpoint import NO_KEY, Endpoint
from clipwright.synthetic.ledger import question_key
from clipwright.synthetic.limits import RateLimit
from clipwright.synthetic.usage import Message, Usage, estimate_tokens

_PATIENCE = Patience(first=1.0, longest=60.0)
_LONGEST_ASKED = 600.0  # a server that wants a longer pause (Retry-After) isn't waited for
_AGAIN = frozenset({408, 409, 425, 429})
_OPTIONAL = ("response_format", "temperature", "max_tokens")  # what some servers refuse, in the order it's given up
_KEPT = "what was answered so far is kept, so run the same command again when it is back"


class EndpointError(ClipwrightError):
    """A server that can't be used as asked, or went away; answers paid before are kept."""


class RefusedError(EndpointError):
    """A server that refused one request, for what is in it."""


class StoppedError(EndpointError):
    """Another request of the same run failed for good, or the user interrupted it."""


@dataclass(frozen=True)
class Reply:
    """What a server answered.

    Attributes:
        text: the answer; empty where the model said nothing or refused.
        finish: why it ended: ``stop``, ``length`` (cut off at the limit of tokens), or another word of the server's.
        model: the model as the server calls it.
        prompt_tokens: tokens sent.
        completion_tokens: tokens answered.
        estimated: whether the tokens are an estimate.
    """

    text: str
    finish: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    estimated: bool


class Transport:
    """Sends chat requests through the `openai` client, whose own retries are off: those here are all there are.

    Args:
        endpoint: where to send them.
        usage: where retries are counted.
        clock: seconds, never going back.
        sleep: waits that many seconds; by default a wait that `stop` ends.

    Raises:
        EndpointError: the `openai` package is missing.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        usage: Usage,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.endpoint, self.usage = endpoint, usage
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._limit = RateLimit(endpoint.requests_per_minute, endpoint.tokens_per_minute, clock=clock, sleep=self._nap)
        self._refused: set[str] = set()
        self._client = _client(endpoint)

    @property
    def refused(self) -> tuple[str, ...]:
        """Options that the server doesn't take and requests now leave out or say otherwise."""
        return tuple(name for name in _OPTIONAL if name in self._refused)

    def stop(self) -> None:
        """Let no waiting request be sent any more."""
        self._stopped.set()

    def start(self) -> None:
        """Let requests be sent again after `stop`."""
        self._stopped.clear()

    def send(self, messages: Sequence[Message], decoding: Mapping[str, Any]) -> Reply:
        """Send one request until it is answered.

        Raises:
            EndpointError: the server refused it, or didn't answer in all its attempts.
        """
        tokens = estimate_tokens(messages) + int(decoding.get("max_tokens", 0))
        reason = ""
        attempt = 0
        while attempt < self.endpoint.attempts:
            self._limit.wait(tokens)
            if self._stopped.is_set():
                raise StoppedError("the run was stopped before this request was sent.")
            reply, reason, pause, counts = self._once(messages, decoding)
            if reply is not None:
                return reply
            attempt += counts
            if counts and attempt < self.endpoint.attempts:
                self.usage.add(retries=1)
                if pause is None:
                    self._nap(_PATIENCE.wait(attempt, 0, question_key(self.endpoint.model, messages, decoding)))
                else:
                    self._limit.close(pause)  # for all requests, not for this one alone
        raise EndpointError(
            f"{self.endpoint.base_url} gave no usable answer in {self.endpoint.attempts} tries (the last one: "
            f"{reason}): {_KEPT}."
        )

    def _once(
        self, messages: Sequence[Message], decoding: Mapping[str, Any]
    ) -> tuple[Reply | None, str, float | None, int]:
        """A reply, or why there is none, how long the server asks to wait, and whether the try counts."""
        import openai

        try:
            response: Any = self._client.chat.completions.create(
                model=self.endpoint.model, messages=list(messages), **self._options(decoding)
            )
            return _read(response, messages), "", None, 1
        except openai.APITimeoutError:
            return None, f"it took longer than {self.endpoint.timeout:g} s", None, 1
        except openai.APIStatusError as error:
            return self._status(error)
        except openai.APIConnectionError as error:
            return None, self._say(f"no connection, {error.__cause__ or error}"), None, 1
        except (openai.APIError, ValueError, TypeError, KeyError, AttributeError):
            return None, "the answer was cut off or is no chat completion", None, 1

    def _options(self, decoding: Mapping[str, Any]) -> dict[str, Any]:
        options = {name: value for name, value in decoding.items() if name not in self._refused}
        if "max_tokens" in self._refused and "max_tokens" in decoding:
            options["max_completion_tokens"] = decoding["max_tokens"]
        return options

    def _status(self, error: Any) -> tuple[None, str, float | None, int]:
        status, said = int(error.status_code), self._say(_message(error))
        where, model = self.endpoint.base_url, self.endpoint.model
        if status in {401, 403}:
            raise EndpointError(
                f"{where} refused the API key ({status}): check OPENAI_API_KEY or --api-key-file, and that the key may "
                f"use {model!r}."
            )
        if status == 404:
            raise EndpointError(
                f"{where} knows no such address or model ({said}): check that --base-url ends as the server says "
                f"(often /v1) and that it serves {model!r}."
            )
        if "insufficient_quota" in said or "insufficient_quota" in str(getattr(error, "code", "")):
            raise EndpointError(f"the account behind the key has nothing left at {where}: {_KEPT}.")
        if status in _AGAIN or status >= 500:
            pause = retry_after(error.response.headers, time.time())
            if pause is not None and pause > _LONGEST_ASKED:
                raise EndpointError(f"{where} asks to wait {pause:.0f} s ({status}): {_KEPT}.")
            return None, f"status {status}, {said}", pause, 1
        if (name := self._unwelcome(said)) is not None:
            self._refused.add(name)
            return None, said, None, 0  # asked in another way at once; it doesn't count as a try
        raise RefusedError(f"{where} refused a request ({status}): {said}")

    def _unwelcome(self, said: str) -> str | None:
        """The option that a server's complaint is about, where requests can do without it."""
        text = said.lower()
        hints = {"response_format": ("response_format", "json_schema", "guided", "structured output")}
        for name in _OPTIONAL:
            if name not in self._refused and any(hint in text for hint in hints.get(name, (name,))):
                return name
        return None

    def _nap(self, seconds: float) -> None:
        self._sleep(seconds)
        if self._stopped.is_set():
            raise StoppedError("the run was stopped before this request was sent.")

    def _say(self, text: str) -> str:
        """A stranger's words, short, on one line, without the key."""
        line = " ".join(self.endpoint.hide(text).split())
        return line if len(line) <= 300 else line[:297] + "..."


def _client(endpoint: Endpoint) -> Any:
    try:
        from openai import OpenAI
    except ImportError as error:
        raise EndpointError(
            "asking a language model needs the openai package: pip install 'clipwright[llm]'."
        ) from error
    key = endpoint.api_key or NO_KEY
    return OpenAI(base_url=endpoint.base_url, api_key=key, max_retries=0, timeout=endpoint.timeout)


def _read(response: Any, messages: Sequence[Message]) -> Reply:
    """The first choice of a response; ValueError where it has none."""
    if not getattr(response, "choices", None):
        raise ValueError("no choices")
    choice = response.choices[0]
    text = choice.message.content
    if isinstance(text, list):  # parts, as some servers send them
        text = "".join(str(part["text"]) for part in text if part.get("type") == "text")
    if text is not None and not isinstance(text, str):
        raise ValueError("no text")
    usage = response.usage
    counted = usage is not None and isinstance(usage.prompt_tokens, int) and isinstance(usage.completion_tokens, int)
    return Reply(
        text=text or "",
        finish=str(choice.finish_reason or "stop"),
        model=str(response.model or ""),
        prompt_tokens=usage.prompt_tokens if counted else estimate_tokens(messages),
        completion_tokens=usage.completion_tokens if counted else -(-len(text or "") // 4),
        estimated=not counted,
    )


def _message(error: Any) -> str:
    """What the server says is wrong, wherever it says so."""
    body = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        said = inner.get("message", inner.get("detail")) if isinstance(inner, Mapping) else inner
        if isinstance(said, str) and said:
            return said
        return str(said or inner)
    return str(body or error)
