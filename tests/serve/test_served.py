from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.serve.made import ALL, NAMES, pictures, prompts, reference_scores, served, tiny

from clipwright.backbones.base import Backbone, ImageFeatures
from clipwright.core.errors import NeedsError, UsageError
from clipwright.serve.limits import Limits
from clipwright.serve.refused import Refused
from clipwright.serve.served import DEFAULT_ACCESS, Served, public_spec
from clipwright.task import Access


class Blind(Backbone):
    """Gives NaN, and takes no soft prompts."""

    spec, digest, dim, logit_scale = "blind", "0" * 64, 128, 1.0
    access = frozenset({Access.FEATURES, Access.SCORES})
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self) -> None:
        self.preprocess = tiny().preprocess

    def images(self, pixels: torch.Tensor) -> ImageFeatures:
        return ImageFeatures(torch.full((len(pixels), self.dim), float("nan")))

    def texts(self, texts: object, *, batch_size: int = 256) -> torch.Tensor:
        raise NotImplementedError


def test_scores_by_templates_and_by_prompts_against_float64() -> None:
    model, pixels, contexts = served(), pictures(4), prompts(3)
    handles = model.add_images(pixels)
    texts = tiny().texts([f"the {name}" for name in NAMES])
    found = model.scores(handles, NAMES, ["the {}"])
    assert found.shape == (1, 4, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], reference_scores(pixels, texts), atol=1e-4)
    found = model.scores(handles[::-1], NAMES, contexts=contexts)
    for context, scores in zip(contexts, found, strict=True):
        texts = tiny().soft_prompts(NAMES).prompt_features(context[None])[0]
        np.testing.assert_allclose(scores[::-1], reference_scores(pixels, texts), atol=1e-4)


def test_an_image_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels, encoded = served(), pictures(3), []
    images = tiny().images

    def counted(given: torch.Tensor) -> ImageFeatures:
        encoded.append(len(given))
        return images(given)

    monkeypatch.setattr(tiny(), "images", counted)
    handles = model.add_images(pixels[[0, 1, 0]])
    assert handles[0] == handles[2] != handles[1]
    assert model.add_images(pixels)[:2] == handles[:2]
    model.add_images(pixels)
    assert encoded == [2, 1]


def test_prompts_are_encoded_once_for_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model = served()
    handles = model.add_images(pictures(4))
    contexts = prompts(2)
    whole = model.scores(handles, NAMES, contexts=contexts)
    box = model._box(tuple(NAMES))
    before = box.spent.prompts
    parts = [model.scores(handles[:2], NAMES, contexts=contexts), model.scores(handles[2:], NAMES, contexts=contexts)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-5)
    assert box.spent.prompts == before


def test_names_are_text_whatever_they_hold() -> None:
    model = served()
    handles = model.add_images(pictures(2))
    names = ["../../etc/passwd", "<script>alert(1)</script>", "{} {0.__class__}", "é\u202e\n"]
    found = model.scores(handles, names, ["a {}"])
    texts = tiny().texts([f"a {name}" for name in names])
    np.testing.assert_allclose(found[0], reference_scores(pictures(2), texts), atol=1e-4)


def test_what_is_granted_by_default_follows_the_model() -> None:
    assert Served(tiny()).access == DEFAULT_ACCESS
    assert Served(Blind()).access == {Access.SCORES}
    with pytest.raises(NeedsError, match="blind can't grant soft_prompt: it can grant features, scores"):
        Served(Blind(), frozenset({Access.SOFT_PROMPT}))


@pytest.mark.parametrize(
    "access", [frozenset(), frozenset({Access.WEIGHTS}), frozenset({Access.WEIGHTS, Access.SCORES})]
)
def test_weights_are_never_granted(access: frozenset[Access]) -> None:
    with pytest.raises(UsageError, match="--access must name one or more of features, scores, soft_prompt, labels"):
        Served(tiny(), frozenset(access))


def test_what_is_not_granted_is_refused() -> None:
    model = served(frozenset({Access.SCORES}))
    model.require(Access.SCORES)
    with pytest.raises(Refused, match="doesn't grant features and labels; it grants scores") as caught:
        model.require(Access.FEATURES, Access.LABELS, Access.SCORES)
    assert caught.value.status == 403
    assert caught.value.details == {"lacking": ["features", "labels"], "granted": ["scores"]}


def test_nan_of_the_model_is_said() -> None:
    model = Served(Blind(), frozenset({Access.FEATURES}))
    with pytest.raises(Refused, match="the model gives NaN or infinity for these images"):
        model.add_images(pictures(1))
    assert len(model.shelf) == 0


@pytest.mark.parametrize("width", [127, 129])
def test_contexts_of_another_width(width: int) -> None:
    with pytest.raises(Refused, match=f"contexts must be 128 wide, as /info says; they are {width} wide"):
        served().prompt_features(NAMES, torch.zeros(1, 4, width))


def test_limits_on_texts_and_answers() -> None:
    model = Served(tiny(), ALL, Limits(texts=5, bytes=100))
    handles = model.add_images(pictures(9))
    with pytest.raises(Refused, match=r"6 texts \(prompts times classes\) at once are more than the limit of 5"):
        model.scores(handles[:1], NAMES, contexts=prompts(2))
    with pytest.raises(Refused, match=r"6 texts \(templates times classes\) at once"):
        model.scores(handles[:1], NAMES, ["{}", "a {}"])
    with pytest.raises(Refused, match="108 bytes of scores at once are more than the limit of 100"):
        model.scores(handles, NAMES, ["{}"])


def test_a_context_that_leaves_no_room_is_the_models_sentence() -> None:
    with pytest.raises(Exception, match="are longer than the 36 positions"):
        served().prompt_features(NAMES, torch.zeros(1, 36, 128))


def test_info_says_what_a_client_must_know() -> None:
    info = served(frozenset({Access.SCORES, Access.SOFT_PROMPT}), images=7).info()
    assert info["access"] == ["scores", "soft_prompt"]
    assert info["context"] == {"width": 128, "positions": 36}
    assert info["limits"]["images"] == 7
    assert info["preprocess"] == tiny().preprocess.as_json()
    assert served(frozenset({Access.SCORES})).info()["context"] is None


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("tiny", "tiny"),
        ("openclip:RN50@/srv/me/secret/w.pt", "openclip:RN50@w.pt"),
        ("folder:/srv/me/secret/model", "folder:model"),
        ("endpoint:https://other.example", "endpoint:https://other.example"),
        ("blind", "blind"),
    ],
)
def test_folders_of_the_server_are_not_shown(spec: str, shown: str) -> None:
    assert public_spec(spec) == shown
