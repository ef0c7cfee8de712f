"""Captions over the wire: the real client against a server here that speaks the real protocol, with faults."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.synthetic.scripted import Clock, Response, Script, ScriptedServer, asked, failed, said

from clipwright.core.errors import UsageError
from clipwright.data.dataset import UnreadableImageError
from clipwright.synthetic.captioners import CaptionEndpoint, Job, Said
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.collage import View
from clipwright.synthetic.endpoint import Endpoint, Prices
from clipwright.synthetic.ledger import Ledger
from clipwright.synthetic.transport import EndpointError


def picture(seed: int, width: int = 40, height: int = 20) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3)).astype(np.uint8))


def jobs_of(images: Sequence[Image.Image], view: View | None = None) -> list[Job]:
    look = view or View("thumbnail", 24)
    return [Job("What is it?", (str(i),), partial(_only, image), look) for i, image in enumerate(images)]


def _only(image: Image.Image, _: int) -> Image.Image:
    return image


def run(script: Script, jobs: Sequence[Job], folder: Path, **options: Any) -> tuple[dict[int, Said], list[Any], Any]:
    clock = Clock()
    with ScriptedServer(script) as server:
        endpoint = Endpoint(server.base_url, "llava", **options)
        captioner = CaptionEndpoint(endpoint, ledger=Ledger(folder))
        captioner.__dict__["chat"] = Chat(endpoint, ledger=captioner.ledger, clock=clock, sleep=clock.sleep)
        found: dict[int, Said] = {}
        for part in captioner.caption(jobs):
            found.update(part)
        return found, server.requests, captioner


def test_the_picture_comes_before_the_question_and_decoding_is_greedy(tmp_path: Path) -> None:
    image = picture(0)
    found, (request,), captioner = run(lambda *_: said(" A cat.\n", usage=(600, 5)), jobs_of([image]), tmp_path)
    assert found == {0: Said(" A cat.\n", "stop", "scripted-2026")}
    (message,) = request["messages"]
    assert [part["type"] for part in message["content"]] == ["image_url", "text"]
    url = message["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/png;base64,")
    sent = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    assert sent.tobytes() == View("thumbnail", 24).show([image]).tobytes()
    assert (request["temperature"], request["max_tokens"], request["model"]) == (0.0, 77, "llava")
    assert captioner.usage()["prompt_tokens"] == 600
    assert captioner.meter().startswith("1 calls, 0 cached")


def test_a_picture_of_any_shape_travels_as_jpeg(tmp_path: Path) -> None:
    _, (request,), _ = run(lambda *_: said("x"), jobs_of([picture(0, 300, 100)], View("anyres", 150)), tmp_path)
    url = request["messages"][0]["content"][0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size == (150, 50)


def test_faults_are_sat_out_and_answers_kept_apart(tmp_path: Path) -> None:
    def script(request: dict[str, Any], number: int) -> Response:
        faults = {0: failed(500), 2: failed(429, retry_after="3"), 3: said("lost", cut=True), 5: failed(503)}
        faults[7] = Response(body=b"<html>gateway</html>")
        return faults.get(number) or said(str(len(str(request))))

    jobs = jobs_of([picture(i) for i in range(9)])
    found, requests, captioner = run(script, jobs, tmp_path, concurrency=3, prices=Prices(1.0, 2.0))
    assert sorted(found) == list(range(9))
    assert len(requests) == 9 + 5
    assert captioner.usage()["retries"] == 5
    assert captioner.usage()["cost"] == pytest.approx((9 * 11 + 2 * 9 * 7) / 1e6, abs=1e-6)
    again, requests, _ = run(lambda *_: failed(401), jobs, tmp_path)  # each was paid before
    assert (again, requests) == (found, [])


def test_what_came_before_a_failure_is_given_out(tmp_path: Path) -> None:
    found: dict[int, Said] = {}
    with ScriptedServer(lambda _, n: said("x") if n < 4 else failed(401)) as server:
        captioner = CaptionEndpoint(Endpoint(server.base_url, "m", concurrency=1), ledger=Ledger(tmp_path))
        parts = captioner.caption(jobs_of([picture(i) for i in range(9)]))
        with pytest.raises(EndpointError, match="refused the API key"):
            found.update(pair for part in parts for pair in part)
    assert len(found) >= 3


def test_cut_off_empty_and_thinking_answers_and_unreadable_images(tmp_path: Path) -> None:
    def script(request: dict[str, Any], _: int) -> Response:
        answers = {"a": said("too long", finish="length"), "b": said(None), "c": said("<think>hm</think>\nA dog.")}
        return answers[asked(request)]

    def broken(_: int) -> Image.Image:
        raise UnreadableImageError("cut short")

    view = View("thumbnail", 8)
    jobs = [Job(prompt, (prompt,), lambda _: picture(0), view) for prompt in "abc"] + [Job("d", ("d",), broken, view)]
    found, requests, _ = run(script, jobs, tmp_path)
    assert (found[0].text, found[0].finish) == ("too long", "length")
    assert found[1].text == ""
    assert found[2].text.strip() == "A dog."
    assert found[3] == Said(problem="cut short")
    assert len(requests) == 3


def test_settings_know_nothing_of_the_address() -> None:
    first, second = (CaptionEndpoint(Endpoint(url, "m")).settings() for url in ("http://a/v1", "http://b/v1"))
    assert first == second
    with pytest.raises(UsageError, match="--max-tokens"):
        CaptionEndpoint(Endpoint("http://a/v1", "m"), max_tokens=0)
