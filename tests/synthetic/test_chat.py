from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.synthetic.scripted import Clock, Response, ScriptedServer, asked, failed, said

from clipwright.core.home import home
from clipwright.synthetic.chat import AnswerError, Chat, decode
from clipwright.synthetic.endpoint import Endpoint, Prices
from clipwright.synthetic.messages import system, user
from clipwright.synthetic.transport import EndpointError

KEY = "sk-very-secret-123"


class Colours(BaseModel):
    colours: list[str]


def chat(server: ScriptedServer, clock: Clock | None = None, **options: Any) -> Chat:
    clock = clock or Clock()
    return Chat(Endpoint(server.base_url, "scripted", **options), clock=clock, sleep=clock.sleep)


QUESTION = [system("You know colours."), user("Which colours?")]


def test_an_answer_is_paid_once_and_counted() -> None:
    with ScriptedServer(lambda *_: said("red")) as server:
        first = chat(server, prices=Prices(2.0, 10.0))
        answer = first.ask(QUESTION)
        assert (answer.text, answer.truncated, answer.cached, answer.model) == ("red", False, False, "scripted-2026")
        assert first.usage.as_json(first.endpoint.prices)["cost"] == round((11 * 2 + 7 * 10) / 1e6, 6)
        again = chat(server)
        assert again.ask(QUESTION).cached
        assert again.usage.as_json() == {**again.usage.as_json(), "calls": 0, "cached": 1, "prompt_tokens": 0}
        chat(server).ask(QUESTION, max_tokens=9)  # decoded otherwise: another question
        assert len(server.requests) == 2
        sent = server.requests[0]
        assert sent["temperature"] == 0
        assert sent["model"] == "scripted"
        assert sent["messages"] == QUESTION
    rows = [json.loads(line) for line in (home() / "chat" / "journal.jsonl").read_text().splitlines()]
    assert [row["prompt_tokens"] for row in rows] == [11, 11]
    assert not any("text" in row or "messages" in row for row in rows)


def test_equal_questions_at_the_same_time_are_paid_once() -> None:
    with ScriptedServer(lambda *_: said("red", after=0.05)) as server:
        one = chat(server, concurrency=6)
        found = dict(one.each(range(6), lambda _: one.ask(QUESTION).text))
        assert found == dict.fromkeys(range(6), "red")
        assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_after_the_time_that_it_names() -> None:
    script = [failed(429, "slow down", Retry_After="17"), failed(500), failed(503, Retry_After="2"), said("red")]
    clock = Clock()
    with ScriptedServer(lambda _, n: script[n]) as server:
        one = chat(server, clock)
        assert one.ask(QUESTION).text == "red"
        assert one.usage.retries == 3
    assert clock.slept[0] == 17
    assert 1.0 <= clock.slept[1] <= 2.0  # the second failure: half of two seconds to all of them
    assert clock.slept[2] == 2


def test_an_hour_is_not_waited_for() -> None:
    with ScriptedServer(lambda *_: failed(429, Retry_After="3600")) as server:
        with pytest.raises(EndpointError, match=r"asks to wait 3600 s .* kept"):
            chat(server).ask(QUESTION)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "broken",
    [
        Response(body=b'{"id": "x", "choices": [{"mess', cut=True),
        Response(body=b'{"id": "x", "choices": [{"mess'),
        Response(body=b'{"id": "x", "object": "chat.completion", "choices": []}'),
        Response(body=b"<html>proxy</html>", kind="text/html"),
        Response(body=b"[1, 2]"),
    ],
    ids=["cut", "half", "no choices", "html", "list"],
)
def test_answers_that_are_none_are_asked_for_again(broken: Response) -> None:
    with ScriptedServer(lambda _, n: broken if n == 0 else said("red")) as server:
        assert chat(server).ask(QUESTION).text == "red"
        assert len(server.requests) == 2
    with ScriptedServer(lambda *_: broken) as server:
        with pytest.raises(EndpointError, match=r"no usable answer in 3 tries .* kept"):
            chat(server, attempts=3).ask([user("other")])
        assert len(server.requests) == 3


def test_a_slow_server_is_given_up_on_and_asked_again() -> None:
    with ScriptedServer(lambda _, n: said("late", after=0.6) if n == 0 else said("red")) as server:
        assert chat(server, timeout=0.2).ask(QUESTION).text == "red"
    with ScriptedServer(lambda *_: said("late", after=0.4)) as server, pytest.raises(EndpointError, match=r"0\.1 s"):
        chat(server, timeout=0.1, attempts=2).ask([user("other")])


