"""The application over real HTTP, as any client would ask it."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from tests.serve.made import ALL, NAMES, pictures, prompts, reference_scores, served, tiny
from tests.serve.test_fields import picture

from clipwright.backbones.agreement import MODEL_HEADER
from clipwright.core.errors import BackboneError, DataError, NeedsError
from clipwright.core.payload import JSON, NPZ, pack, unpack
from clipwright.serve.app import as_refused, make_app
from clipwright.serve.refused import Refused
from clipwright.serve.routes import ROUTES
from clipwright.serve.running import LOCAL_NAMES, HttpServer
from clipwright.serve.served import Served
from clipwright.task import Access

TOKEN = "a-token-of-this-test"  # noqa: S105 - made up


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with HttpServer(make_app(served(images=50), hosts=LOCAL_NAMES), port=0) as server:
        yield server.url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@contextmanager
def asking(model: Served, **options: Any) -> Iterator[httpx.Client]:
    """A client of a server of its own."""
    with (
        HttpServer(make_app(model, **options), port=0) as server,
        httpx.Client(base_url=server.url, trust_env=False) as client,
    ):
        yield client


def handles_of(http: httpx.Client, count: int = 3) -> list[str]:
    found = http.post("/images", json={"pixels": pictures(count).tolist()})
    assert found.status_code == 200
    handles: list[str] = found.json()["handles"]
    return handles


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    assert answer.headers["content-type"] == JSON
    error = answer.json()["error"]
    assert "\n" not in error["message"]
    return answer.status_code, error["code"], error["message"]


def test_json_in_json_out(http: httpx.Client) -> None:
    handles = handles_of(http)
    answer = http.post("/scores", json={"handles": handles, "names": NAMES})
    assert answer.headers[MODEL_HEADER] == tiny().digest
    texts = tiny().texts([f"a photo of a {name}." for name in NAMES])
    np.testing.assert_allclose(answer.json()["scores"], reference_scores(pictures(3), texts)[None], atol=1e-4)


def test_npz_in_npz_out_and_mixed(http: httpx.Client) -> None:
    headers = {"content-type": NPZ, "accept": NPZ}
    answer = http.post("/images", content=pack({"pixels": pictures(3).numpy()}), headers=headers)
    handles = unpack(answer.content, answer.headers["content-type"])["handles"]
    assert handles == handles_of(http)
    body = {"handles": handles, "names": NAMES, "contexts": prompts(2).numpy()}
    scores = unpack(http.post("/scores", content=pack(body), headers=headers).content, NPZ)["scores"]
    assert (scores.dtype, scores.shape) == (np.float32, (2, 3, 3))
    mixed = http.post("/scores", content=pack(body), headers={"content-type": NPZ})
    np.testing.assert_array_equal(np.float32(mixed.json()["scores"]), scores)
    plain = {"handles": handles, "names": NAMES, "contexts": prompts(2).tolist()}
    other = http.post("/scores", json=plain, headers={"accept": NPZ})
    np.testing.assert_array_equal(unpack(other.content, NPZ)["scores"], scores)


def test_image_files(http: httpx.Client) -> None:
    file = picture((60, 45), "JPEG")
    answer = http.post("/images", json={"images": [base64.b64encode(file).decode()]}).json()
    assert len(answer["handles"]) == 1
    features = http.post("/embed/images", json={"images": [base64.b64encode(file).decode()]}).json()["features"]
    again = http.post("/embed/images", json={"handles": answer["handles"]}).json()["features"]
    assert features == again


def test_every_route_answers_what_it_says(http: httpx.Client) -> None:
    handles, contexts = handles_of(http), prompts(2).tolist()
    bodies: dict[str, dict[str, Any]] = {
        "/images": {"pixels": pictures(3).tolist()},
        "/scores": {"handles": handles, "names": NAMES, "contexts": contexts},
        "/labels": {"handles": handles, "names": NAMES, "contexts": contexts},
        "/embed/images": {"handles": handles},
        "/embed/texts": {"texts": ["a", "b"]},
        "/embed/prompts": {"names": NAMES, "contexts": contexts},
        "/embed/words": {"words": "a photo of a"},
    }
    wanted = {
        "/images": (3,),
        "/scores": (2, 3, 3),
        "/labels": (2, 3),
        "/embed/images": (3, 128),
        "/embed/texts": (2, 128),
        "/embed/prompts": (2, 3, 128),
        "/embed/words": (4, 128),
    }
    assert set(bodies) == {route.path for route in ROUTES}
    found = {path: http.post(path, json=body) for path, body in bodies.items()}
    assert {path: answer.status_code for path, answer in found.items()} == dict.fromkeys(bodies, 200)
    shapes = {path: np.shape(next(iter(answer.json().values()))) for path, answer in found.items()}
    assert shapes == wanted
    labels, scores = found["/labels"].json()["labels"], np.array(found["/scores"].json()["scores"])
    assert labels == scores.argmax(-1).tolist()
    texts = tiny().texts(["a", "b"]).numpy()
    np.testing.assert_array_equal(np.float32(found["/embed/texts"].json()["features"]), texts)


@pytest.mark.parametrize("granted", sorted(ALL))
def test_only_what_is_granted_is_answered(granted: Access) -> None:
    """With every access alone, each route answers 200 exactly where that access is enough."""
    enough = {
        "/images": set(ALL),
        "/scores": {Access.SCORES},
        "/labels": {Access.LABELS},
        "/embed/images": {Access.FEATURES},
        "/embed/texts": {Access.FEATURES},
        "/embed/words": {Access.SOFT_PROMPT},
    }
    with asking(served(frozenset({granted}))) as http:
        handles = handles_of(http)
        scoring = {"names": NAMES, "handles": handles}
        bodies: dict[str, dict[str, Any]] = {
            "/images": {"pixels": pictures(1).tolist()},
            "/scores": scoring,
            "/labels": scoring,
            "/embed/images": {"handles": handles},
            "/embed/texts": {"texts": ["a"]},
            "/embed/words": {"words": "a"},
        }
        for path, body in bodies.items():
            answer = http.post(path, json=body)
            if granted in enough[path]:
                assert answer.status_code == 200, path
            else:
                assert error_of(answer)[:2] == (403, "access"), path
                assert error_of(answer)[2].endswith(f"; it grants {granted}.")
        contexts = prompts(1).tolist()
        for path in ("/scores", "/labels", "/embed/prompts"):  # each needs two
            both = {"names": NAMES, "contexts": contexts} | ({} if "embed" in path else {"handles": handles})
            assert error_of(http.post(path, json=both))[:2] == (403, "access")


def test_what_a_client_can_do_wrong(http: httpx.Client) -> None:
    handles = handles_of(http)
    scoring = {"handles": handles, "names": NAMES}
    no_number = json.dumps({**scoring, "contexts": [[[float("nan")] * 128]]}).encode()
    too_long = {"names": NAMES, "contexts": np.zeros((1, 36, 128)).tolist()}
    unknown = {**scoring, "handles": ["0" * 64, *handles]}

    def post(body: bytes, kind: str) -> httpx.Response:
        return http.post("/scores", content=body, headers={"content-type": kind})

    cases: list[tuple[httpx.Response, int, str, str]] = [
        (http.get("/nothing"), 404, "http", "Not Found: /docs shows the routes."),
        (http.get("/scores"), 405, "http", "Method Not Allowed: /docs shows the routes."),
        (post(b"{}", "text/plain"), 415, "content_type", "the body must be application/json or application/x-npz"),
        (post(b"{", JSON), 422, "bad_request", "the body is no JSON."),
        (post(b"{", NPZ), 422, "bad_request", "the body is no npz without pickles."),
        (post(no_number, JSON), 422, "bad_request", "contexts hold NaN"),
        (http.post("/scores", json={**scoring, "label": [0]}), 422, "bad_request", "there is no field 'label' here"),
        (http.post("/scores", json={"names": NAMES}), 422, "bad_request", "handles must be a list"),
        (http.post("/scores", json={**scoring, "contexts": [[[1.0]]]}), 422, "bad_request", "must be 128 wide"),
        (http.post("/scores", json=unknown), 404, "unknown_handles", "1 of 4 images are not known here"),
        (http.post("/images", json={"pixels": pictures(51).tolist()}), 422, "too_many", "51 images at once"),
        (http.post("/embed/prompts", json=too_long), 422, "bad_request", "longer than the 36 positions"),
    ]
    for answer, status, code, message in cases:
        found = error_of(answer)
        assert found[0] == status, found
        assert found[1] == code
        assert message in found[2]


def test_bodies_over_the_limit_are_not_read() -> None:
    with asking(served(bytes=100_000)) as http:
        headers = {"content-type": JSON}
        answer = http.post("/images", content=b"x" * 100_001, headers=headers)
        assert error_of(answer)[:2] == (413, "too_large")
        chunks = (b"x" * 10_000 for _ in range(20))
        answer = http.post("/images", content=chunks, headers=headers)  # its length is not said
        assert error_of(answer)[:2] == (413, "too_large")
        bomb = pack({"pixels": np.zeros((50, 3, 32, 32), np.uint8)})
        answer = http.post("/images", content=bomb, headers={"content-type": NPZ})
        assert answer.status_code == 413


def test_a_bearer_token_is_asked_for() -> None:
    with asking(served(), token=TOKEN) as http:
        for given in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": f"Basic {TOKEN}"}):
            for answer in (http.get("/info", headers=given), http.post("/scores", json={}, headers=given)):
                assert error_of(answer)[:2] == (401, "token")
                assert answer.headers["www-authenticate"] == "Bearer"
                assert TOKEN not in answer.text
        right = {"authorization": f"bearer  {TOKEN}"}
        assert http.get("/info", headers=right).status_code == 200
        assert http.get("/info", headers=[(b"authorization", "Bearer é".encode())]).status_code == 401


def test_another_name_for_this_machine_is_refused(http: httpx.Client) -> None:
    """A web page whose name was made to point here can't ask."""
    assert error_of(http.get("/info", headers={"host": "evil.example"}))[:2] == (403, "host")
    port = http.base_url.port
    assert http.get("/info", headers={"host": f"localhost:{port}"}).status_code == 200


