"""A worker process: receives a function, then calls it on whatever comes down its standard input.

It ends when its input does, so it never outlives the process that started it, however that one ended.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import IO, Any

from clipwright.engine import wire

READY = "ready"


def _answer(function: Any, task: Any) -> tuple[Any, str]:
    """The function's value and "", or its error and where it arose."""
    try:
        return function(task), ""
    except Exception as error:
        return error, "".join(traceback.format_exception(error))


def _pack(value: Any, trace: str) -> list[wire.Buffer]:
    try:
        return wire.pack((value, trace))
    except wire.WireError:  # an answer that can't travel becomes a description of itself
        return wire.pack((RuntimeError(f"a worker's answer can't be sent: {value!r}"), trace or "in a worker"))


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until they end."""
    try:
        function = wire.receive(requests)
        wire.send(answers, wire.pack(READY))
        while True:
            task = wire.receive(requests)
            wire.send(answers, _pack(*_answer(function, task)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def main() -> None:
    """Serve on standard input and output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    with answers:
        serve(sys.stdin.buffer, answers)
    os._exit(0)  # no interpreter shut-down: nothing is left to flush, and the parent may be waiting


if __name__ == "__main__":
    main()
