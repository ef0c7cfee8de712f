from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.serve.made import QUICK, Fault, served, serving

from clipwright.backbones.endpoint_client import EndpointClient, array_of, handle_bytes, places
from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.http import HttpClient, UnusableAnswer
from clipwright.task import Access, Spent


def test_an_array_of_the_shape_that_was_asked_for() -> None:
    given = {"x": [[1.0, 2.0]], "n": np.array([3, 4])}
    found = array_of(given, "x", (1, 2))
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 2]]
    assert array_of(given, "x", (-1, 2)).shape == (1, 2)
    assert array_of(given, "n", (2,), np.int64).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "holds x that must be numbers in 2 dimensions"),
        ([1.0], "must be numbers in 2 dimensions"),
        ("words", "must be numbers in 2 dimensions"),
        ([[1.0, 2.0, 3.0]], r"holds x of shape \(1, 3\), where \('any', 2\) was asked for"),
        ([[1.0, float("nan")]], "holds NaN or infinity in x"),
        ([[1.0, 1e39]], "holds NaN or infinity in x"),
    ],
)
def test_any_other_answer_is_unusable_and_asked_once_more(value: Any, message: str) -> None:
    with pytest.raises(UnusableAnswer, match=message) as caught:
        array_of({"x": value}, "x", (-1, 2))
    assert caught.value.tries == 2
    with pytest.raises(UnusableAnswer, match="has no x"):
        array_of({}, "x", (-1, 2))


def test_handles_as_bytes() -> None:
    assert handle_bytes(["00" * 31 + "ff", "01" * 32])[:, -1].tolist() == [255, 1]
    for wrong in (["zz" * 32], ["00"], ["00" * 31, "00" * 33, "0"]):
        with pytest.raises(UsageError, match="handles are what upload"):
            handle_bytes(wrong)


def test_the_order_of_images_is_their_own() -> None:
    assert places(["c", "a", "c", "b"]) == {"a": 0, "b": 1, "c": 2}


def test_jobs_run_beside_each_other_and_stop_after_a_failure() -> None:
    with serving(served()) as watched, HttpClient(watched.url, patience=QUICK) as http:
        client = EndpointClient(http, connections=2)
        both = threading.Barrier(2, timeout=10)

        def meet() -> None:
            both.wait()  # one alone would wait for ever

        client.all([meet, meet])
        done: list[int] = []

        def job(number: int) -> Callable[[], None]:
            def work() -> None:
                if number == 0:
                    raise ValueError("first")
                threading.Event().wait(0.01)
                done.append(number)

            return work

        with pytest.raises(ValueError, match="first"):
            client.all([job(number) for number in range(50)])
        assert len(done) < 49


def test_costs_are_counted_where_they_are_asked_for() -> None:
    with serving(served()) as watched, HttpClient(watched.url, patience=QUICK) as http:
        client, mine = EndpointClient(http), Spent()
        watched.faults["/embed/words"] = [Fault(status=500)]
        client.ask("/embed/words", {"words": "a"}, lambda values: values["context"], mine)
        client.count([mine], prompts=3)
        assert mine == client.spent
        assert (mine.requests, mine.prompts) == (2, 3)
        assert mine.bytes_sent > 0
        assert mine.bytes_received > 4 * 128


def test_an_access_that_was_taken_back_is_said() -> None:
    """The server is started again with less than it granted before."""
    with serving(served()) as watched, HttpClient(watched.url, patience=QUICK) as http:
        client = EndpointClient(http)
        assert Access.FEATURES in client.info.access
        port = int(watched.url.rsplit(":", 1)[1])
    with serving(served(frozenset({Access.SCORES})), port=port), HttpClient(watched.url, patience=QUICK) as http:
        client.http = http
        with pytest.raises(NeedsError, match="does not grant features; it grants"):
            client.ask("/embed/texts", {"texts": ["a"]}, lambda values: values)
