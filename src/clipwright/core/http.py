"""An HTTP client that waits for busy servers, gives up in time, counts what it costs and never shows its token."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx

from clipwright.core.addresses import check_address
from clipwright.core.backoff import Patience, retry_after
from clipwright.core.errors import ClipwrightError, UsageError
from clipwright.core.refusals import refusal

T = TypeVar("T")
_AGAIN = frozenset({408, 425, 429})  # besides 5xx
_NEVER = frozenset({501, 505, 507})  # of 5xx: trying again changes nothing


class UnusableAnswer(Exception):  # noqa: N818 - a verdict of `read`, not an error that users see
    """Raised by the `read` of a request: the answer arrived and can't be right, so ask again.

    Args:
        reason: half a sentence that goes on after "it".
        tries: how often the same may be asked in all.
    """

    def __init__(self, reason: str, tries: int = 3) -> None:
        super().__init__(reason)
        self.tries = tries


class HttpError(ClipwrightError):
    """A request that failed for good.

    Attributes:
        status: of the last answer, or None where there was none.
        code: what the server's structured error calls it, or empty.
        details: the rest of that error.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.details = details or {}


class TokenRefusedError(HttpError):
    """The server doesn't take the token, or wants one."""


@dataclass
class Traffic:
    """What was sent and received, failed tries included."""

    requests: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, requests: int, sent: int, received: int) -> None:
        """Count one try."""
        with self._lock:
            self.requests += requests
            self.bytes_sent += sent
            self.bytes_received += received


@dataclass(frozen=True)
class Answer:
    """A whole answer with a status of 2xx."""

    body: bytes
    headers: httpx.Headers

    @property
    def kind(self) -> str:
        """The media type, without parameters."""
        return str(self.headers.get("content-type", "")).split(";")[0].strip().lower()


def _whole(answer: Answer) -> Any:
    return answer


