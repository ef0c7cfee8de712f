from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.synthetic.expert import Expert
from tests.synthetic.scripted import Clock, Response, ScriptedServer, failed, said

from clipwright.core.errors import DataError, UsageError
from clipwright.synthetic.chat import Chat
from clipwright.synthetic.describe import Plan, check_kinds, describe, estimate, merge_parts, plan
from clipwright.synthetic.endpoint import Endpoint, Prices
from clipwright.synthetic.prompts import KINDS, own_prompts
from clipwright.synthetic.transport import EndpointError
from clipwright.texts import Row, TextBank

NAMES = tuple(f"class {chr(97 + i) * (i + 1)}" for i in range(7))
ALL = [kind for kind in KINDS if kind != "descriptor"]


def chat(server: ScriptedServer, **options: Any) -> Chat:
    clock = Clock()
    return Chat(Endpoint(server.base_url, "m", **options), clock=clock, sleep=clock.sleep)


def whole(**options: Any) -> Plan:
    return plan(NAMES, ALL, pairs="all", quiet=True, **options)


def test_every_kind_makes_a_bank_whose_order_does_not_depend_on_time() -> None:
    with ScriptedServer(Expert()) as server:
        made = describe(whole(), chat(server, concurrency=5), quiet=True)
        again = describe(whole(), chat(server, concurrency=1), quiet=True)
        assert made.bank == again.bank
        assert again.summary["usage"]["calls"] == 0
        assert again.summary["usage"]["cached"] == made.summary["usage"]["calls"] == len(server.requests)
    assert set(made.bank.counts) == {"attribute", "analogue", "synonym", "one-vs-one", "description"}
    assert made.bank.counts["one-vs-one"] == 2 * 21
    assert made.summary["dropped"]["said of both"] == 2 * 21
    assert made.summary["classes_without_text"] == []
    assert made.bank.class_names == NAMES


