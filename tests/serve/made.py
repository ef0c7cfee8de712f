"""A served embedded model on 127.0.0.1 that remembers what it was asked and fails where a test wants it to."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.backbones import resolve
from clipwright.backbones.endpoint import EndpointBackbone, EndpointRef
from clipwright.backbones.identifiers import parse
from clipwright.backbones.loaded import TowerBackbone
from clipwright.core.backoff import Patience
from clipwright.core.payload import JSON, NPZ, pack, unpack
from clipwright.serve.app import make_app
from clipwright.serve.limits import Limits
from clipwright.serve.running import LOCAL_NAMES, HttpServer
from clipwright.serve.served import Served
from clipwright.task import Access

ALL = frozenset({Access.FEATURES, Access.SCORES, Access.SOFT_PROMPT, Access.LABELS})
QUICK = Patience(first=0.01, longest=0.05, total=5, connect=1, read=5)
NAMES = ["seven", "letter B", "red circle"]


@cache
def tiny() -> TowerBackbone:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone = resolve("tiny", device="cpu").load()
    assert isinstance(backbone, TowerBackbone)
    return backbone


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """(count, 3, 32, 32) uint8, all different."""
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(seed))


def prompts(count: int, seed: int = 0, width: int = 128) -> torch.Tensor:
    """(count, 4, width) contexts near that of "a photo of a"."""
    start = tiny().soft_prompts(["x"]).context("a photo of a")
    return start + 0.05 * torch.randn(count, 4, width, generator=torch.manual_seed(seed))


def served(access: frozenset[Access] = ALL, store: Path | None = None, **limits: int) -> Served:
    return Served(tiny(), access, Limits(**limits), store)


def connect(url: str, patience: Patience = QUICK, connections: int = 4) -> EndpointBackbone:
    """The client of an endpoint, that waits for milliseconds only."""
    return EndpointRef(parse(f"endpoint:{url}"), patience=patience, connections=connections).load()


class Fault:
    """What happens to one request instead of, or after, its answer.

    Args:
        status: answered without asking the model.
        headers: of that answer.
        cut: the answer ends early.
        change: makes other fields of the right ones.
        seconds: waited before the right answer.
        body: sent as it is, with status 200.
    """

    def __init__(
        self,
        *,
        status: int = 0,
        headers: dict[str, str] | None = None,
        cut: bool = False,
        change: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        seconds: float = 0.0,
        body: bytes | None = None,
    ) -> None:
        self.status, self.headers, self.cut = status, headers or {}, cut
        self.change, self.seconds, self.body = change, seconds, body


class Watched:
    """An application that records the requests of /images, /scores, ... and breaks some of their answers."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.url = ""

    def count(self, route: str) -> int:
        return sum(path == route for path, _ in self.asked)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] == "/info":
            await self.app(scope, receive, send)
            return
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        kind = headers.get("content-type", "")
        self.asked.append((scope["path"], unpack(body, kind) if kind in {JSON, NPZ} else {"body": body}))
        self.headers.append(headers)
        waiting = self.faults.get(scope["path"], [])
        fault = waiting.pop(0) if waiting else None
        if fault is not None:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.status:
            await _answer(send, fault.status, fault.headers, b"")
            return
        sent = False

        async def again() -> Any:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        parts: list[Any] = []

        async def collect(message: Any) -> None:
            parts.append(message)

        await self.app(scope, again, collect)
        start = parts[0]
        answer = b"".join(part.get("body", b"") for part in parts[1:])
        given = {k.decode(): v.decode() for k, v in start["headers"] if k != b"content-length"}
        if fault is not None and fault.body is not None:
            answer = fault.body
        elif fault is not None and fault.change is not None:
            answer = pack(fault.change(unpack(answer, given["content-type"])), given["content-type"])
        await _answer(send, start["status"], given, answer, cut=fault is not None and fault.cut)


async def _answer(send: Any, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False) -> None:
    whole = {**headers, "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in whole.items()],
        }
    )
    await send({"type": "http.response.body", "body": body[: len(body) // 2] if cut else body})


@contextmanager
def serving(model: Served, *, token: str | None = None, port: int = 0) -> Iterator[Watched]:
    """The model on a port, watched."""
    watched = Watched(make_app(model, token=token, hosts=LOCAL_NAMES))
    with HttpServer(watched, port=port) as server:
        watched.url = server.url
        yield watched


def reference_scores(pixels: torch.Tensor, texts: torch.Tensor) -> np.ndarray:
    """(n, C) in float64: logit scale times cosine, written out."""
    x = tiny().images(pixels).x.double().numpy()
    t = texts.double().numpy()
    x /= np.sqrt((x * x).sum(1, keepdims=True))
    t = t / np.sqrt((t * t).sum(1, keepdims=True))
    return np.asarray(tiny().logit_scale * (x @ t.T))