def test_the_pages_that_explain_the_routes(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert http.get("/redoc").status_code == 404
    described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {"/info", *(route.path for route in ROUTES)}
    schema = described["paths"]["/scores"]["post"]["requestBody"]["content"][JSON]["schema"]
    assert set(schema["properties"]) == {"handles", "names", "templates", "contexts"}
    assert schema["required"] == ["handles", "names"]


def test_the_model_works_for_one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, active, most, threads = served(), 0, 0, set()
    scores = model.scores
    busy = threading.Event()

    def counted(*given: Any) -> Any:
        nonlocal active, most
        active += 1
        most = max(most, active)
        threads.add(threading.current_thread().name)
        busy.wait(0.02)
        found = scores(*given)
        active -= 1
        return found

    monkeypatch.setattr(model, "scores", counted)
    with asking(model) as http, ThreadPoolExecutor(6) as pool:
        body = {"handles": handles_of(http), "names": NAMES}
        answers = list(pool.map(lambda _: http.post("/scores", json=body), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert most == 1
    assert len(threads) == 1


def test_what_nobody_foresaw_is_logged_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = served()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr(model, "context", fail)
    caplog.set_level(logging.ERROR)
    with HttpServer(make_app(model), port=0) as server:
        answer = httpx.post(f"{server.url}/embed/words", json={"words": "a"}, trust_env=False)
    assert error_of(answer) == (500, "internal", "something went wrong here: the server's log says what.")
    assert "inner secret" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Refused(418, "x", "y"), 418),
        (NeedsError("no"), 403),
        (BackboneError("not enough memory"), 507),
        (DataError("bad"), 422),
        (ValueError("?"), 500),
    ],
)
def test_failures_have_a_status(error: Exception, status: int) -> None:
    assert as_refused(error).status == status
