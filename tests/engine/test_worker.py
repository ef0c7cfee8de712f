"""The worker's side of the pipe."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from typing import Any

from clipwright.engine import wire
from clipwright.engine.worker import serve


def conversation(function: object, *tasks: object) -> list[Any]:
    requests, answers = io.BytesIO(), io.BytesIO()
    for value in (function, *tasks):
        wire.send(requests, wire.pack(value))
    requests.seek(0)
    serve(requests, answers)
    answers.seek(0)
    return [wire.receive(answers) for _ in range(len(tasks) + 1)]


def test_each_task_is_answered_until_the_input_ends() -> None:
    ready, *answers = conversation(math.sqrt, 4.0, 9.0)
    assert ready == "ready"
    assert answers == [(2.0, ""), (3.0, "")]


def test_errors_are_answers_and_the_worker_goes_on() -> None:
    _, failed, fine = conversation(math.sqrt, -1.0, 4.0)
    error, trace = failed
    assert isinstance(error, ValueError)
    assert "Traceback" in trace
    assert fine == (2.0, "")


def test_what_cannot_travel_is_described() -> None:
    _, (error, trace) = conversation(eval, "lambda: 0")
    assert "can't be sent" in str(error)
    assert trace


def test_a_function_that_cannot_be_read_ends_the_worker() -> None:
    answers = io.BytesIO()
    serve(io.BytesIO(b"\x00" * 4), answers)
    assert answers.getvalue() == b""


def test_what_the_function_prints_stays_out_of_the_answers() -> None:
    message = io.BytesIO()
    for value in (print, "hello", "again"):
        wire.send(message, wire.pack(value))
    done = subprocess.run(
        [sys.executable, "-m", "clipwright.engine.worker"], input=message.getvalue(), capture_output=True, check=True
    )
    answers = io.BytesIO(done.stdout)
    assert [wire.receive(answers) for _ in range(3)] == ["ready", (None, ""), (None, "")]
    assert done.stderr.decode().split() == ["hello", "again"]
