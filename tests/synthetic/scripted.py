"""A server on this machine that speaks OpenAI's chat protocol and answers as a script says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Script = Callable[[dict[str, Any], int], "Response"]


@dataclass(frozen=True)
class Response:
    """What is sent back; `cut` promises more bytes than come, `after` waits first."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    after: float = 0.0
    kind: str = "application/json"


def said(text: str | None, *, finish: str = "stop", usage: tuple[int, int] | None = (11, 7), **more: Any) -> Response:
    """A chat completion that says `text`."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Response(body=json.dumps(body).encode(), **more)


def failed(status: int, message: str = "no", **headers: str) -> Response:
    """An error in OpenAI's form; underscores in header names are dashes."""
    body = json.dumps({"error": {"message": message, "type": "scripted", "code": None}}).encode()
    return Response(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


class ScriptedServer:
    """Runs a script on 127.0.0.1 while the `with` block runs.

    Attributes:
        requests: bodies of the requests, in the order in which they came.
        keys: their Authorization headers.
    """

    def __init__(self, script: Script, path: str = "/v1/chat/completions") -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer._lock:
                    number = len(outer.requests)
                    outer.requests.append(body)
                    outer.keys.append(self.headers.get("Authorization", ""))
                answer = outer.script(body, number) if self.path == path else failed(404, "no route")
                time.sleep(answer.after)
                with suppress(OSError):  # the client may have gone, killed or tired of waiting
                    self._send(answer)

            def _send(self, answer: Response) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body) + (100 if answer.cut else 0)))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
                if answer.cut:
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def asked(request: Mapping[str, Any]) -> str:
    """The text of the last message of a request."""
    content = request["messages"][-1]["content"]
    return content if isinstance(content, str) else " ".join(p["text"] for p in content if p["type"] == "text")


class Clock:
    """Time that passes only by sleeping; safe for several threads."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
            self.slept.append(seconds)
