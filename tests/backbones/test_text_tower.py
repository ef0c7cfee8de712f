from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backbones.conftest import ARCHITECTURES, TEXTS

from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone
from clipwright.backbones.text_tower import CausalText, TextTower, WholeText, encode_texts, is_causal

Saved = Callable[[str], tuple[Any, Path]]
WHOLE = {"small-whole", "small-coca"}


class Recorder(TextTower):
    """Another tower, and the batches it was given."""

    def __init__(self, tower: TextTower) -> None:
        self.tower, self.dim = tower, tower.dim
        self.batches: list[tuple[int, int]] = []

    def tokenize(self, texts: Any) -> torch.Tensor:
        return self.tower.tokenize(texts)

    def lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.tower.lengths(tokens)

    def copied(self) -> tuple[TextTower, torch.nn.Module]:
        return self.tower.copied()

    def encode(self, tokens: torch.Tensor) -> torch.Tensor:
        self.batches.append((len(tokens), tokens.shape[1]))
        return self.tower.encode(tokens)


@pytest.fixture(scope="module")
def backbones(save_weights: Saved, tmp_path_factory: pytest.TempPathFactory) -> dict[str, TowerBackbone]:
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ARCHITECTURES:
            backbone = resolve(f"openclip:{name}@{save_weights(name)[1]}", device="cpu").load()
            assert isinstance(backbone, TowerBackbone)
            found[name] = backbone
    return found


def test_which_towers_are_cut(backbones: dict[str, TowerBackbone]) -> None:
    for name, backbone in backbones.items():
        assert isinstance(backbone.text_tower, WholeText if name in WHOLE else CausalText), name


def test_unique_texts_once_sorted_and_cut(backbones: dict[str, TowerBackbone]) -> None:
    tower = Recorder(backbones["small-vit"].text_tower)
    texts = ["a photo of a cat.", "dog", "a photo of a cat.", "", "one two three four five six seven"] * 3
    with torch.inference_mode():
        encode_texts(tower, texts, device=torch.device("cpu"), batch_size=2)
    assert tower.batches == [(2, 3), (2, 9)]  # "" and "dog"; the cat and the seven words
    tower = Recorder(backbones["small-whole"].text_tower)
    with torch.inference_mode():
        encode_texts(tower, texts, device=torch.device("cpu"))
    assert tower.batches == [(4, 16)]


VOCABULARY = ["a", "photo", "of", "cat", "dog", "zebra", "crossing,", "7", "Übergrößenträger", "日本"]
words = st.lists(st.sampled_from(VOCABULARY), max_size=90)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(words.map(" ".join), min_size=1, max_size=6), batch=st.integers(1, 4))
@pytest.mark.parametrize("name", ["small-vit", "small-custom-eos"])
@pytest.mark.filterwarnings("ignore:.*texts are longer")
def test_cutting_changes_nothing(backbones: dict[str, TowerBackbone], name: str, texts: list[str], batch: int) -> None:
    backbone = backbones[name]
    with torch.inference_mode():
        wanted = backbone.model.encode_text(backbone.tokenizer(texts))
    torch.testing.assert_close(backbone.texts(texts, batch_size=batch), wanted, atol=1e-5, rtol=1e-5)


def test_order_and_batch_size_dont_matter(backbones: dict[str, TowerBackbone]) -> None:
    for backbone in backbones.values():
        wanted = backbone.texts(TEXTS)
        torch.testing.assert_close(backbone.texts(TEXTS[::-1], batch_size=1), wanted.flip(0), atol=1e-5, rtol=1e-5)
        assert backbone.texts([]).shape == (0, backbone.dim)


def test_texts_that_lose_their_end_are_counted(backbones: dict[str, TowerBackbone]) -> None:
    fits, cut = "cat " * 75, "dog " * 76
    with pytest.warns(UserWarning, match="1 of 2 texts are longer than the model's 77 tokens .* 'dog dog"):
        backbones["small-vit"].texts([fits, cut])


def test_what_counts_as_causal() -> None:
    mask = torch.full((4, 4), float("-inf")).triu(1)
    assert is_causal(mask)
    assert is_causal(mask.to(torch.bfloat16))
    assert not is_causal(None)
    assert not is_causal(torch.zeros(4, 4))
    assert not is_causal(mask[:3])
    leaky = mask.clone()
    leaky[0, 3] = 0.0
    assert not is_causal(leaky)
    blind = mask.clone()
    blind[3, 0] = float("-inf")
    assert not is_causal(blind)
