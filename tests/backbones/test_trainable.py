"""Copies of towers that can be trained: equal features, weights of their own, gradients everywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.backbones.conftest import ARCHITECTURES, TEXTS

from clipwright.access import Tower, TowerUpdate
from clipwright.backbones import resolve
from clipwright.backbones.loaded import TowerBackbone

pytestmark = pytest.mark.filterwarnings("ignore:.*texts are longer")


@pytest.fixture(scope="module")
def backbones(
    save_weights: Callable[[str], tuple[Any, Path]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TowerBackbone]:
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPWRIGHT_HOME", str(tmp_path_factory.mktemp("home")))
        for name in ARCHITECTURES:
            backbone = resolve(f"openclip:{name}@{save_weights(name)[1]}", device="cpu").load()
            assert isinstance(backbone, TowerBackbone)
            found[name] = backbone
    return found


def pixels_of(backbone: TowerBackbone, photo: Image.Image) -> torch.Tensor:
    views = [backbone.pixels(photo), backbone.pixels(photo, "crop(0.5,1)+flip", np.random.default_rng(1))]
    return torch.from_numpy(np.stack(views))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_image_module_gives_the_same_features(
    name: str, backbones: dict[str, TowerBackbone], photo: Image.Image
) -> None:
    backbone = backbones[name]
    assert isinstance(backbone, Tower)
    pixels = pixels_of(backbone, photo)
    module = backbone.image_module().eval()
    torch.testing.assert_close(module(pixels).detach(), backbone.images(pixels).x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_reach_all_that_is_used(name: str, backbones: dict[str, TowerBackbone], photo: Image.Image) -> None:
    backbone = backbones[name]
    before = copy.deepcopy(backbone.model.state_dict())
    module = backbone.image_module().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    module(pixels_of(backbone, photo)).square().sum().backward()
    reached = [n for n, p in module.named_parameters() if p.grad is not None and bool((p.grad != 0).any())]
    assert len(reached) > 0.5 * len(list(module.parameters()))
    optimizer.step()
    for key, tensor in backbone.model.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert not any(p.requires_grad for p in backbone.model.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_text_module_gives_the_same_features(name: str, backbones: dict[str, TowerBackbone]) -> None:
    backbone = backbones[name]
    module = backbone.text_module().eval()
    found = module(backbone.tokens(TEXTS))
    torch.testing.assert_close(found.detach(), backbone.texts(TEXTS), rtol=1e-4, atol=1e-5)
    found.sum().backward()
    trained = dict(module.named_parameters())
    assert all(p.grad is None for n, p in trained.items() if n.endswith(("logit_scale", "logit_bias")))
    assert any(p.grad is not None for p in trained.values())
    assert not any(n.startswith("tower.visual") for n in trained)
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_tokens_are_cut_at_the_longest(backbones: dict[str, TowerBackbone]) -> None:
    assert backbones["small-vit"].tokens(["dog", "a cat"]).shape == (2, 4)
    assert backbones["small-whole"].tokens(["dog"]).shape == (1, 16)
    assert len(backbones["small-vit"].tokens([])) == 0


def test_an_update_goes_by_the_names_of_the_module(backbones: dict[str, TowerBackbone], photo: Image.Image) -> None:
    backbone = backbones["small-vit"]
    module, other = backbone.image_module().eval(), backbone.image_module().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    TowerUpdate(backbone.spec, backbone.digest, dict(module.state_dict())).apply(other.state_dict())
    pixels = pixels_of(backbone, photo)
    assert torch.equal(module(pixels), other(pixels))