def test_a_server_that_is_gone_is_one_sentence() -> None:
    with ScriptedServer(lambda *_: said("red")) as server:
        address = server
    clock = Clock()
    with pytest.raises(EndpointError, match=r"in 6 tries .*no connection.* kept"):
        chat(address, clock).ask(QUESTION)
    assert len(clock.slept) == 5
    assert clock.slept == sorted(clock.slept)


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (401, f"bad key {KEY}", "refused the API key"),
        (403, f"no rights for {KEY}", "refused the API key"),
        (404, f"no model {KEY}", "knows no such address or model"),
        (400, f"strange request with {KEY}", "refused a request"),
        (429, f"insufficient_quota for {KEY}", "nothing left"),
    ],
)
def test_refusals_are_told_at_once_and_the_key_never_shows(
    status: int, message: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="clipwright")
    with ScriptedServer(lambda *_: failed(status, message)) as server:
        one = chat(server, api_key=KEY)
        with pytest.raises(EndpointError, match=sentence) as caught:
            one.ask(QUESTION)
        assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in str(caught.value) + repr(one.endpoint) + caplog.text


def test_the_key_and_the_question_are_in_no_file() -> None:
    with ScriptedServer(lambda *_: said("red")) as server:
        chat(server, api_key=KEY).ask([user("a private class name")])
    kept = b"".join(p.read_bytes() for p in home().rglob("*") if p.is_file())
    assert b"red" in kept
    assert KEY.encode() not in kept
    assert b"private" not in kept


