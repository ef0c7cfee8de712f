from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.core.scripted import Clock, Reply, Script, scripted

from clipwright.core.backoff import Patience
from clipwright.core.errors import UsageError
from clipwright.core.http import Answer, HttpClient, HttpError, TokenRefusedError, UnusableAnswer

SECRET = "s3cret-token-that-nobody-sees"  # noqa: S105 - made up
GOOD = Reply(body=b'{"x": 1}')
QUICK = Patience(first=1, factor=2, longest=8, total=60, connect=5, read=5)
HASTY = Patience(first=1, factor=2, longest=8, total=60, connect=5, read=0.2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def client(url: str, clock: Clock, token: str | None = SECRET, patience: Patience = QUICK) -> HttpClient:
    return HttpClient(url, token=token, patience=patience, seed=0, clock=clock.now, now=clock.now, sleep=clock.sleep)


def parsed(answer: Answer) -> dict[str, int]:
    try:
        value: dict[str, int] = json.loads(answer.body)
    except ValueError as error:
        raise UnusableAnswer("is no JSON") from error
    return value


def ask(script: Script, clock: Clock) -> dict[str, int]:
    with client(script.url, clock) as http:
        return http.request("POST", "/scores", body=b"abc", read=parsed)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_request_and_what_it_costs(clock: Clock) -> None:
    with scripted(GOOD) as script, client(script.url + "/", clock) as http:
        assert http.request("POST", "/a/b", body=b"abc", headers={"x-y": "z"}, read=parsed) == {"x": 1}
        assert http.request("GET", "/info").body == b'{"x": 1}'
        asked = script.asked[0]
        assert (asked.method, asked.path, asked.body) == ("POST", "/a/b", b"abc")
        assert asked.headers["authorization"] == f"Bearer {SECRET}"
        assert asked.headers["x-y"] == "z"
        assert (http.traffic.requests, http.traffic.bytes_sent, http.traffic.bytes_received) == (2, 3, 16)
        assert clock.slept == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_busy_servers_are_asked_again(status: int, clock: Clock) -> None:
    with scripted(Reply(status), Reply(status), GOOD) as script:
        assert ask(script, clock) == {"x": 1}
        assert len(script.asked) == 3
        assert [0.5 <= clock.slept[0] <= 1, 1 <= clock.slept[1] <= 2] == [True, True]


@pytest.mark.parametrize("fault", [Reply(hang_up=True), Reply(body=b'{"x"', cut=True), Reply(body=b"<html>")])
def test_lost_cut_and_unreadable_answers_are_asked_again(fault: Reply, clock: Clock) -> None:
    with scripted(fault, fault, GOOD) as script:
        assert ask(script, clock) == {"x": 1}
        assert len(script.asked) == 3


def test_a_slow_answer_is_asked_again(clock: Clock) -> None:
    late = threading.Event()
    with scripted(Reply(slow=late), GOOD) as script, client(script.url, clock, patience=HASTY) as http:
        assert http.request("POST", "/scores", body=b"abc", read=parsed) == {"x": 1}
        late.set()


def test_a_server_that_stays_slow_is_given_up(clock: Clock) -> None:
    late = threading.Event()
    with scripted(Reply(slow=late)) as script, client(script.url, clock, patience=Patience(total=1, read=0.05)) as http:
        with pytest.raises(HttpError, match=r"does not answer in time.* what was answered so far is kept"):
            http.request("GET", "/info")
        late.set()


def test_retry_after_in_seconds_and_dates_is_waited_for(clock: Clock) -> None:
    date = formatdate(clock.now() + 30, usegmt=True)  # of whole seconds
    with scripted(Reply(429, headers={"retry-after": "20"}), Reply(503, headers={"Retry-After": date}), GOOD) as script:
        assert ask(script, clock) == {"x": 1}
    assert 20 <= clock.slept[0] <= 20.2
    assert 30 - clock.slept[0] <= sum(clock.slept[1:]) <= 11


def test_a_longer_wait_than_there_is_patience_is_not_begun(clock: Clock) -> None:
    with scripted(Reply(429, headers={"retry-after": "3600"})) as script:
        with pytest.raises(HttpError, match=r"answers 429 and asks to wait 3600 s: see that the server runs") as caught:
            ask(script, clock)
        assert caught.value.status == 429
        assert clock.slept == []


def test_a_busy_server_is_left_alone_by_all_threads() -> None:
    """While one thread waits for what Retry-After says, another one does not knock."""
    clock = Clock()
    waiting, go_on = threading.Event(), threading.Event()

    def sleep(seconds: float) -> None:
        if not waiting.is_set():
            waiting.set()
            go_on.wait(10)
        clock.sleep(seconds)

    with scripted(Reply(429, headers={"retry-after": "5"}), GOOD) as script:
        http = HttpClient(script.url, patience=QUICK, seed=0, clock=clock.now, now=clock.now, sleep=sleep)
        with http, ThreadPoolExecutor(2) as pool:
            first: Future[Answer] = pool.submit(lambda: http.request("GET", "/a"))
            assert waiting.wait(10)
            assert len(script.asked) == 1
            http.request("GET", "/b")  # sleeps first: the clock stands at the time the server asked for
            assert clock.slept[0] >= 5
            go_on.set()
            first.result(10)


def test_giving_up_says_so_in_one_sentence(clock: Clock) -> None:
    with scripted(Reply(503, b'{"error": {"code": "busy", "message": "all full"}}')) as script:
        with pytest.raises(HttpError) as caught:
            ask(script, clock)
        assert str(caught.value) == (
            f"{script.url} answers 503: all full ({len(script.asked)} tries): see that the server runs and run the "
            "same command again; what was answered so far is kept."
        )
        assert caught.value.code == "busy"
    assert clock.now() - 1_000_000 <= 60
    assert len(script.asked) > 5


def test_waits_end_when_asked_to() -> None:
    """As at an interrupt: threads that wait for a server give up at once, and later requests are patient again."""
    with scripted(Reply(503), Reply(503), Reply(503), GOOD) as script:
        http = HttpClient(script.url, patience=Patience(first=3600, longest=3600, total=1e6), seed=0)
        with http, ThreadPoolExecutor(1) as pool:
            waiting: Future[Answer] = pool.submit(lambda: http.request("GET", "/a"))
            while not script.asked:
                pass
            http.stop()
            with pytest.raises(HttpError, match="answers 503"):
                waiting.result(10)
            http.resume()
            assert not http._stopped.is_set()


def test_nobody_there(clock: Clock) -> None:
    with client(f"http://127.0.0.1:{free_port()}", clock) as http:
        with pytest.raises(HttpError, match=r"can't be reached \(\d+ tries\): see that the server runs"):
            http.request("GET", "/info")
        assert http.traffic.requests > 5


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_not_tried_again_and_not_shown(
    status: int, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with scripted(Reply(status, f'{{"error": "no {SECRET}"}}'.encode())) as script, client(script.url, clock) as http:
        with pytest.raises(TokenRefusedError) as caught:
            http.request("POST", "/scores", body=b"x")
        assert len(script.asked) == 1
        assert "the token: it is wrong or has expired; set CLIPWRIGHT_TOKEN to a valid one" in str(caught.value)
        assert SECRET not in f"{caught.value!r} {http!r} {vars(caught.value)} {caplog.text}"


def test_a_server_that_wants_a_token(clock: Clock) -> None:
    with scripted(Reply(401)) as script, client(script.url, clock, token=None) as http:
        with pytest.raises(TokenRefusedError, match="wants a token; set CLIPWRIGHT_TOKEN"):
            http.request("GET", "/info")
        assert "authorization" not in script.asked[0].headers


def test_other_refusals_are_the_servers_own_sentence(clock: Clock) -> None:
    said = {"code": "unknown", "message": f"3 images\nare unknown to {SECRET}.", "handles": ["a"]}
    with scripted(Reply(404, json.dumps({"error": said}).encode())) as script:
        with pytest.raises(HttpError) as caught:
            ask(script, clock)
        assert str(caught.value) == "3 images are unknown to ***."
        assert (caught.value.status, caught.value.code, caught.value.details) == (404, "unknown", {"handles": ["a"]})
        assert len(script.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 501, 505, 507])
def test_refusals_without_a_reason(status: int, clock: Clock) -> None:
    with scripted(Reply(status, b"<html>")) as script:
        with pytest.raises(HttpError, match=f"answers {status} without saying why: check the address"):
            ask(script, clock)
        assert len(script.asked) == 1


def test_redirects_are_not_followed(clock: Clock) -> None:
    with scripted(GOOD) as other, scripted(Reply(307, headers={"location": other.url})) as script:
        with pytest.raises(HttpError, match=r"sends on to http://127.0.0.1:.* which is not followed"):
            ask(script, clock)
        assert other.asked == []


def test_an_unusable_answer_is_asked_as_often_as_its_reader_says(clock: Clock) -> None:
    def never(_: Answer) -> None:
        raise UnusableAnswer("holds NaN", tries=2)

    with scripted(GOOD) as script, client(script.url, clock) as http:
        with pytest.raises(
            HttpError, match=r"/scores can't be used: it holds NaN, 2 times in a row; look at the server"
        ):
            http.request("POST", "/scores", read=never)
        assert len(script.asked) == 2


def test_proxies_of_the_environment_are_not_asked_for_this_machine(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    with scripted(GOOD) as script:
        assert ask(script, clock) == {"x": 1}


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "naïve", "tab\tbed"])
def test_a_token_that_no_header_can_hold_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(UsageError, match="must be printable ASCII without spaces") as caught:
        HttpClient("http://127.0.0.1:1", token=token)
    assert token not in str(caught.value)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_a_server_that_can_not_prove_who_it_is_is_not_asked_again(clock: Clock, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nobody"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    certificate.write_text(key.read_text() + certificate.read_text())
    with scripted(GOOD, certificate=certificate) as script, client(script.url, clock) as http:
        with pytest.raises(HttpError, match=r"can't prove who it is \(.+\): install its certificate"):
            http.request("GET", "/info")
        assert clock.slept == []


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
