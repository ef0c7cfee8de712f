"""Soft prompts through an endpoint, against real servers on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.serve.made import NAMES, Watched, connect, pictures, prompts, reference_scores, served, serving, tiny

from clipwright.backbones.endpoint_prompts import RemotePrompts
from clipwright.core.errors import NeedsError
from clipwright.task import Access, BlackBox


@pytest.fixture
def everything() -> Iterator[Watched]:
    with serving(served()) as watched:
        yield watched


@pytest.fixture
def usual() -> Iterator[Watched]:
    """Scores and soft prompts."""
    with serving(served(frozenset({Access.SCORES, Access.SOFT_PROMPT}))) as watched:
        yield watched


def test_soft_prompts_are_those_of_the_model_in_process(everything: Watched) -> None:
    backbone, pixels, contexts = connect(everything.url), pictures(5), prompts(3)
    local, remote = tiny().soft_prompts(NAMES), backbone.soft_prompts(NAMES)
    assert isinstance(remote, BlackBox)
    assert isinstance(remote, RemotePrompts)
    handles = backbone.upload(pixels)
    local.features.update(zip(handles, tiny().images(pixels).x, strict=True))
    assert torch.equal(remote.context("a photo of a"), local.context("a photo of a"))
    assert torch.equal(remote.prompt_features(contexts), local.prompt_features(contexts))
    scores = remote.prompt_scores(contexts, handles)
    assert scores.shape == (3, 5, 3)
    assert torch.equal(scores, local.prompt_scores(contexts, handles))
    assert (remote.spent.prompts, remote.spent.scorings, remote.spent.texts) == (6, 15, 18)
    for context, found in zip(contexts, scores, strict=True):
        texts = local.prompt_features(context[None])[0]
        np.testing.assert_allclose(found, reference_scores(pixels, texts), atol=1e-4)


def test_in_other_company_a_prompt_is_still_known(usual: Watched) -> None:
    backbone, contexts = connect(usual.url), prompts(6)
    handles = backbone.upload(pictures(3))
    box = backbone.soft_prompts(NAMES)
    first = box.prompt_scores(contexts[:4], handles)
    found = box.prompt_scores(contexts[[5, 2, 2, 4, 0]], handles)
    assert [len(values["contexts"]) for path, values in usual.asked if path == "/scores"] == [4, 2]
    assert torch.equal(found[[1, 2, 4]], first[[2, 2, 0]])
    assert (box.spent.prompts, box.spent.scorings, box.spent.cached) == (6, 18, 2)


def test_other_names_other_images_and_other_models_are_other_questions(usual: Watched) -> None:
    backbone, contexts = connect(usual.url), prompts(1)
    handles = backbone.upload(pictures(3))
    for names in (NAMES, NAMES[::-1], NAMES[:2]):
        backbone.soft_prompts(names).prompt_scores(contexts, handles)
    backbone.soft_prompts(NAMES).prompt_scores(contexts, handles[:2])
    assert usual.count("/scores") == 4
    found = backbone.soft_prompts(NAMES).prompt_scores(contexts, [*handles[::-1], handles[0]])
    assert torch.equal(found, backbone.soft_prompts(NAMES).prompt_scores(contexts, handles)[:, [2, 1, 0, 0]])
    assert usual.count("/scores") == 4  # the order is none of the server's business
    keys = {backbone.client.key("/x", b"1"), backbone.client.key("/y", b"1"), backbone.client.key("/x", b"2")}
    assert len(keys) == 3


def test_more_classes_than_a_request_may_have() -> None:
    with (
        serving(served(texts=2)) as watched,
        pytest.raises(NeedsError, match="have it served with a larger --max-batch"),
    ):
        connect(watched.url).soft_prompts(NAMES)


def test_small_limits_on_bytes_are_kept_to() -> None:
    with serving(served(bytes=12_000)) as watched:
        backbone, contexts = connect(watched.url), prompts(7)
        handles = backbone.upload(pictures(4))
        names = [f"{name} {number}" for number in range(10) for name in NAMES]
        found = backbone.soft_prompts(names).prompt_scores(contexts, handles)
        assert found.shape == (7, 4, 30)
        sizes = [len(values["contexts"]) for path, values in watched.asked if path == "/scores"]
        assert sorted(sizes) == [1, 3, 3]  # 2 KiB each, beside names, handles and headers


def test_all_images_are_asked_about_under_some_prompts_before_the_next_prompts() -> None:
    """So that the server, which keeps the texts of the last prompts, computes them once."""
    with serving(served(prompts=1, handles=2)) as watched:
        backbone, contexts = connect(watched.url, connections=1), prompts(6)
        handles = backbone.upload(pictures(5))
        backbone.soft_prompts(NAMES).prompt_scores(contexts, handles)
        order = [values["contexts"].tobytes() for path, values in watched.asked if path == "/scores"]
        assert order == [context.numpy().tobytes() for context in contexts for _ in range(3)]
