"""The client of a served backbone, against real servers on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from tests.core.scripted import Reply, scripted
from tests.serve.made import ALL, NAMES, Watched, connect, pictures, prompts, reference_scores, served, serving, tiny

from clipwright.backbones import resolve
from clipwright.backbones.agreement import handle_of
from clipwright.backbones.endpoint import EndpointBackbone, EndpointRef
from clipwright.backbones.identifiers import parse
from clipwright.core.errors import BackboneError, DataError, FormatError, NeedsError, UsageError
from clipwright.core.http import HttpError
from clipwright.task import Access


@pytest.fixture
def everything() -> Iterator[Watched]:
    with serving(served()) as watched:
        yield watched


@pytest.fixture
def usual() -> Iterator[Watched]:
    """Scores and soft prompts."""
    with serving(served(frozenset({Access.SCORES, Access.SOFT_PROMPT}))) as watched:
        yield watched


def test_what_the_reference_says(everything: Watched) -> None:
    ref = resolve(f"endpoint:{everything.url}/")
    assert ref.spec == f"endpoint:{everything.url}"
    backbone = ref.load()
    assert isinstance(backbone, EndpointBackbone)
    assert ref.load() is backbone
    assert (backbone.dim, backbone.access) == (128, ALL)
    assert backbone.logit_scale == pytest.approx(tiny().logit_scale)
    assert backbone.preprocess == tiny().preprocess
    assert backbone.digest == ref.digest != tiny().digest
    assert len(ref.digest) == 64
    described = ref.describe()
    assert described["files"] == {"endpoint": tiny().digest}
    assert described["preprocess"] == tiny().preprocess.as_json()


def test_features_are_the_models_own(everything: Watched) -> None:
    backbone = connect(everything.url)
    pixels = pictures(5)[[0, 1, 2, 3, 4, 0]]
    torch.testing.assert_close(backbone.images(pixels).x, tiny().images(pixels).x)
    texts = ["seven", "a red circle", "seven"]
    torch.testing.assert_close(backbone.texts(texts), tiny().texts(texts))
    assert backbone.images(pixels[:0]).x.shape == (0, 128)
    assert backbone.texts([]).shape == (0, 128)
    assert backbone.spent.images == 5
    assert backbone.spent.texts == 2


def test_scores_by_templates(usual: Watched) -> None:
    backbone, pixels = connect(usual.url), pictures(4)
    handles = backbone.upload(pixels)
    one = tiny().texts([f"a photo of a {name}." for name in NAMES])
    np.testing.assert_allclose(backbone.scores(handles, NAMES), reference_scores(pixels, one), atol=1e-4)
    other = tiny().texts([f"the {name}" for name in NAMES])
    mean = torch.stack([t / t.norm(dim=1, keepdim=True) for t in (one, other)]).mean(0)
    found = backbone.scores(handles, NAMES, ["a photo of a {}.", "the {}"])
    np.testing.assert_allclose(found, reference_scores(pixels, mean), atol=1e-4)
    assert backbone.scores([], NAMES).shape == (0, 3)


def test_images_are_sent_in_the_order_of_their_handles(usual: Watched) -> None:
    """Class after class, as a folder holds them, would tell the server which of them belong together."""
    backbone = connect(usual.url)
    pixels = pictures(300)
    handles = [handle for part in torch.chunk(pixels, 5) for handle in backbone.keep(part)]
    assert usual.asked == []
    backbone.send(handles)
    parts = sorted((values["pixels"] for _, values in usual.asked), key=len, reverse=True)  # 256, then the rest
    assert [handle_of(image) for part in parts for image in part] == sorted(handles)
    backbone.send(handles)
    assert usual.count("/images") == 2
    with pytest.raises(UsageError, match="the pixels of 1 images that are to be sent are not here: keep them first"):
        backbone.send([handles[0], "0" * 64])


def test_labels(everything: Watched) -> None:
    backbone = connect(everything.url)
    handles = backbone.upload(pictures(6))
    labels = backbone.labels(handles, NAMES)
    assert labels.dtype == torch.int64
    assert torch.equal(labels, backbone.scores(handles, NAMES).argmax(1))


def test_nothing_is_asked_twice_not_even_by_another_process(usual: Watched) -> None:
    pixels, contexts = pictures(5), prompts(4)

    def run() -> tuple[EndpointBackbone, torch.Tensor, int]:
        backbone = connect(usual.url)  # as a new process would
        handles = backbone.upload(pixels)
        box = backbone.soft_prompts(NAMES)
        box.context("a photo of a")
        backbone.scores(handles, NAMES)
        return backbone, box.prompt_scores(contexts, handles), box.spent.cached

    first, scores, cached = run()
    assert cached == 0
    asked = len(usual.asked)
    second, again, cached = run()
    assert torch.equal(scores, again)
    assert len(usual.asked) == asked
    assert cached == 5
    spent = second.spent
    assert (spent.requests, spent.images, spent.prompts, spent.scorings, spent.bytes_sent) == (0, 0, 0, 0, 0)
    assert first.spent.images == 5
    assert first.spent.bytes_sent > 5 * 3 * 32 * 32


def test_requests_keep_to_the_limits_of_the_server() -> None:
    with serving(served(images=4, handles=3, prompts=2, texts=7, bytes=20_000)) as watched:
        backbone, pixels, contexts = connect(watched.url), pictures(10), prompts(5)
        handles = backbone.upload(pixels)
        assert sorted(len(v["pixels"]) for path, v in watched.asked if path == "/images") == [2, 4, 4]
        box = backbone.soft_prompts(NAMES)
        found = box.prompt_scores(contexts, handles)
        sizes = [(len(v["contexts"]), len(v["handles"])) for path, v in watched.asked if path == "/scores"]
        assert sorted(sizes) == sorted([(p, n) for p in (2, 2, 1) for n in (3, 3, 3, 1)])
        local = tiny().soft_prompts(NAMES)
        local.features.update(zip(handles, tiny().images(pixels).x, strict=True))
        torch.testing.assert_close(found, local.prompt_scores(contexts, handles))
        assert (box.spent.prompts, box.spent.scorings) == (5, 50)
        assert backbone.texts([str(i) for i in range(10)]).shape == (10, 128)
        assert backbone.images(pixels).x.shape == (10, 128)
        assert backbone.scores(handles, NAMES).shape == (10, 3)


@pytest.mark.parametrize(
    ("granted", "ask", "message"),
    [
        (
            {"scores", "soft_prompt"},
            "images",
            "does not grant features; it grants scores, soft_prompt, with which CraFT",
        ),
        ({"scores", "soft_prompt"}, "texts", "have it served with --access features,scores,soft_prompt"),
        ({"scores", "soft_prompt"}, "prompt_features", "does not grant features"),
        ({"scores"}, "soft_prompts", "does not grant soft_prompt; it grants scores, with which CraFT with parts=head"),
        ({"labels"}, "scores", "does not grant scores; it grants labels, with which no method runs"),
        ({"features"}, "labels", "it grants features, with which every method that asks for features would run"),
        ({"features", "soft_prompt"}, "prompt_scores", "does not grant scores"),
    ],
)
def test_asking_for_more_than_is_granted_says_what_works(granted: set[str], ask: str, message: str) -> None:
    with serving(served(frozenset(Access(name) for name in granted))) as watched:
        backbone = connect(watched.url)
        asks: dict[str, Callable[[], object]] = {
            "images": lambda: backbone.images(pictures(1)),
            "texts": lambda: backbone.texts(["a"]),
            "soft_prompts": lambda: backbone.soft_prompts(NAMES),
            "prompt_features": lambda: backbone.soft_prompts(NAMES).prompt_features(prompts(1)),
            "prompt_scores": lambda: backbone.soft_prompts(NAMES).prompt_scores(prompts(1), ["0" * 64]),
            "scores": lambda: backbone.scores(["0" * 64], NAMES),
            "labels": lambda: backbone.labels(["0" * 64], NAMES),
        }
        with pytest.raises(NeedsError) as caught:
            asks[ask]()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert watched.asked == []


def test_methods_named_for_an_access_are_those_of_the_catalogue() -> None:
    from clipwright.backbones.endpoint_access import WORKS, works_with
    from clipwright.methods import CATALOGUE, get, make

    named = {what: needed for needed, what in WORKS}
    for name in CATALOGUE:
        needed = get(name)().requires().access
        if Access.FEATURES not in needed and needed:
            assert named.get(name) == needed, f"{name} needs {sorted(needed)}: say so in endpoint_access.WORKS"
    assert make("CraFT", parts="head").requires().access == named["CraFT with parts=head"]
    assert works_with({Access.LABELS}) == []


def test_pixels_of_another_kind_are_refused(usual: Watched) -> None:
    backbone = connect(usual.url)
    for wrong in (torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 31, 32, dtype=torch.uint8), torch.zeros(3, 32, 32)):
        with pytest.raises(DataError, match=r"pixels must be uint8 of shape \(n, 3, 32, 32\)"):
            backbone.upload(wrong)
    box = backbone.soft_prompts(NAMES)
    for contexts in (torch.zeros(1, 4, 127), torch.full((1, 4, 128), float("nan")), torch.zeros(4, 128)):
        with pytest.raises(DataError, match="contexts"):
            box.prompt_scores(contexts, ["0" * 64])
    with pytest.raises(UsageError, match="handles are what upload"):
        box.prompt_scores(prompts(1), ["not a handle"])
    assert usual.count("/scores") == 0


def test_images_that_nobody_sent(usual: Watched) -> None:
    with pytest.raises(BackboneError, match=r"does not know 2 of the images, and their pixels are not at hand: send"):
        connect(usual.url).scores(["0" * 64, "1" * 64], NAMES)


def test_an_address_where_something_else_answers() -> None:
    for body in (b"{}", b'{"format": 1}', b'{"format": true, "digest": "x"}'):
        with (
            scripted(Reply(body=body)) as script,
            pytest.raises(FormatError, match="but not as a served backbone does"),
        ):
            connect(script.url)
    with scripted(Reply(body=b'{"format": 2}')) as script, pytest.raises(FormatError, match="speaks format 2, newer"):
        connect(script.url)
    with scripted(Reply(body=b"<html>")) as script, pytest.raises(HttpError, match=r"/info can't be used: it is no"):
        connect(script.url)


def test_a_token_on_its_way_in_the_open_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_TOKEN", "abc")
    with pytest.warns(UserWarning, match="is no https address, so the token of CLIPWRIGHT_TOKEN travels readable"):
        _ = EndpointRef(parse("endpoint:http://models.example")).client
    _ = EndpointRef(parse("endpoint:https://models.example")).client  # warnings are errors here
    _ = EndpointRef(parse("endpoint:http://127.0.0.1:1")).client


def test_how_long_to_try_is_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIPWRIGHT_GIVE_UP", "0")
    with pytest.raises(HttpError, match="can't be reached: see that the server runs"):
        _ = EndpointRef(parse("endpoint:http://127.0.0.1:9")).digest
    monkeypatch.setenv("CLIPWRIGHT_GIVE_UP", "soon")
    with pytest.raises(UsageError, match="CLIPWRIGHT_GIVE_UP must be a number of seconds"):
        _ = EndpointRef(parse("endpoint:http://127.0.0.1:9")).digest
