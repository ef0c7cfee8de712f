"""What goes wrong between a client and a served backbone: nothing paid is lost, and what is said is one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.serve.made import NAMES, Fault, Watched, connect, pictures, prompts, served, serving, tiny

from clipwright.core.answers import Answers
from clipwright.core.backoff import Patience
from clipwright.core.errors import BackboneError
from clipwright.core.home import home
from clipwright.core.http import HttpError, TokenRefusedError
from clipwright.task import Access

FIRST, SECOND = "first-token", "second-token"


@pytest.fixture
def usual() -> Iterator[Watched]:
    """Scores and soft prompts."""
    with serving(served(frozenset({Access.SCORES, Access.SOFT_PROMPT}))) as watched:
        yield watched


def test_a_storm_of_429_is_waited_out(usual: Watched) -> None:
    backbone, contexts = connect(usual.url), prompts(2)
    handles = backbone.upload(pictures(2))
    usual.faults["/scores"] = [Fault(status=429, headers={"retry-after": "0.05"}) for _ in range(5)]
    box = backbone.soft_prompts(NAMES)
    assert box.prompt_scores(contexts, handles).shape == (2, 2, 3)
    assert usual.count("/scores") == 6
    assert (box.spent.requests, box.spent.prompts) == (6, 2)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=True),
        Fault(body=b"<html>maintenance</html>"),
        Fault(status=502),
        Fault(change=lambda values: {"scores": np.full_like(values["scores"], np.nan)}),
        Fault(change=lambda values: {"scores": values["scores"][..., :2]}),
        Fault(change=lambda values: {}),
    ],
    ids=["cut", "html", "502", "nan", "classes", "empty"],
)
def test_one_bad_answer_is_asked_again(fault: Fault, usual: Watched) -> None:
    backbone, contexts, pixels = connect(usual.url), prompts(2), pictures(2)
    handles = backbone.upload(pixels)
    usual.faults["/scores"] = [fault]
    found = backbone.soft_prompts(NAMES).prompt_scores(contexts, handles)
    local = tiny().soft_prompts(NAMES)
    local.features.update(zip(handles, tiny().images(pixels).x, strict=True))
    assert torch.equal(found, local.prompt_scores(contexts, handles))
    assert usual.count("/scores") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda v: {"scores": np.full_like(v["scores"], np.inf)},
            "it holds NaN or infinity in scores, 2 times",
        ),
        (lambda v: {"scores": v["scores"][..., :2]}, r"it holds scores of shape (2, 2, 2), where (2, 2, 3) was asked"),
        (lambda v: {"other": v["scores"]}, "it has no scores, 2 times in a row"),
    ],
    ids=["inf", "classes", "missing"],
)
def test_answers_that_stay_wrong_are_one_sentence_and_cost_nothing_else(
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], message: str, usual: Watched
) -> None:
    backbone, contexts = connect(usual.url), prompts(3)
    handles = backbone.upload(pictures(2))
    box = backbone.soft_prompts(NAMES)
    paid = box.prompt_scores(contexts[:1], handles)
    usual.faults["/scores"] = [Fault(change=change), Fault(change=change)]
    with pytest.raises(HttpError) as caught:
        box.prompt_scores(contexts, handles)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert usual.count("/scores") == 3
    assert box.spent.prompts == 1  # what failed was not paid for
    found = box.prompt_scores(contexts, handles)  # the server is well again: only what failed is asked
    assert torch.equal(found[:1], paid)
    assert [len(v["contexts"]) for path, v in usual.asked if path == "/scores"] == [1, 2, 2, 2]


def test_a_wrong_label_is_no_class() -> None:
    with serving(served()) as watched:
        backbone = connect(watched.url)
        handles = backbone.upload(pictures(2))
        wrong = Fault(change=lambda values: {"labels": values["labels"] + 3})
        watched.faults["/labels"] = [wrong, wrong]
        with pytest.raises(HttpError, match="it names classes in labels that there are not"):
            backbone.labels(handles, NAMES)


def test_slow_answers_are_asked_again(usual: Watched) -> None:
    backbone = connect(usual.url, Patience(first=0.01, total=30, connect=1, read=0.25))
    handles = backbone.upload(pictures(2))
    usual.faults["/scores"] = [Fault(seconds=0.4)]
    assert backbone.soft_prompts(NAMES).prompt_scores(prompts(2), handles).shape == (2, 2, 3)
    assert usual.count("/scores") >= 2


def test_a_server_that_stays_slow_is_one_sentence(usual: Watched) -> None:
    backbone = connect(usual.url, Patience(first=0.01, total=0.3, connect=1, read=0.15))
    handles = backbone.upload(pictures(2))
    usual.faults["/scores"] = [Fault(seconds=0.3) for _ in range(9)]
    with pytest.raises(HttpError, match=r"does not answer in time.*what was answered so far is kept"):
        backbone.soft_prompts(NAMES).prompt_scores(prompts(2), handles)


def test_a_token_that_expires_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    model, contexts, pixels = served(), prompts(4), pictures(2)
    monkeypatch.setenv("CLIPWRIGHT_TOKEN", FIRST)
    with serving(model, token=FIRST) as watched:
        port = int(watched.url.rsplit(":", 1)[1])
        backbone = connect(watched.url)
        handles = backbone.upload(pixels)
        box = backbone.soft_prompts(NAMES)
        paid = box.prompt_scores(contexts[:3], handles)
        assert watched.headers[-1]["authorization"] == f"Bearer {FIRST}"
    with serving(model, token=SECOND, port=port) as watched:
        with pytest.raises(
            TokenRefusedError, match="it is wrong or has expired; set CLIPWRIGHT_TOKEN to a v"
        ) as caught:
            box.prompt_scores(contexts, handles)
        assert FIRST not in str(caught.value)
        assert watched.count("/scores") == 1
        monkeypatch.setenv("CLIPWRIGHT_TOKEN", SECOND)
        backbone = connect(watched.url)
        handles = backbone.upload(pixels)
        box = backbone.soft_prompts(NAMES)
        assert torch.equal(box.prompt_scores(contexts, handles)[:3], paid)
        assert [len(v["contexts"]) for path, v in watched.asked if path == "/scores"] == [1, 1]
        assert box.spent.cached == 3
    kept = b"".join(path.read_bytes() for path in home().rglob("*") if path.is_file())
    assert FIRST.encode() not in kept
    assert SECOND.encode() not in kept


def test_a_restarted_server_is_sent_its_images_again() -> None:
    contexts, pixels = prompts(4), pictures(6)
    with serving(served(handles=2)) as watched:
        port = int(watched.url.rsplit(":", 1)[1])
        backbone = connect(watched.url)
        handles = backbone.upload(pixels)
        box = backbone.soft_prompts(NAMES)
        first = box.prompt_scores(contexts[:2], handles)
    with serving(served(handles=2), port=port) as watched:  # knows nothing
        found = box.prompt_scores(contexts, handles)
        assert torch.equal(found[:2], first)
        assert sum(len(v["pixels"]) for path, v in watched.asked if path == "/images") == 6  # each once
        assert backbone.spent.images == 12
        assert box.spent.images == 6


def test_a_server_with_a_store_knows_its_images_after_a_restart(tmp_path: Path) -> None:
    contexts, pixels = prompts(1), pictures(3)
    with serving(served(store=tmp_path)) as watched:
        port = int(watched.url.rsplit(":", 1)[1])
        backbone = connect(watched.url)
        handles = backbone.upload(pixels)
    with serving(served(store=tmp_path), port=port) as watched:
        backbone.soft_prompts(NAMES).prompt_scores(contexts, handles)
        assert watched.count("/images") == 0


def test_another_model_at_the_same_address_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = served()
    with serving(model) as watched:
        port = int(watched.url.rsplit(":", 1)[1])
        backbone = connect(watched.url)
        handles = backbone.upload(pictures(2))
    monkeypatch.setattr(model.backbone, "digest", "f" * 64)
    with serving(model, port=port), pytest.raises(BackboneError, match="now serves another model"):
        backbone.soft_prompts(NAMES).prompt_scores(prompts(1), handles)


def test_what_finished_beside_a_failure_is_kept() -> None:
    """One of several requests in flight fails for good; the answers of the others need not be asked for again."""
    with serving(served(prompts=1)) as watched:
        backbone, contexts = connect(watched.url, connections=3), prompts(6)
        handles = backbone.upload(pictures(2))
        bad = Fault(change=lambda values: {"scores": values["scores"][..., :1]})
        watched.faults["/scores"] = [Fault(seconds=0.05), bad, bad, bad, bad]
        with pytest.raises(HttpError):
            backbone.soft_prompts(NAMES).prompt_scores(contexts, handles)
        watched.faults.clear()
        before = watched.count("/scores")
        box = backbone.soft_prompts(NAMES)
        box.prompt_scores(contexts, handles)
        assert box.spent.cached >= 1
        assert watched.count("/scores") - before == 6 - box.spent.cached


def test_a_damaged_cache_is_asked_again(usual: Watched) -> None:
    backbone = connect(usual.url)
    handles = backbone.upload(pictures(2))
    backbone.scores(handles, NAMES)
    for path in Answers().folder.glob("??/*"):
        path.write_bytes(b"rubbish")
    backbone.scores(handles, NAMES)
    assert usual.count("/scores") == 2
