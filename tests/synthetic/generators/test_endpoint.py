"""Images from a server on this machine that speaks OpenAI's images protocol."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.synthetic.scripted import Clock, Response, ScriptedServer, failed

from clipwright.core.errors import UsageError
from clipwright.synthetic.endpoint import Endpoint
from clipwright.synthetic.generators import BLOCKED, ImagesEndpoint, Picture, Request
from clipwright.synthetic.transport import EndpointError

KEY = "sk-very-secret-123"
PATH = "/v1/images/generations"


def painted(body: dict[str, Any], colour: int | None = None) -> Response:
    """A grey image whose shade is the seed, as b64_json."""
    stream = io.BytesIO()
    shade = body.get("seed", 7) % 256 if colour is None else colour
    Image.new("RGB", (16, 12), (shade,) * 3).save(stream, "PNG")
    data = [{"b64_json": base64.b64encode(stream.getvalue()).decode()}]
    return Response(body=json.dumps({"created": 1, "data": data}).encode())


def serving(script: Callable[[dict[str, Any], int], Response]) -> ScriptedServer:
    return ScriptedServer(script, PATH)


def asking(server: ScriptedServer, **options: Any) -> ImagesEndpoint:
    more = {key: options.pop(key) for key in ("size", "negative") if key in options}
    clock = Clock()
    endpoint = Endpoint(server.base_url, "painter", api_key=KEY, **options)
    return ImagesEndpoint(endpoint, clock=clock, sleep=clock.sleep, **more)


WANTED = [Request("cat", "a cat", 10), Request("dog", "a dog", 20), Request("owl", "an owl", 30)]


def shade(picture: Picture) -> int:
    assert picture.image is not None
    return int(np.asarray(picture.image)[0, 0, 0])


def test_each_image_is_asked_for_by_itself_with_its_seed() -> None:
    with serving(lambda body, _: painted(body)) as server:
        maker = asking(server, size=64, negative="text", concurrency=2)
        made = dict(maker.make(WANTED))
        assert [shade(made[i]) for i in range(3)] == [10, 20, 30]
        assert {r["prompt"] for r in server.requests} == {"a cat", "a dog", "an owl"}
        first = next(r for r in server.requests if r["seed"] == 10)
    assert first["size"] == "64x64"
    assert first["negative_prompt"] == "text"
    assert (first["n"], first["response_format"], first["model"]) == (1, "b64_json", "painter")
    assert maker.calls == 3
    assert KEY not in json.dumps(maker.settings()) + repr(maker.endpoint)


def test_options_that_a_server_refuses_are_left_out_from_then_on() -> None:
    def script(body: dict[str, Any], _: int) -> Response:
        for name in ("seed", "response_format"):
            if name in body:
                return failed(400, f"Unknown parameter: '{name}'.")
        return painted(body)

    with serving(script) as server:
        maker = asking(server, concurrency=1, attempts=1)
        assert [shade(p) for _, p in maker.make(WANTED)] == [7, 7, 7]
        assert len(server.requests) == 5
    assert set(maker.refused) == {"seed", "response_format"}


def test_a_filtered_prompt_is_a_blocked_picture() -> None:
    def script(body: dict[str, Any], _: int) -> Response:
        if body["prompt"] == "a dog":
            error = {"message": "Your request was rejected by the safety system.", "code": "moderation_blocked"}
            return Response(400, json.dumps({"error": error}).encode())
        return painted(body)

    with serving(script) as server:
        made = dict(asking(server).make(WANTED))
    assert made[1] == Picture(None, BLOCKED)
    assert shade(made[2]) == 30


def test_busy_and_broken_answers_are_asked_for_again() -> None:
    answers = [failed(503), Response(body=b'{"created": 1, "data": [{"url": "http://127.0.0.1:1/x.png"}]}')]
    answers += [failed(429, retry_after="3"), Response(body=b'{"data": [{"b64_json": "bm8gaW1hZ2U="}]}')]
    answers += [Response(body=b"<html>", kind="text/html")]

    with serving(lambda body, n: answers[n] if n < len(answers) else painted(body)) as server:
        maker = asking(server, concurrency=1)
        ((_, picture),) = maker.make(WANTED[:1])
        assert shade(picture) == 10
        assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failed(401, f"bad key {KEY}"), "refused the API key"),
        (failed(404, "no model"), "knows no such address or model"),
        (failed(400, "prompt too long"), "refused a request"),
        (failed(429, "insufficient_quota"), "nothing left"),
        (failed(500, "boom"), "gave no image in 2 tries"),
        (failed(503, "later", retry_after="99999"), "asks to wait"),
    ],
)
def test_the_first_images_come_before_the_failure(answer: Response, said: str) -> None:
    with serving(lambda body, _: painted(body) if body["prompt"] == "a cat" else answer) as server:
        images = asking(server, concurrency=1, attempts=2).make(WANTED)
        assert next(images)[0] == 0
        with pytest.raises(EndpointError, match=said) as caught:
            list(images)
    assert KEY not in str(caught.value)


def test_nobody_answering_is_one_sentence() -> None:
    clock = Clock()
    maker = ImagesEndpoint(Endpoint("http://127.0.0.1:9/v1", "m", attempts=2), clock=clock, sleep=clock.sleep)
    maker.check(["a"])
    with pytest.raises(EndpointError, match=r"gave no image in 2 tries .*no connection"):
        list(maker.make(WANTED[:1]))
    with pytest.raises(UsageError, match="positive"):
        ImagesEndpoint(Endpoint("http://127.0.0.1:9/v1", "m"), size=0)


def test_an_image_in_flight_when_the_user_interrupts_is_given_out_first() -> None:
    asked: list[ImagesEndpoint] = []

    def script(body: dict[str, Any], _: int) -> Response:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked[0]._stopped.wait(30)  # the image comes only once the interrupt has been heard
        return painted(body)

    came: list[int] = []
    with serving(script) as server:
        asked.append(asking(server, concurrency=1))
        with pytest.raises(KeyboardInterrupt):
            came.extend(number for number, _ in asked[0].make(WANTED))
    assert came == [0]
    assert len(server.requests) == 1