def test_parts_make_what_one_run_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(Expert()) as server:
        one = describe(whole(), chat(server), quiet=True).bank
        made, parts = [], []
        for part in (1, 2, 3):
            monkeypatch.setenv("CLIPWRIGHT_HOME", str(tmp_path / str(part)))  # machines that share nothing
            made.append(describe(whole(shard=(part, 3)), chat(server), quiet=True))
            parts.append(made[-1].bank)
        assert len(server.requests) == 2 * len(whole().units)
    assert all(not part.summary["classes_without_text"] for part in made)
    sizes = [len(part) for part in parts]
    assert min(sizes) > 0
    assert merge_parts(parts) == one
    assert merge_parts(parts[::-1]) == one
    one.save(tmp_path / "one.json")
    merge_parts(parts).save(tmp_path / "merged.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "merged.json").read_bytes()


def test_banks_that_do_not_belong_together_are_not_merged() -> None:
    with pytest.raises(DataError, match="different classes"):
        merge_parts([TextBank(("a", "b")), TextBank(("b", "a"))])
    row = Row("a", "attribute", "tail")
    with pytest.raises(DataError, match="different ways"):
        merge_parts([TextBank(("a",), (row,)), TextBank(("a",), (row,), "dclip")])
    synonym = TextBank(("a",), (Row("a", "synonym", "b"),))
    assert merge_parts([synonym, TextBank(("a",), (row,), "dclip")]).phrasing == "dclip"
    with pytest.raises(UsageError):
        merge_parts([])


def test_descriptors_are_said_as_dclip_says_them() -> None:
    with ScriptedServer(Expert()) as server:
        bank = describe(plan(NAMES, ["descriptor"], quiet=True), chat(server), quiet=True).bank
    assert bank.phrasing == "dclip"
    with pytest.raises(UsageError, match="one of them"):
        check_kinds(["attribute", "descriptor"])
    with pytest.raises(UsageError, match="'colour'"):
        check_kinds(["colour"])
    with pytest.raises(UsageError, match="no kind"):
        check_kinds([])


def test_a_dry_run_counts_and_sends_nothing() -> None:
    with ScriptedServer(Expert()) as server:
        priced = chat(server, prices=Prices(1.0, 2.0))
        told = estimate(whole(), priced)
        assert not server.requests
        texts = len(own_prompts()["description"])
        assert told["requests"] == 7 * 3 + 21 + 7 * texts
        assert told["requests_at_most"] == 2 * told["requests"] + 7 * 12
        assert told["cost"] == round((told["prompt_tokens"] + 2 * told["completion_tokens"]) / 1e6, 6)
        describe(whole(), priced, quiet=True)
        assert len(server.requests) == told["requests"]
        sent = sum(len(m["content"]) for request in server.requests for m in request["messages"])
        assert told["prompt_tokens"] == pytest.approx(sent / 4, rel=0.1)
        left = estimate(whole(), priced)
        assert (left["requests"], left["cached"], left["cost"]) == (0, told["requests"], 0.0)


def test_a_server_that_dies_midway_costs_nothing_twice() -> None:
    expert = Expert()
    dead = threading.Event()

    def script(request: dict[str, Any], number: int) -> Response:
        if number >= 20 and not dead.is_set():
            return failed(503)
        return expert(request, number)

    with ScriptedServer(script) as server:
        with pytest.raises(EndpointError, match="is kept"):
            describe(whole(), chat(server, attempts=2), quiet=True)
        paid = 20
        dead.set()
        before = len(server.requests)
        made = describe(whole(), chat(server), quiet=True)
        assert made.summary["usage"]["cached"] == paid
        assert len(server.requests) - before == len(whole().units) - paid


@pytest.mark.slow
def test_a_killed_run_goes_on_and_pays_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    expert = Expert()
    reached = threading.Event()

    def script(request: dict[str, Any], number: int) -> Response:
        if number == 9:
            reached.set()
            return said("never", after=0.5)
        return expert(request, number)

    program = [sys.executable, "-m", "clipwright.cli", "describe", "names.txt", "--kinds", "attribute,synonym"]
    with ScriptedServer(script) as server:
        program += ["--base-url", server.base_url, "--model", "m", "--concurrency", "1", "--out", "bank.json", "--json"]
        running = subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert reached.wait(60)
        running.kill()
        running.communicate()
        assert not (tmp_path / "bank.json").exists()
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=True)
        asked = [json.dumps(request) for request in server.requests]
        assert len(asked) == len(set(asked)) + 1  # the one in flight
    assert json.loads(done.stdout)["usage"]["cached"] == 9
    assert (tmp_path / "bank.json").exists()


def test_a_model_that_cannot_is_given_up_on_early() -> None:
    with ScriptedServer(lambda *_: said("As an AI, I ...")) as server:
        with pytest.raises(DataError, match=r"none of 12 requests .* larger model"):
            describe(whole(), chat(server, concurrency=1), quiet=True)
        assert len(server.requests) < 2 * 16
        with pytest.raises(DataError, match="none of 1 requests"):
            describe(plan(["a"], ["attribute"]), chat(server), quiet=True)


def test_what_is_not_answered_is_told() -> None:
    expert = Expert()

    def script(request: dict[str, Any], number: int) -> Response:
        return said("no") if f'"{NAMES[3]}"' in request["messages"][1]["content"] else expert(request, number)

    with ScriptedServer(script) as server:
        made = describe(plan(NAMES, ["attribute"]), chat(server), quiet=True)
    assert made.summary["unanswered"] == 1
    assert made.summary["classes_without_text"] == [NAMES[3]]
    assert made.summary["dropped"] == {"no usable answer": 1}
    assert made.bank.counts == {"attribute": 18}


def test_the_limit_on_answers_can_be_raised() -> None:
    with ScriptedServer(Expert()) as server:
        made = describe(plan(NAMES, ["attribute"], max_tokens=4000), chat(server), quiet=True)
        assert {request["max_tokens"] for request in server.requests} == {4000}
    assert {row.prompt_hash for row in made.bank.rows} == {own_prompts()["attribute"][0].hash}


def test_names_that_no_bank_can_have_are_refused_before_anything_is_paid() -> None:
    with pytest.raises(DataError, match="None"):
        plan(["a", "None"])
