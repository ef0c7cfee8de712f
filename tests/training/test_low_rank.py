"""Low-rank updates of weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from clipwright.core.errors import UsageError
from clipwright.training.batches import shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.full_batch import Stream
from clipwright.training.low_rank import LowRank, Part, attach, detach, factors
from clipwright.training.regularisers import variance_loss
from clipwright.training.towers import adamw, train_tower

PIXELS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def open_clip_vit() -> nn.Module:
    from open_clip.transformer import VisionTransformer

    made: nn.Module = VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=3, heads=2, mlp_ratio=2.0, output_dim=16
    )
    return made


def modified_resnet() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    made: nn.Module = ModifiedResNet([1, 1, 1, 1], output_dim=16, heads=4, image_size=32, width=8)
    return made


def timm_vit() -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    made: nn.Module = VisionTransformer(
        img_size=32, patch_size=16, embed_dim=32, depth=3, num_heads=2, mlp_ratio=2, num_classes=0
    )
    return made


def transformers_vision() -> nn.Module:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = SiglipVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
            )
            self.model = SiglipVisionModel(config)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.model(x).pooler_output
            return found

    return Pooled()


def wake(made: Sequence[nn.Parameter]) -> None:
    """Give all factors values."""
    with torch.no_grad():
        for number, p in enumerate(made):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(number)) * 0.1)


def attribute(tower: nn.Module, name: str) -> torch.Tensor:
    owner, _, own = name.rpartition(".")
    found: torch.Tensor = getattr(tower.get_submodule(owner), own)
    return found


ALL: tuple[Part, ...] = ("q", "k", "v", "o", "mlp", "conv")


@pytest.mark.parametrize(
    ("make", "which", "count"),
    [
        (open_clip_vit, ("q", "k", "v"), 3),
        (open_clip_vit, ("q", "v", "o", "mlp"), 3 * 4),
        (timm_vit, ("q", "k", "v"), 3),
        (timm_vit, ("k", "o", "mlp"), 3 * 4),
        (transformers_vision, ("q", "k", "v"), 2 * 3 + 1),
        (transformers_vision, ALL, 2 * 6 + 4 + 1),
        (modified_resnet, ("q", "k", "v", "o"), 4),
        (modified_resnet, ("conv",), 19),
    ],
)
def test_factors_are_what_the_tower_computes_with(make: Any, which: tuple[Part, ...], count: int) -> None:
    tower = make().eval()
    plain = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    with torch.no_grad():
        before = tower(PIXELS)
        made = attach(tower, rank=3, alpha=2.0, which=which)
        torch.testing.assert_close(tower(PIXELS), before)  # the first update is nothing
        wake(made)
        tuned = tower(PIXELS)
        assert not torch.allclose(tuned, before, rtol=1e-3)
        found = factors(tower)
        weights = {name: attribute(tower, name).clone() for name in found}
        assert len(found) == count
        assert set(found) <= set(plain)
        detach(tower)
        state = tower.state_dict()
        assert list(state) == list(plain)
        assert all(torch.equal(state[name], plain[name]) for name in plain)
        torch.testing.assert_close(tower(PIXELS), before)
        for name, (up, down) in found.items():
            assert up.shape[1] == down.shape[0]
            state[name] += (up @ down).view(state[name].shape)
            assert torch.equal(state[name], weights[name])
        torch.testing.assert_close(tower(PIXELS), tuned)


def test_merging_keeps_the_tuned_tower() -> None:
    tower = open_clip_vit().eval()
    names = list(tower.state_dict())
    wake(attach(tower))
    with torch.no_grad():
        tuned = tower(PIXELS)
        detach(tower, merge=True)
        assert torch.equal(tower(PIXELS), tuned)
    assert list(tower.state_dict()) == names
    assert factors(tower) == {}
    detach(tower)  # nothing left to do


def test_only_the_factors_train_and_rows_outside_stay() -> None:
    tower = open_clip_vit()
    made = attach(tower, rank=2, which=("k",), dropout=0)
    assert {id(p) for p in tower.parameters() if p.requires_grad} == {id(p) for p in made}
    assert len(made) == 2 * 3
    wake(made)
    tower(PIXELS).sum().backward()
    assert all(p.grad is not None for p in made)
    up, down = factors(tower)["transformer.resblocks.0.attn.in_proj_weight"]
    assert (up.shape, down.shape) == ((96, 2), (2, 32))
    delta = up @ down
    assert not delta[:32].any()
    assert delta[32:64].all()
    assert not delta[64:].any()


def test_scales_and_first_values() -> None:
    tower = open_clip_vit()
    attach(tower, rank=4, alpha=2.0, seed=3)
    update = next(m for m in tower.modules() if isinstance(m, LowRank))
    assert update.scale == 0.5
    assert update.down.abs().max() <= 1 / math.sqrt(32)
    assert update.down.std().item() == pytest.approx(1 / math.sqrt(32 * 3), rel=0.1)
    other = open_clip_vit()
    attach(other, rank=4, alpha=2.0, seed=3, stabilised=True)
    twin = next(m for m in other.modules() if isinstance(m, LowRank))
    assert twin.scale == 1.0
    assert torch.equal(twin.down, update.down)


def test_dropout_leaves_out_whole_input_channels_in_training_alone() -> None:
    update = LowRank(torch.zeros(6, 50, 3, 3), ((0, 6),), rank=2)
    update.dropout = 0.25
    wake(list(update.parameters()))
    weight = torch.zeros(6, 50, 3, 3)
    whole = update.eval()(weight)
    torch.manual_seed(0)
    seen = update.train()(weight)
    kept = seen.abs().sum((0, 2, 3)) > 0
    assert 25 < int(kept.sum()) < 50
    torch.testing.assert_close(seen[:, kept], whole[:, kept] / 0.75)


def test_attention_that_is_split_over_two_modules_is_found() -> None:
    names = ("block.attention.self.query", "block.attention.self.value", "block.attn_norm", "block.mlp.proj", "query")
    tower = nn.Module()
    for name in names:
        owner = tower
        *owners, own = name.split(".")
        for part in owners:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.add_module(own, nn.Linear(4, 4))
    attach(tower, which=("q", "k", "v", "o"))
    assert list(factors(tower)) == ["block.attention.self.query.weight", "block.attention.self.value.weight"]


def test_last_blocks_alone() -> None:
    tower = open_clip_vit()
    attach(tower, layers="last:1")
    assert list(factors(tower)) == ["transformer.resblocks.2.attn.in_proj_weight"]


def test_random_state_and_copies() -> None:
    torch.manual_seed(1)
    tower = open_clip_vit()
    before = torch.get_rng_state()
    wake(attach(tower, dropout=0.5))
    assert torch.equal(torch.get_rng_state(), before)
    twin = copy.deepcopy(tower)
    assert factors(twin).keys() == factors(tower).keys()
    half = open_clip_vit().bfloat16().eval()
    wake(attach(half))
    assert half(PIXELS.bfloat16()).dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in half.parameters() if p.requires_grad)


def test_updates_are_trained_and_resumed_alone(tmp_path: Path) -> None:
    vit = open_clip_vit().state_dict()

    def train(kept: Checkpoint, steps: int) -> tuple[nn.Module, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
        tower = open_clip_vit()
        tower.load_state_dict(vit)
        attach(tower, dropout=0.25)
        train_tower(
            {"tower": tower},
            lambda batch: [Stream(tower, PIXELS[batch.share % 2] + batch.step)],
            lambda embeddings, _: {"spread": variance_loss(embeddings[0])},
            batches=shuffled_batches(4, 4, drop_last=True, seed=0, key=("order",)),
            rates=[0.01] * steps,
            optimizer=adamw({"tower": tower}, weight_decay=0.01),
            micro_batch_size=3,
            checkpoint=kept,
            quiet=True,
        )
        return tower, factors(tower)

    _, whole = train(Checkpoint(tmp_path / "a", ""), 4)
    train(Checkpoint(tmp_path / "b", ""), 2)
    saved = Checkpoint(tmp_path / "b", "").load()
    assert saved is not None
    assert all(".parametrizations." in name for name in saved[0] if name.startswith("parameter."))
    tower, resumed = train(Checkpoint(tmp_path / "b", ""), 4)
    for name, (up, down) in whole.items():
        assert up.any()
        assert torch.equal(up, resumed[name][0])
        assert torch.equal(down, resumed[name][1])
    detach(tower)
    assert all(torch.equal(tensor, vit[name]) for name, tensor in tower.state_dict().items())


def test_what_cannot_be_is_said() -> None:
    tower = open_clip_vit()
    for wrong, message in (
        ({"rank": 0}, "rank must be at least 1"),
        ({"dropout": 1.0}, "dropout in"),
        ({"which": ("z",)}, "no part 'z': choose among q, k"),
        ({"which": ("conv",), "layers": "last:1"}, "has no weights for conv"),
        ({"layers": "last:4"}, "asks for 4 blocks of 3"),
        ({"layers": "some"}, "no policy 'some'"),
    ):
        with pytest.raises(UsageError, match=message):
            attach(tower, **wrong)
    assert all(p.requires_grad for p in tower.parameters())
    attach(tower)
    with pytest.raises(UsageError, match="detach them first"):
        attach(tower)