class HttpClient:
    """Talks to one server over a pool of connections; may be used by several threads at a time.

    Connection errors, timeouts, 408, 425, 429, 5xx, answers that are cut short and answers that `read` calls unusable
    are tried again, after waits that grow and that honour ``Retry-After``; a server that is busy is left alone by all
    threads until then. Redirects are not followed: they could carry the token elsewhere.

    Args:
        address: ``http://`` or ``https://`` with host, and perhaps port and path.
        token: sent as a bearer token; stands in no message, log or repr.
        token_from: where the user gave it, for messages.
        patience: how long to wait for what.
        connections: how many requests may be in flight.
        seed: of the jitter; None draws one.
        clock: seconds of a clock that never goes back.
        now: seconds since 1970.
        sleep: waits some seconds; by default a wait that `stop` ends.

    Raises:
        UsageError: the address is none, holds a password, or the token can't be sent.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        token_from: str = "CLIPWRIGHT_TOKEN",  # noqa: S107 - the name of a variable
        patience: Patience | None = None,
        connections: int = 4,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        place = check_address(address)
        self.address = place.text
        self.patience = patience or Patience()
        self.traffic = Traffic()
        self._token_from = token_from
        self._token = check_token(token, token_from)
        self._seed = time.time_ns() if seed is None else seed
        self._stopped = threading.Event()
        self._clock, self._now, self._sleep = clock, now, sleep or self._stopped.wait
        self._until, self._lock = 0.0, threading.Lock()  # no thread asks before
        self._client = httpx.Client(
            # identity: arrays hardly compress, and an answer can't blow up while it is unpacked
            headers={"accept-encoding": "identity"}
            | ({"authorization": f"Bearer {self._token}"} if self._token else {}),
            timeout=httpx.Timeout(self.patience.read, connect=self.patience.connect, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=not place.local,  # a proxy can't reach this machine's own servers
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"HttpClient({self.address!r}, token={'***' if self._token else None})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def stop(self) -> None:
        """End all waits: requests that fail are given up at once, until `resume`."""
        self._stopped.set()

    def resume(self) -> None:
        """Be patient again."""
        self._stopped.clear()

    def request(
        self,
        method: str,
        route: str,
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        read: Callable[[Answer], T] = _whole,
        key: str = "",
        traffic: Traffic | None = None,
    ) -> T:
        """Ask until there is an answer that can be used.

        Args:
            method: GET, POST, ...
            route: what follows the address, from its slash on.
            body: sent with every try.
            headers: besides the token.
            read: makes what is returned of an answer; raises `UnusableAnswer` to have it asked again.
            key: tells requests of one route apart, for the jitter.
            traffic: counts this request too, beside the client's own.

        Raises:
            TokenRefusedError: 401 or 403; not tried again.
            HttpError: any other answer that trying again doesn't change, or no usable one in time.
        """
        start, failures, unusable = self._clock(), 0, 0
        while True:
            self._hold()
            asked: float | None = None
            try:
                answer = self._once(method, route, body, headers or {}, traffic)
                if answer.status_code // 100 == 2:
                    return read(Answer(answer.content, answer.headers))
                problem = self._judge(answer)
                asked = retry_after(answer.headers, self._now())
            except (httpx.TransportError, httpx.DecodingError) as error:
                problem = self._lost(error)
            except UnusableAnswer as error:
                unusable += 1
                problem = HttpError(
                    f"the answer of {self.address}{route} can't be used: it {self._clean(str(error))}, "
                    f"{unusable} times in a row; look at the server, then run the same command again."
                )
                if unusable >= error.tries:
                    raise problem from error
            failures += 1
            wait = self.patience.wait(failures, self._seed, route, key)
            wait = wait if asked is None else max(asked, 0.0) + wait * 0.1
            if self._stopped.is_set() or self._clock() + wait - start > self.patience.total:
                raise self._given_up(problem, failures, asked)
            self._pause(wait, everyone=asked is not None)

    def _once(
        self, method: str, route: str, body: bytes, headers: dict[str, str], traffic: Traffic | None
    ) -> httpx.Response:
        received = 0
        try:
            answer = self._client.request(method, self.address + route, content=body or None, headers=headers)
            received = len(answer.content)
        finally:
            for counter in (self.traffic, traffic):
                if counter is not None:
                    counter.add(1, len(body), received)
        return answer

    def _judge(self, answer: httpx.Response) -> HttpError:
        """What to say of an answer that is no success, if it is to be tried again; raised if it isn't."""
        status = answer.status_code
        code, message, details = refusal(answer.content)
        if status == 401 or (status == 403 and not code):
            given = "doesn't take the token: it is wrong or has expired" if self._token else "wants a token"
            raise TokenRefusedError(
                f"{self.address} {given}; set {self._token_from} to a valid one and run the same command again.",
                status=status,
                code=code,
            )
        said = f": {self._clean(message)}" if message else ""
        problem = HttpError(f"{self.address} answers {status}{said}", status=status, code=code, details=details)
        if status in _AGAIN or (status >= 500 and status not in _NEVER):
            return problem
        if 300 <= status < 400:
            where = self._clean(str(answer.headers.get("location", "elsewhere")))
            raise HttpError(
                f"{self.address} sends on to {where}, which is not followed: give the address that answers itself.",
                status=status,
            )
        text = self._clean(message) or f"{self.address} answers {status} without saying why: check the address."
        raise HttpError(text, status=status, code=code, details=details)

    def _lost(self, error: httpx.HTTPError) -> HttpError:
        """What to say of a request that got no whole answer; raised where trying again is no use."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise HttpError(
                    f"{self.address} can't prove who it is ({cause.verify_message}): install its certificate, or set "
                    "SSL_CERT_FILE to the file of its authority."
                ) from error
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise HttpError(f"{self.address} can't be asked: check the address.") from error
        if isinstance(error, httpx.TimeoutException):
            return HttpError(f"{self.address} does not answer in time")
        if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
            return HttpError(f"the answers of {self.address} are cut short or damaged")
        return HttpError(f"{self.address} can't be reached")

    def _given_up(self, problem: HttpError, failures: int, asked: float | None) -> HttpError:
        text = str(problem).rstrip(".")
        if failures > 1:
            text += f" ({failures} tries)"
        if asked is not None and asked > self.patience.total:
            text += f" and asks to wait {asked:.0f} s"
        return HttpError(
            f"{text}: see that the server runs and run the same command again; what was answered so far is kept.",
            status=problem.status,
            code=problem.code,
            details=problem.details,
        )

    def _hold(self) -> None:
        """Wait until the server wants to be asked again."""
        with self._lock:
            wait = self._until - self._clock()
        if wait > 0:
            self._sleep(wait)

    def _pause(self, wait: float, *, everyone: bool) -> None:
        if everyone:
            with self._lock:
                self._until = max(self._until, self._clock() + wait)
        self._sleep(wait)

    def _clean(self, text: str) -> str:
        """Text of a server as part of a sentence: one line, not too long, without the token."""
        text = " ".join(text.split())
        text = text.replace(self._token, "***") if self._token else text
        return text if len(text) <= 500 else text[:500] + "..."


def check_token(token: str | None, token_from: str = "CLIPWRIGHT_TOKEN") -> str | None:  # noqa: S107 - a variable's name
    """The token without white space around it, or None where it is empty.

    Raises:
        UsageError: it holds what a header can't; the message doesn't show it.
    """
    token = (token or "").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"the token of {token_from} must be printable ASCII without spaces: set it again.")
    return token
