"""Soft prompts through text towers: equal to the tower run on whole sequences, whatever is shared or left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clipwright.backbones import resolve
from clipwright.backbones import soft_prompts as room
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.soft_prompts import SoftPrompts
from clipwright.core.errors import DataError, NeedsError
from clipwright.task import Access

NAMES = ("cat", "dog", "a red panda", "oil-filled radiator", "x")


def open_small(save_weights: Callable[[str], tuple[Any, Path]], name: str) -> TowerBackbone:
    _, path = save_weights(name)
    backbone = resolve(f"openclip:{name}@{path}", device="cpu").load()
    assert isinstance(backbone, TowerBackbone)
    return backbone


def whole_sequences(backbone: TowerBackbone, contexts: torch.Tensor, names: tuple[str, ...]) -> torch.Tensor:
    """(P, C, D) by the library's transformer on all positions, one sequence after the other."""
    parts: Any = getattr(backbone.model, "text", backbone.model)
    m = contexts.shape[1]
    tokens = backbone.tokenizer([f"a photo of a {name}." for name in names])
    ends = [int((row == row.max()).nonzero()[0]) for row in tokens]
    shift = m - 4
    found = torch.zeros(len(contexts), len(names), backbone.dim)
    with torch.inference_mode():
        for p, context in enumerate(contexts):
            for c, row in enumerate(tokens):
                embedded = parts.token_embedding(row)
                x = torch.cat([embedded[:1], context, embedded[5:]])[: len(row)]
                x = x + parts.positional_embedding[: len(x)]
                length = len(x)
                states = parts.transformer(x[None], attn_mask=parts.attn_mask[:length, :length])
                state = parts.ln_final(states)[0, ends[c] + shift]
                found[p, c] = state @ parts.text_projection
    return found


@pytest.mark.parametrize("name", ["small-vit", "small-custom-eos"])
@pytest.mark.parametrize("length", [1, 4, 7])
def test_equal_to_whole_sequences(
    save_weights: Callable[[str], tuple[Any, Path]], name: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = open_small(save_weights, name)
    box = backbone.soft_prompts(NAMES)
    contexts = 0.3 * torch.randn(3, length, box.width, generator=torch.manual_seed(0))
    expected = whole_sequences(backbone, contexts, NAMES)
    found = box.prompt_features(contexts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    monkeypatch.setattr(room, "_is_plain", lambda _: False)  # blocks of a kind whose parts aren't known
    torch.testing.assert_close(box.prompt_features(contexts), found, rtol=1e-4, atol=1e-5 * float(found.abs().max()))


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_the_words_themselves_give_the_text_features() -> None:
    backbone = resolve("tiny", device="cpu").load()
    names = ("one", "two", "blue star", "seven")
    box = backbone.soft_prompts(names)
    assert isinstance(box, SoftPrompts)
    assert {Access.SOFT_PROMPT, Access.FEATURES, Access.SCORES} <= box.access == backbone.access - {Access.WEIGHTS}
    found = box.prompt_features(box.context()[None])[0]
    expected = backbone.texts([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(box.context("a photo of a"), box.context())
    assert (box.spent.prompts, box.spent.texts) == (1, 4)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_few_prompts_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    box = resolve("tiny", device="cpu").load().soft_prompts(NAMES)
    assert isinstance(box, SoftPrompts)
    contexts = box.context()[None] + 0.1 * torch.randn(5, 4, box.width)
    whole = box.prompt_features(contexts)
    monkeypatch.setattr(room, "BATCH", 1)
    torch.testing.assert_close(box.prompt_features(contexts), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_scores_are_scaled_cosines() -> None:
    backbone = resolve("tiny", device="cpu").load()
    box = backbone.soft_prompts(("one", "two"))
    assert isinstance(box, SoftPrompts)
    images = torch.randn(3, backbone.dim)
    box.features = {str(i): row for i, row in enumerate(images)}
    contexts = box.context()[None] + 0.1 * torch.randn(2, 4, box.width)
    texts = box.prompt_features(contexts)
    expected = backbone.logit_scale * torch.nn.functional.cosine_similarity(images[None, :, None], texts[:, None], -1)
    torch.testing.assert_close(box.prompt_scores(contexts, ["0", "1", "2"]), expected, rtol=1e-4, atol=1e-4)
    assert box.spent.scorings == 6
    with pytest.raises(DataError, match="1 of 2 images are not known"):
        box.prompt_scores(contexts, ["0", "9"])


@pytest.mark.filterwarnings("ignore:the embedded model")
def test_refusals(save_weights: Callable[[str], tuple[Any, Path]]) -> None:
    box = resolve("tiny", device="cpu").load().soft_prompts(("one", "two"))
    assert isinstance(box, SoftPrompts)
    with pytest.raises(DataError, match=r"contexts must be \(P, m, 128\)"):
        box.prompt_features(torch.zeros(2, 4, 5))
    with pytest.raises(DataError, match="NaN or infinity"):
        box.prompt_features(torch.full((1, 4, box.width), float("nan")))
    with pytest.raises(DataError, match="shorten one of them"):
        box.prompt_features(torch.zeros(1, 40, box.width))
    whole = open_small(save_weights, "small-whole")
    assert Access.SOFT_PROMPT not in whole.access
    with pytest.raises(NeedsError, match="takes no soft prompts: use a backbone with a causal text tower"):
        whole.soft_prompts(NAMES)