@pytest.mark.parametrize("status", [400, 422])
def test_options_that_a_server_refuses_are_left_out(status: int) -> None:
    def script(request: dict[str, Any], _: int) -> Response:
        if "response_format" in request:
            return failed(status, "Unexpected field: response_format")
        if "max_tokens" in request:
            return failed(status, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return said('{"colours": ["red"]}')

    with ScriptedServer(script) as server:
        one = chat(server)
        assert one.ask_json(QUESTION, Colours)[0].colours == ["red"]
        assert one.refused == ("response_format", "max_tokens")
        assert server.requests[-1]["max_completion_tokens"] == 512
        one.ask_json([user("other")], Colours)
        assert len(server.requests) == 4  # what was learned is remembered


@pytest.mark.parametrize(
    "text",
    [
        '{"colours": ["red"]}',
        '```json\n{"colours": ["red"]}\n```',
        'Sure! {"colours": ["red"], "mood": "fine"} Anything else?',
        '<think>Is {"colours": ["blue"]} right? No.</think>\n{"colours": ["red"]}',
    ],
)
def test_json_is_found_and_only_expected_fields_come_in(text: str) -> None:
    with ScriptedServer(lambda *_: said(text)) as server:
        value, _ = chat(server).ask_json(QUESTION, Colours)
        assert value.model_dump() == {"colours": ["red"]}
        assert server.requests[0]["response_format"]["json_schema"]["schema"]["required"] == ["colours"]


@pytest.mark.parametrize("bad", ["red, I think", '{"colours": "red"}', '{"colours": ["red"', "[" * 100_000, None, "3"])
def test_a_wrong_answer_is_shown_to_the_model_once(bad: str | None) -> None:
    with ScriptedServer(lambda _, n: said(bad) if n == 0 else said('{"colours": ["red"]}')) as server:
        one = chat(server)
        value, answer = one.ask_json(QUESTION, Colours)
        assert value.colours == ["red"]
        assert answer.text == '{"colours": ["red"]}'
        repair = server.requests[1]["messages"]
        assert repair[: len(QUESTION)] == QUESTION
        assert repair[2] == {"role": "assistant", "content": (bad or "(nothing)")[:4000]}
        assert "colours" in repair[3]["content"]
        assert (one.usage.repairs, one.usage.invalid) == (1, 0)


def test_an_answer_that_stays_wrong_is_told_and_paid_once() -> None:
    with ScriptedServer(lambda *_: said("red, I think")) as server:
        for _ in range(2):
            one = chat(server)
            with pytest.raises(AnswerError, match=r"not even when told .* no JSON") as caught:
                one.ask_json(QUESTION, Colours)
            assert not caught.value.fits
            assert one.usage.invalid == 1
        assert len(server.requests) == 2


def test_a_check_of_ones_own_counts_as_an_answer_that_fits() -> None:
    with ScriptedServer(lambda *_: said('{"colours": []}')) as server, pytest.raises(AnswerError, match="none") as e:
        chat(server).ask_json(QUESTION, Colours, check=lambda v: None if v.colours else "There is none.")
    assert e.value.fits


def test_an_answer_that_was_cut_off_is_flagged_and_gets_room() -> None:
    def script(_: dict[str, Any], number: int) -> Response:
        return said('{"colours": ["re', finish="length") if number == 0 else said('{"colours": ["red"]}')

    with ScriptedServer(script) as server:
        one = chat(server)
        assert one.ask_json(QUESTION, Colours, max_tokens=40)[0].colours == ["red"]
        assert [request["max_tokens"] for request in server.requests] == [40, 80]
        assert "cut off" in asked(server.requests[1])
        assert one.usage.truncated == 1
        assert one.ask(QUESTION, max_tokens=40, schema=Colours).truncated  # also when read from the cache


def test_thoughts_and_parts_are_not_the_answer() -> None:
    parts = {
        "choices": [{"finish_reason": "stop", "message": {"content": [{"type": "text", "text": "<think>hm</think>"}]}}]
    }
    parts["choices"][0]["message"]["content"].append({"type": "text", "text": "red"})  # type: ignore[index] # JSON
    with ScriptedServer(lambda *_: Response(body=json.dumps(parts).encode())) as server:
        answer = chat(server).ask(QUESTION)
        assert answer.text == "<think>hm</think>red"
        assert answer.spoken == "red"
    with ScriptedServer(lambda *_: said("<think>for ever", finish="length")) as server:
        assert chat(server).ask([user("other")]).spoken == ""


def test_tokens_are_estimated_where_the_server_counts_none() -> None:
    with ScriptedServer(lambda *_: said("red", usage=None)) as server:
        one = chat(server)
        one.ask(QUESTION)
        assert one.usage.estimated
        assert one.usage.prompt_tokens == (5 + 4) + (4 + 4)  # 17 and 14 characters, and 4 tokens for each message
        assert "about" in one.usage.meter()


def test_each_asks_several_at_a_time_and_stops_at_the_first_failure() -> None:
    together = threading.Barrier(3, timeout=10)

    def script(request: dict[str, Any], _: int) -> Response:
        number = int(asked(request))
        if number < 3:
            together.wait()
        return failed(401) if number == 5 else said(str(number))

    with ScriptedServer(script) as server:
        one = chat(server, concurrency=3)
        found: list[int] = []

        def run() -> None:
            for number, text in one.each(range(100), lambda n: one.ask([user(str(n))]).text):
                assert text == str(number)
                found.append(number)

        with pytest.raises(EndpointError, match="API key"):
            run()
        assert {0, 1, 2} <= set(found)
        assert len(server.requests) < 30
        paid = len(server.requests) - 1
        # what was answered is known now, and costs nothing
        known = [n for n in range(100) if one.known([user(str(n))], decode(max_tokens=512)) is not None]
        assert len(known) >= min(paid, 3)
        assert one.ask([user("1")]).cached


@pytest.mark.slow
def test_a_killed_process_pays_nothing_twice(tmp_path: Path) -> None:
    program = tmp_path / "ask.py"
    program.write_text(
        "import sys\n"
        "from clipwright.synthetic.chat import Chat\n"
        "from clipwright.synthetic.endpoint import Endpoint\n"
        "from clipwright.synthetic.messages import user\n"
        "chat = Chat(Endpoint(sys.argv[1], 'scripted', concurrency=1))\n"
        "for n, text in chat.each(range(8), lambda n: chat.ask([user(str(n))]).text):\n"
        "    print(n, text, flush=True)\n"
    )
    reached = threading.Event()

    def script(request: dict[str, Any], number: int) -> Response:
        if number == 4:
            reached.set()
            return said("never", after=0.5)
        return said(asked(request))

    with ScriptedServer(script) as server:
        running = subprocess.Popen([sys.executable, program, server.base_url], stdout=subprocess.PIPE)
        assert reached.wait(60)
        running.kill()
        running.communicate()
        done = subprocess.run([sys.executable, program, server.base_url], capture_output=True, text=True, check=True)
        counts = [asked(request) for request in server.requests]
        assert {text: counts.count(text) for text in counts} == {str(n): 2 if n == 4 else 1 for n in range(8)}
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert lines == {str(n): str(n) for n in range(8)}
