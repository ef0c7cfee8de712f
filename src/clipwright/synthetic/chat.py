"""Asking a language model: messages in, text or validated JSON out, each answer paid once."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from clipwright.core.errors import ClipwrightError
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.ledger import Ledger, question_key
from clipwright.synthetic.messages import assistant, user
from clipwright.synthetic.transport import Transport
from clipwright.synthetic.usage import Message, Usage

T = TypeVar("T", bound=BaseModel)
Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_TOKENS = 512
_SHOWN = 4000  # characters of a wrong answer that the model is shown again
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", flags=re.S)
_THOUGHTS = re.compile(r"^\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", flags=re.S | re.I)


class AnswerError(ClipwrightError):
    """An answer that isn't what was asked for, and wasn't after the model was told so.

    Attributes:
        fits: whether it had the right form, and was wrong in what it says.
    """

    def __init__(self, message: str, *, fits: bool = False) -> None:
        super().__init__(message)
        self.fits = fits


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: the answer.
        truncated: whether it was cut off at the limit of tokens.
        model: the model as the server calls it.
        date: when it was answered, as YYYY-MM-DD in UTC.
        cached: whether it was paid before.
        prompt_tokens: tokens sent, when it was paid.
        completion_tokens: tokens answered, when it was paid.
    """

    text: str
    truncated: bool
    model: str
    date: str
    cached: bool
    prompt_tokens: int
    completion_tokens: int

    @property
    def spoken(self) -> str:
        """The answer without the thoughts (``<think>...</think>``) that some models put before it."""
        return _THOUGHTS.sub("", self.text)


class Chat:
    """A model behind an OpenAI-compatible server, and the answers that it gave before.

    An answer is kept under the model's name, the messages and the decoding (not the address, which changes when a
    server is started again). A run that is killed loses only what was in flight. Requests that are sent at the same
    time and are equal are paid once.

    Args:
        endpoint: where to ask.
        ledger: where answers are kept; ``chat`` below CLIPWRIGHT_HOME when left out.
        clock: seconds, never going back; for tests.
        sleep: waits that many seconds; for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        ledger: Ledger | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.ledger = ledger or Ledger()
        self.usage = Usage()
        self._clock, self._sleep = clock, sleep
        self._transport: Transport | None = None
        self._asking: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @property
    def refused(self) -> tuple[str, ...]:
        """Options of requests that the server doesn't take, found while asking."""
        return self._transport.refused if self._transport else ()

    def known(self, messages: Sequence[Message], decoding: dict[str, Any]) -> Answer | None:
        """The answer to these messages if it was paid before; nothing is sent."""
        row = self.ledger.get(question_key(self.endpoint.model, messages, decoding))
        return None if row is None else _answer(row, cached=True)

    def ask(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int = MAX_TOKENS,
        temperature: float = 0.0,
        schema: type[BaseModel] | None = None,
    ) -> Answer:
        """Ask once, or read the answer that was paid before.

        Args:
            messages: as `clipwright.synthetic.messages` makes them.
            max_tokens: limit on the answer.
            temperature: 0 = the most likely answer.
            schema: what JSON the server should hold the model to, where it can.

        Raises:
            EndpointError: the server refused, or didn't answer in all its attempts.
        """
        decoding = decode(max_tokens=max_tokens, temperature=temperature, schema=schema)
        key = question_key(self.endpoint.model, messages, decoding)
        with self._lock:
            lock = self._asking.setdefault(key, threading.Lock())
        with lock:
            row = self.ledger.get(key)
            if row is not None:
                answer = _answer(row, cached=True)
                self.usage.add(cached=1, truncated=int(answer.truncated))
                return answer
            return self._pay(key, messages, decoding)

    def _pay(self, key: str, messages: Sequence[Message], decoding: dict[str, Any]) -> Answer:
        reply = self._sender().send(messages, decoding)
        row = {
            "model": reply.model or self.endpoint.model,
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "text": reply.text,
            "finish": reply.finish,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
        }
        self.ledger.put(key, row)
        answer = _answer(row, cached=False)
        self.usage.add(
            calls=1,
            truncated=int(answer.truncated),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            estimated=reply.estimated,
        )
        return answer

    def ask_json(
        self,
        messages: Sequence[Message],
        schema: type[T],
        *,
        check: Callable[[T], str | None] | None = None,
        max_tokens: int = MAX_TOKENS,
    ) -> tuple[T, Answer]:
        """Ask for JSON of a schema; a wrong answer is shown to the model once, with what is wrong with it.

        Args:
            messages: what to ask.
            schema: what the answer must fit; fields that it doesn't have are dropped.
            check: says what else is wrong with an answer, or None.
            max_tokens: limit on the answer; doubled for the second try where the first was cut off.

        Returns:
            the value, and the answer that it came from.

        Raises:
            AnswerError: both answers were wrong.
            EndpointError: the server refused, or didn't answer.
        """
        first = self.ask(messages, max_tokens=max_tokens, schema=schema)
        value, complaint, _ = _read(first, schema, check)
        if value is not None:
            return value, first
        self.usage.add(repairs=1)
        fields = ", ".join(schema.model_fields)
        order = f"{complaint} Answer again with one JSON object with the fields {fields}, and nothing else."
        again = [*messages, assistant(first.spoken[:_SHOWN] or "(nothing)"), user(order)]
        second = self.ask(again, max_tokens=max_tokens * (2 if first.truncated else 1), schema=schema)
        value, complaint, fits = _read(second, schema, check)
        if value is not None:
            return value, second
        self.usage.add(invalid=1)
        raise AnswerError(
            f"{self.endpoint.model} gave no usable answer, not even when told what was wrong: {complaint}", fits=fits
        )

    def each(self, items: Sequence[Item], work: Callable[[Item], Result]) -> Generator[tuple[int, Result], None, None]:
        """Do `work`, which asks, for every item, several at a time; results come as they are finished.

        When one fails, or the caller closes the generator, those not yet begun are left out, and those in flight are
        waited for, so that what they were paid for is kept.

        Yields:
            (position of the item, its result).
        """
        sender = self._transport
        if sender is not None:
            sender.start()
        pool = ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="chat")
        futures: dict[Future[Result], int] = {}
        todo = iter(enumerate(items))
        try:
            while True:
                while len(futures) < 2 * self.endpoint.concurrency and (entry := next(todo, None)) is not None:
                    futures[pool.submit(work, entry[1])] = entry[0]
                if not futures:
                    return
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    yield futures.pop(future), future.result()
        finally:
            if futures and self._transport is not None:
                self._transport.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            if self._transport is not None:
                self._transport.start()

    def _sender(self) -> Transport:
        with self._lock:  # the openai package is loaded when the first request is sent, not for a dry run
            if self._transport is None:
                self._transport = Transport(self.endpoint, self.usage, clock=self._clock, sleep=self._sleep)
            return self._transport


