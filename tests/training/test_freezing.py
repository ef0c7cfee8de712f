"""Which parameters of a tower train."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from clipwright.core.errors import UsageError
from clipwright.training.freezing import blocks, choose_trainable, freeze_statistics


def open_clip_vit() -> nn.Module:
    from open_clip.transformer import VisionTransformer

    made: nn.Module = VisionTransformer(
        image_size=32, patch_size=16, width=32, layers=3, heads=2, mlp_ratio=2.0, output_dim=16
    )
    return made


def open_clip_text() -> nn.Module:
    from open_clip.transformer import TextTransformer

    made: nn.Module = TextTransformer(context_length=8, vocab_size=30, width=16, heads=2, layers=2, output_dim=8)
    return made


def modified_resnet() -> nn.Module:
    from open_clip.modified_resnet import ModifiedResNet

    made: nn.Module = ModifiedResNet([1, 2, 1, 1], output_dim=16, heads=4, image_size=32, width=8)
    return made


def timm_cnn(name: str = "resnet10t") -> nn.Module:
    import timm

    made: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return made


def transformers_vision() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=16,
    )
    made: nn.Module = CLIPVisionModelWithProjection(config)
    return made


def embedded() -> nn.Module:
    from clipwright.assets import tiny

    made: nn.Module = tiny.load()[0].visual
    return made.requires_grad_()


def frozen(tower: nn.Module) -> set[str]:
    return {name for name, p in tower.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (open_clip_vit, 3),
        (open_clip_text, 2),
        (modified_resnet, 5),
        (timm_cnn, 4),
        (transformers_vision, 3),
        (embedded, 7),
    ],
)
def test_all_and_head_and_every_number_of_blocks(make: Any, count: int) -> None:
    tower = make()
    names = [name for name, _ in tower.named_parameters()]
    assert len(blocks(tower)) == count
    assert choose_trainable(tower, "all") == names
    assert frozen(tower) == set()
    assert choose_trainable(tower, "head") == []
    assert frozen(tower) == set(names)
    before: set[str] = set()
    for k in range(1, count + 1):
        chosen = choose_trainable(tower, f"last:{k}")
        assert frozen(tower) == set(names) - set(chosen)
        new = list(blocks(tower))[-k]
        assert any(name.startswith(f"{new}.") for name in set(chosen) - before)
        assert before < set(chosen) <= set(names)
        before = set(chosen)
    for wrong in (0, count + 1):
        with pytest.raises(UsageError, match=f"choose last:1 to last:{count}, or all"):
            choose_trainable(tower, f"last:{wrong}")


def test_last_means_the_last_blocks_and_what_comes_after_them() -> None:
    late = set(choose_trainable(open_clip_vit(), "last:1"))
    assert {"proj", "ln_post.weight", "ln_post.bias"} < late
    assert all(
        n in {"proj", "ln_post.weight", "ln_post.bias"} or n.startswith("transformer.resblocks.2.") for n in late
    )
    assert {"text_projection", "ln_final.bias"} < set(choose_trainable(open_clip_text(), "last:1"))
    late = set(choose_trainable(transformers_vision(), "last:2"))
    roots = {n.split(".layers.")[1][0] if ".layers." in n else n.split(".")[-2] for n in late}
    assert roots == {"1", "2", "post_layernorm", "visual_projection"}
    late = set(choose_trainable(modified_resnet(), "last:2"))
    assert {n.split(".")[0] for n in late} == {"layer3", "layer4", "attnpool"}
    assert {n.split(".")[0] for n in choose_trainable(embedded(), "last:1")} == {"trunk", "head"}


def test_stages_of_blocks_count_block_by_block() -> None:
    tower = timm_cnn("convnext_atto")
    assert list(blocks(tower))[-1] == "stages.3.blocks.1"
    assert len(blocks(tower)) == 12
    assert "stages.3.downsample.1.weight" in choose_trainable(tower, "last:3")


def test_a_wrapped_tower_keeps_its_projection() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = open_clip_vit()

    assert "visual.proj" in choose_trainable(Wrapped(), "last:1")


def test_what_cannot_be_is_said() -> None:
    for policy in ("some", "last", "last:x", "last:-1", "LAST:1"):
        with pytest.raises(UsageError, match="choose all, head, or last:K"):
            choose_trainable(open_clip_vit(), policy)
    with pytest.raises(UsageError, match="Linear has no blocks to count"):
        choose_trainable(nn.Linear(2, 2), "last:1")


def test_statistics_stay_and_scales_train() -> None:
    tower = embedded()
    norms = [m for m in tower.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [(m.running_mean.clone(), m.running_var.clone()) for m in norms if m.running_mean is not None]  # type: ignore[union-attr]
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        clean = tower.eval()(x)
    release = freeze_statistics(tower)
    found = tower.train()(x)
    torch.testing.assert_close(found, clean)
    found.sum().backward()
    assert all(torch.equal(m.running_mean, mean) for m, (mean, _) in zip(norms, before, strict=True))  # type: ignore[arg-type]
    assert all(m.weight.grad is not None for m in norms)
    release()
    tower.train()(x)
    assert not torch.equal(norms[0].running_mean, before[0][0])  # type: ignore[arg-type]
