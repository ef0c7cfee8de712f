from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.synthetic.painter import COLOURS, painter, skill
from tests.synthetic.scripted import Clock, Response, ScriptedServer, failed, said

from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.label_search import Found, search, words_of
from clipwright.synthetic.messages import image_url
from clipwright.synthetic.transport import EndpointError
from clipwright.synthetic.wording import Slot, read_space

NAMES = tuple(COLOURS)
WORDS = {"red": ["like blood", "like a rose"], "green": ["like grass"]}


def images(each: int, seed: int = 0) -> tuple[list[str], list[int]]:
    rng = np.random.default_rng(seed)
    urls, labels = [], []
    for label, colour in enumerate(COLOURS.values()):
        for _ in range(each):
            pixels = np.clip(np.array(colour) + rng.integers(-25, 26, (8, 8, 3)), 0, 255).astype(np.uint8)
            urls.append(image_url(Image.fromarray(pixels)))
            labels.append(label)
    return urls, labels


def run(server: ScriptedServer, budget: int, *, each: int = 8, model: str = "painter", **options: Any) -> Found:
    clock = Clock()
    urls, labels = images(each)
    space = read_space(NAMES, words=words_of(NAMES, WORDS, 2))
    chat = Chat(Endpoint(server.base_url, model, attempts=2), clock=clock, sleep=clock.sleep)
    return search(space, urls, labels, chat, budget=budget, quiet=True, **options)


def test_better_words_are_found_within_the_budget() -> None:
    with ScriptedServer(painter) as server:
        found = run(server, 400)
        assert len(server.requests) == found.calls <= 400
    assert found.right == found.images == 24
    assert found.steps[0].right < 16
    assert [s.right for s in found.steps] == sorted({s.right for s in found.steps})
    prompt = read_space(NAMES, words=words_of(NAMES, WORDS, 2)).prompt(found.candidate)
    request = {"messages": prompt.messages("data:,")}
    assert skill(request) >= 0.8
    assert found.dropped > 0
    full = found.tried * found.images
    assert found.calls < 0.8 * full  # bad wordings saw only some of the images
    assert found.stopped == "all right"


def test_the_search_is_the_same_again_and_costs_nothing() -> None:
    with ScriptedServer(painter) as server:
        first = run(server, 150, seed=5)
        asked = len(server.requests)
        assert run(server, 150, seed=5) == first
        assert len(server.requests) == asked
        assert first.calls <= 150
        assert first.stopped in {"budget", "all right"}
        assert run(server, 150, seed=6).steps != first.steps


def test_a_search_that_is_stopped_goes_the_same_way_on() -> None:
    with ScriptedServer(painter) as server:
        whole = run(server, 200)
    dead = threading.Event()

    def dying(request: dict[str, Any], number: int) -> Response:
        return failed(503) if number >= 60 and not dead.is_set() else painter(request, number)

    with ScriptedServer(dying) as server:
        with pytest.raises(EndpointError, match="kept"):
            run(server, 200, model="dying")
        dead.set()
        before = len(server.requests)
        assert run(server, 200, model="dying") == whole
        assert len(server.requests) - before == whole.calls - 60


def test_a_budget_below_one_wording_is_refused_unasked() -> None:
    with ScriptedServer(painter) as server:
        with pytest.raises(UsageError, match="less than the 24 support images"):
            run(server, 23)
        assert not server.requests
        only = run(server, 24)
        assert (only.calls, only.tried, only.stopped) == (24, 1 + 4, "budget")
        assert only.candidate == read_space(NAMES).start


@pytest.mark.parametrize("nothing", ["I can't see pictures.", "", "red or green or blue"])
def test_a_model_that_never_names_a_class_is_told_early(nothing: str) -> None:
    with ScriptedServer(lambda *_: said(nothing)) as server:
        with pytest.raises(DataError, match="none of the 3 classes"):
            run(server, 400, model=nothing or "empty")
        assert len(server.requests) == 8


def test_answers_that_are_no_class_are_wrong_and_counted() -> None:
    def shy(request: dict[str, Any], number: int) -> Response:
        return said("no idea") if "exact name" not in str(request) else painter(request, number)

    def sometimes(request: dict[str, Any], number: int) -> Response:
        return painter(request, number) if number % 3 else said("no idea")

    with ScriptedServer(sometimes) as server:
        found = run(server, 100, model="sometimes", each=4)
        assert found.no_class == -(-found.calls // 3)
    with ScriptedServer(shy) as server, pytest.raises(DataError):
        run(server, 100, model="shy")


def test_without_anything_to_change_the_first_wording_stays() -> None:
    urls, labels = images(2)
    fixed = replace(read_space(NAMES), slots=(Slot(name="task", options=("Which?",)),))
    with ScriptedServer(painter) as server:
        chat = Chat(Endpoint(server.base_url, "fixed"))
        found = search(fixed, urls, labels, chat, budget=1000, quiet=True)
    assert found.stopped in {"nothing left to try", "all right"}
    assert found.tried <= 1 + 5  # orders of three classes


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="no labelled images"):
        search(read_space(NAMES), [], [], Chat(Endpoint("http://127.0.0.1:1/v1", "m")), budget=10)


def test_words_of_a_class_are_offered_together_and_alone() -> None:
    assert words_of(["a", "b"], {"a": ["x", "y", "x", "z", "w"]}, 3) == {
        "a": ["x; y; z", "x; y", "x", "y", "z"],
        "b": [],
    }