def decode(*, max_tokens: int, temperature: float = 0.0, schema: type[BaseModel] | None = None) -> dict[str, Any]:
    """How an answer is decoded, as a request says it."""
    found: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
    if schema is not None:
        described = {"name": schema.__name__, "schema": schema.model_json_schema()}
        found["response_format"] = {"type": "json_schema", "json_schema": described}
    return found


def _answer(row: dict[str, Any], *, cached: bool) -> Answer:
    return Answer(
        text=row["text"],
        truncated=row.get("finish") == "length",
        model=str(row.get("model", "")),
        date=str(row.get("date", "")),
        cached=cached,
        prompt_tokens=int(row.get("prompt_tokens", 0)),
        completion_tokens=int(row.get("completion_tokens", 0)),
    )


def _read(answer: Answer, schema: type[T], check: Callable[[T], str | None] | None) -> tuple[T | None, str, bool]:
    """The value of an answer, or None and what is wrong with it; and whether it had the right form."""
    try:
        value = schema.model_validate(_object(answer.spoken))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the answer"
        return None, f"The answer doesn't fit: {place}: {first['msg']}.", False
    except ValueError:
        if answer.truncated:
            return None, f"The answer was cut off after {answer.completion_tokens} tokens: be shorter.", False
        return None, "The answer is no JSON.", False
    complaint = check(value) if check is not None else None
    return (None, complaint, True) if complaint else (value, "", True)


def _object(text: str) -> Any:
    """The first JSON object in a text, alone, fenced or surrounded by words; ValueError where there is none."""
    fenced = _FENCE.search(text)
    for part in (text, *([fenced[1]] if fenced else [])):
        try:
            return json.loads(part)
        except (ValueError, RecursionError):
            continue
    start = text.find("{")
    if start < 0:
        raise ValueError("no object")
    try:
        return json.JSONDecoder().raw_decode(text, start)[0]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
