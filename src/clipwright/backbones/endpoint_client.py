"""Talking to a served backbone: requests that are checked, counted, cached, and kept within its limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import fields
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from clipwright.backbones.agreement import MODEL_HEADER, NOT_GRANTED, UNKNOWN_HANDLES
from clipwright.backbones.endpoint_access import not_granted
from clipwright.backbones.endpoint_images import Outbox
from clipwright.backbones.endpoint_info import EndpointInfo
from clipwright.core.answers import Answers, answer_key
from clipwright.core.errors import BackboneError, UsageError
from clipwright.core.http import Answer, HttpClient, HttpError, Traffic, UnusableAnswer
from clipwright.core.payload import JSON, NPZ, PayloadError, numbers, pack, unpack
from clipwright.task import Access, Spent

T = TypeVar("T")
_SHARE = 0.9  # of the limit on bytes, since a body also holds names


class EndpointClient:
    """One server and its model; may be used by several threads.

    Attributes:
        http: the connections.
        spent: what all questions have cost.

    Args:
        http: to the address of the server.
        answers: where answers are kept; by default below CLIPWRIGHT_HOME.
        connections: how many requests may be in flight.
    """

    def __init__(self, http: HttpClient, *, answers: Answers | None = None, connections: int = 4) -> None:
        self.http = http
        self.answers = answers or Answers()
        self.spent = Spent()
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="endpoint")
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._round = 0  # how often forgotten images were sent again
        self._sent_in: dict[str, int] = {}  # in which round each of them was

    @property
    def spec(self) -> str:
        """How this endpoint is named as a backbone."""
        return f"endpoint:{self.http.address}"

    @cached_property
    def info(self) -> EndpointInfo:
        """What the server says of itself, asked once.

        Raises:
            HttpError: it can't be reached, or refuses the token.
            FormatError: it is no served backbone.
        """
        values = self.http.request("GET", "/info", headers={"accept": JSON}, read=_object)
        return EndpointInfo.from_json(self.http.address, values)

    @cached_property
    def outbox(self) -> Outbox:
        """The images of this process."""
        height, width = self.info.preprocess.size
        return Outbox(f"{self.http.address} {self.info.digest}", (3, height, width))

    def ask(self, route: str, values: Mapping[str, Any], read: Callable[[dict[str, Any]], T], *spent: Spent) -> T:
        """Ask until `read` is content with the answer.

        Args:
            route: such as ``/scores``.
            values: the fields.
            read: makes what is returned of the fields of the answer; raises `UnusableAnswer`.
            spent: what to count the request in, besides the client's own.

        Raises:
            HttpError: the request failed for good.
            BackboneError: another model answers.
            NeedsError: the endpoint doesn't grant it.
        """
        body = pack(values, NPZ)

        def understand(answer: Answer) -> T:
            digest = answer.headers.get(MODEL_HEADER)
            if digest is None:
                raise UnusableAnswer("is none of a served backbone", tries=2)
            if digest != self.info.digest:
                raise BackboneError(
                    f"{self.http.address} now serves another model ({digest[:12]}, before {self.info.digest[:12]}): "
                    "serve the first one again, or start anew."
                )
            try:
                fields_of_answer = unpack(answer.body, answer.kind)
            except PayloadError as error:
                raise UnusableAnswer(str(error)) from error
            return read(fields_of_answer)

        traffic = Traffic()
        headers = {"content-type": NPZ, "accept": NPZ}
        try:
            key = answer_key(body)
            return self.http.request(
                "POST", route, body=body, headers=headers, read=understand, key=key, traffic=traffic
            )
        except HttpError as error:
            if error.code != NOT_GRANTED:
                raise
            lacking = [access for access in Access if access in error.details.get("lacking", ())]
            raise not_granted(self.spec, self.info.access - set(lacking), *lacking) from error
        finally:
            costs = {"requests": traffic.requests}
            costs |= {"bytes_sent": traffic.bytes_sent, "bytes_received": traffic.bytes_received}
            self.count(spent, **costs)

    def count(self, spent: Iterable[Spent], **costs: int) -> None:
        """Add costs to this client's counters and to others."""
        with self._lock:
            for counter in (self.spent, *spent):
                for field in fields(counter):
                    setattr(counter, field.name, getattr(counter, field.name) + costs.get(field.name, 0))

    # --- what was answered before ---------------------------------------------------------------------------------

    def key(self, route: str, *asked: Any) -> str:
        """Under which the answer to a question is kept: the same for every server of this model."""
        return answer_key("endpoint", self.info.digest, route, *asked)

    def known(self, key: str, shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray | None:
        """The array kept under a key, or None; one of the sizes may be -1."""
        body = self.answers.get(key)
        if body is None:
            return None
        try:
            return np.frombuffer(body, dtype).reshape(shape).copy()
        except ValueError:
            return None

    def keep(self, key: str, array: np.ndarray, dtype: str = "<f4") -> None:
        """Keep an array under a key."""
        self.answers.put(key, array.astype(dtype).tobytes())

    # --- several requests -----------------------------------------------------------------------------------------

    def all(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Do jobs, several at a time; where one fails, those not yet begun are left and the rest is waited for.

        Raises:
            Exception: the first failure, in the order of the jobs.
        """
        if len(jobs) == 1:
            jobs[0]()
            return
        stop = threading.Event()

        def guarded(job: Callable[[], None]) -> None:
            if stop.is_set():
                return
            try:
                job()
            except BaseException:
                stop.set()
                raise

        futures = [self._pool.submit(guarded, job) for job in jobs]
        try:
            wait(futures)
        except BaseException:  # an interrupt: what is in flight is waited for, and kept
            stop.set()
            self.http.stop()
            wait(futures)
            self.http.resume()
            raise
        for future in futures:
            future.result()

    # --- images ---------------------------------------------------------------------------------------------------

    def upload(self, handles: Sequence[str], *spent: Spent) -> None:
        """Send those images of the outbox that the server was not sent yet.

        Raises:
            UsageError: the pixels of one are not in the outbox.
        """
        todo = self.outbox.unsent(places(handles))
        lost = sum(not self.outbox.has(handle) for handle in todo)
        if lost:
            raise UsageError(f"the pixels of {lost} images that are to be sent are not here: keep them first.")
        self._send(todo, spent)

    def _send(self, handles: list[str], spent: Sequence[Spent]) -> None:
        self.all([partial(self._send_part, part, spent) for part in self._parts(handles)])

    def _parts(self, handles: list[str]) -> list[list[str]]:
        limits = self.info.limits
        height, width = self.info.preprocess.size
        step = max(1, min(limits["images"], int(_SHARE * limits["bytes"]) // (3 * height * width)))
        return [handles[start : start + step] for start in range(0, len(handles), step)]

    def _send_part(self, part: list[str], spent: Sequence[Spent]) -> None:
        def check(values: dict[str, Any]) -> None:
            if values.get("handles") != part:
                raise UnusableAnswer("names other images than were sent", tries=2)

        self.ask("/images", {"pixels": self.outbox.pixels(part)}, check, *spent)
        self.outbox.mark(part)
        self.count(spent, images=len(part))

    def with_images(self, question: Callable[[], T], *spent: Spent) -> T:
        """Ask about images, and send those again that the server has forgotten, as it does when it is restarted.

        Raises:
            BackboneError: it doesn't know images whose pixels aren't here.
        """
        for _ in range(3):
            began = self._round
            try:
                return question()
            except HttpError as error:
                if error.code != UNKNOWN_HANDLES:
                    raise
                self._send_again(error.details.get("handles"), began, spent)
        return question()

    def _send_again(self, named: Any, began: int, spent: Sequence[Spent]) -> None:
        """Send forgotten images, except those that another thread has sent again since `began`."""
        handles = [h for h in named if isinstance(h, str)] if isinstance(named, list) else []
        lost = [handle for handle in handles if not self.outbox.has(handle)]
        if lost or not handles:
            raise BackboneError(
                f"{self.http.address} does not know {len(lost) or 'some'} of the images, and their pixels are not at "
                "hand: send them again with upload(pixels)."
            )
        with self._sending:
            todo = [handle for handle in handles if self._sent_in.get(handle, 0) <= began]
            for part in self._parts(todo):  # not in the pool, whose threads may be waiting here
                self._send_part(part, spent)
            self._round += 1
            self._sent_in.update(dict.fromkeys(todo, self._round))


def array_of(values: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """A field of an answer, of a given shape (one size may be -1) and without NaN.

    Raises:
        UnusableAnswer: it is missing, of another shape, or holds NaN or infinity.
    """
    if name not in values:
        raise UnusableAnswer(f"has no {name}", tries=2)
    try:
        found = numbers(values[name], dtype, len(shape))
    except PayloadError as error:
        raise UnusableAnswer(f"holds {name} that {error}", tries=2) from error
    if any(size not in (-1, given) for size, given in zip(shape, found.shape, strict=True)):
        wanted = tuple(size if size >= 0 else "any" for size in shape)
        raise UnusableAnswer(f"holds {name} of shape {found.shape}, where {wanted} was asked for", tries=2)
    if not np.isfinite(found).all():
        raise UnusableAnswer(f"holds NaN or infinity in {name}", tries=2)
    return found


def places(handles: Iterable[str]) -> dict[str, int]:
    """Different handles in their own order, with their places.

    Images are sent and asked about in this order and never in that of a data set, which would tell a server which of
    them belong together where they are sorted by class.
    """
    return {handle: place for place, handle in enumerate(sorted(set(handles)))}


def handle_bytes(handles: Sequence[str]) -> np.ndarray:
    """(n, 32) uint8 of n handles.

    Raises:
        UsageError: one is no handle.
    """
    try:
        return np.frombuffer(bytes.fromhex("".join(handles)), np.uint8).reshape(len(handles), 32)
    except ValueError as error:
        raise UsageError("handles are what upload(pixels) returned: 64 hexadecimal digits each.") from error


def _object(answer: Answer) -> dict[str, Any]:
    try:
        return unpack(answer.body, JSON)
    except PayloadError as error:
        raise UnusableAnswer(str(error), tries=2) from error
