"""Images from a server that speaks OpenAI's images protocol."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from clipwright.core.backoff import Patience, retry_after
from clipwright.core.errors import UsageError
from clipwright.data.images import decode
from clipwright.synthetic.endpoint import NO_KEY, Endpoint
from clipwright.synthetic.generators.base import BLOCKED, Picture, Request
from clipwright.synthetic.limits import RateLimit
from clipwright.synthetic.transport import EndpointError, StoppedError

_PATIENCE = Patience(first=1.0, longest=60.0)
_LONGEST_ASKED = 600.0  # a server that wants a longer pause (Retry-After) isn't waited for
_AGAIN = frozenset({408, 409, 425, 429})
_OPTIONAL = ("seed", "negative_prompt", "response_format", "size")  # what some servers refuse
_FILTERED = ("content_policy", "moderation_blocked", "content_filter", "safety system")
_MOST_PIXELS = 8192 * 8192
_KEPT = "the images that came are kept, so run the same command again when it is back"


class ImagesEndpoint:
    """Asks a server for one image at a time, several requests in flight.

    The seed is sent along; a server that refuses it makes another image whenever it is asked, so only what is missing
    is asked for again. Images are taken from the answer itself (``b64_json``); no address in an answer is visited.

    Args:
        endpoint: where to ask, how often, and how hard; tokens aren't counted.
        size: pixels per side to ask for; the server's own choice when left out.
        negative: what shall not be seen, or nothing.
        clock: seconds, never going back; for tests.
        sleep: waits that many seconds; for tests.

    Attributes:
        calls: requests that were answered.
        refused: options that the server doesn't take and requests now leave out.
    """

    name = "endpoint"
    independent = True
    save_size = 224

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        size: int | None = None,
        negative: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        if size is not None and size < 1:
            raise UsageError("--size must be positive.")
        self.endpoint, self.size, self.negative = endpoint, size, negative
        self.batch_size = 4 * endpoint.concurrency
        self.calls = 0
        self.refused: tuple[str, ...] = ()
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._limit = RateLimit(endpoint.requests_per_minute, None, clock=clock, sleep=self._sleep)
        self._lock = threading.Lock()
        self._opened: Any = None

    @property
    def model(self) -> str:
        """What the server calls the model."""
        return self.endpoint.model

    def check(self, class_names: Sequence[str]) -> None:
        """Refuse where the client is missing; nothing is sent."""
        del class_names
        self._client()

    def prepare(self) -> None:
        """Nothing is needed."""

    def settings(self) -> dict[str, Any]:
        """Model, size, and what shall not be seen; the address is none of it."""
        return {"generator": self.name, "model": self.model, "size": self.size, "negative_prompt": self.negative}

    def make(self, requests: Sequence[Request]) -> Iterator[tuple[int, Picture]]:
        """Ask for every image. When one fails for good, those in flight are waited for and given out first."""
        self._stopped.clear()
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.endpoint.concurrency, thread_name_prefix="images") as pool:
            futures: dict[Future[Picture], int] = {}
            try:
                try:
                    for number, request in enumerate(requests):
                        futures[pool.submit(self._ask, request)] = number
                except KeyboardInterrupt as interrupt:  # the first may be on its way already
                    failure = interrupt
                    self._give_up(futures)
                while futures:
                    done, interrupted = _next(futures)
                    failed = [f for f in done if not f.cancelled() and f.exception() is not None]
                    if failure is None and (interrupted is not None or failed):
                        failure = interrupted or failed[0].exception()
                        self._give_up(futures)
                    for future in done:
                        number = futures.pop(future)
                        if not future.cancelled() and future not in failed:
                            yield number, future.result()
            finally:
                if futures:
                    self._give_up(futures)
        if failure is not None:
            raise failure

    def _give_up(self, futures: Iterable[Future[Picture]]) -> None:
        """Begin no further request, and let no waiting one be sent again."""
        self._stopped.set()
        for future in futures:
            future.cancel()

    def _ask(self, request: Request) -> Picture:
        """One image, asked for until it comes or is refused for good."""
        reason, attempt = "", 0
        while attempt < self.endpoint.attempts:
            self._limit.wait(0)
            if self._stopped.is_set():
                raise StoppedError("the run was stopped before this request was sent.")
            picture, reason, pause, counts = self._once(request)
            if picture is not None:
                with self._lock:
                    self.calls += 1
                return picture
            attempt += counts
            if counts and attempt < self.endpoint.attempts:
                if pause is None:
                    self._sleep(_PATIENCE.wait(attempt, request.seed, request.prompt))
                else:
                    self._limit.close(pause)  # for all requests, not for this one alone
        raise EndpointError(
            f"{self.endpoint.base_url} gave no image in {self.endpoint.attempts} tries (the last one: {reason}): "
            f"{_KEPT}."
        )

    def _once(self, request: Request) -> tuple[Picture | None, str, float | None, int]:
        """A picture, or why there is none, how long the server asks to wait, and whether the try counts."""
        import openai

        try:
            response = self._client().images.generate(
                model=self.endpoint.model, prompt=request.prompt, n=1, **self._options(request)
            )
            return _read(response), "", None, 1
        except openai.APITimeoutError:
            return None, f"it took longer than {self.endpoint.timeout:g} s", None, 1
        except openai.APIStatusError as error:
            return self._status(error)
        except openai.APIConnectionError as error:
            return None, self.endpoint.hide(f"no connection, {error.__cause__ or error}"), None, 1
        except (openai.APIError, ValueError, TypeError, KeyError, AttributeError):
            return None, "the answer was cut off or is no list of images", None, 1

    def _options(self, request: Request) -> dict[str, Any]:
        found: dict[str, Any] = {"response_format": "b64_json"}
        if self.size is not None:
            found["size"] = f"{self.size}x{self.size}"
        more = {"seed": request.seed, **({"negative_prompt": self.negative} if self.negative else {})}
        found = {key: value for key, value in found.items() if key not in self.refused}
        more = {key: value for key, value in more.items() if key not in self.refused}
        return {**found, **({"extra_body": more} if more else {})}

    def _status(self, error: Any) -> tuple[Picture | None, str, float | None, int]:
        status, said, where = int(error.status_code), self._said(error), self.endpoint.base_url
        if status in {400, 403, 422} and any(word in said.casefold() for word in _FILTERED):
            return Picture(None, BLOCKED), "", None, 1
        if status in {401, 403}:
            raise EndpointError(
                f"{where} refused the API key ({status}): check OPENAI_API_KEY or --api-key-file, and that the key may "
                f"use {self.model!r}."
            )
        if status == 404:
            raise EndpointError(
                f"{where} knows no such address or model: check that --base-url ends as the server says (often /v1) "
                f"and that it makes images with {self.model!r}."
            )
        if "insufficient_quota" in said or "billing" in said:
            raise EndpointError(f"the account behind the key has nothing left at {where}: {_KEPT}.")
        if status in _AGAIN or status >= 500:
            pause = retry_after(error.response.headers, time.time())
            if pause is not None and pause > _LONGEST_ASKED:
                raise EndpointError(f"{where} asks to wait {pause:.0f} s ({status}): {_KEPT}.")
            return None, f"status {status}, {said}", pause, 1
        for name in _OPTIONAL:
            if name in said and name not in self.refused:
                with self._lock:
                    self.refused = (*self.refused, name)
                return None, said, None, 0  # asked without it at once; it doesn't count as a try
        if any(name in said for name in self.refused):
            return None, said, None, 1  # another thread gave the option up while this request was on its way
        raise EndpointError(f"{where} refused a request ({status}): {said}")

    def _said(self, error: Any) -> str:
        """What the server says is wrong, with its code, as one line without the key."""
        body = error.body
        inner = body.get("error", body) if isinstance(body, Mapping) else body
        parts = (
            [inner.get("code"), inner.get("message", inner.get("detail"))] if isinstance(inner, Mapping) else [inner]
        )
        text = " ".join(str(part) for part in parts if part) or str(error)
        return self.endpoint.hide(" ".join(text.split()))[:300]

    def _client(self) -> Any:
        with self._lock:
            if self._opened is None:
                try:
                    from openai import OpenAI
                except ImportError as error:
                    raise EndpointError(
                        "--generator endpoint needs the openai package: pip install 'clipwright[llm]'."
                    ) from error
                self._opened = OpenAI(
                    base_url=self.endpoint.base_url,
                    api_key=self.endpoint.api_key or NO_KEY,
                    max_retries=0,
                    timeout=self.endpoint.timeout,
                )
            return self._opened


def _next(futures: Iterable[Future[Picture]]) -> tuple[set[Future[Picture]], BaseException | None]:
    """Those of the requests that came to an end, and the user's interrupt where that came first."""
    try:
        return wait(futures, return_when=FIRST_COMPLETED).done, None
    except KeyboardInterrupt as error:
        return set(), error


def _read(response: Any) -> Picture:
    """The first image of a response; ValueError where it has none that can be decoded."""
    data = getattr(response, "data", None)
    if not data:
        raise ValueError("no image")
    text = data[0].b64_json
    if not isinstance(text, str):
        raise ValueError("no b64_json")
    try:
        return Picture(decode(base64.b64decode(text, validate=True), max_pixels=_MOST_PIXELS))
    except Exception as error:
        raise ValueError("no image") from error
