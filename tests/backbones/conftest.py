"""Small real models: open_clip architectures with random weights, and transformers models built from configs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clipwright.backbones.loaded import TowerBackbone

SMALL_TEXT: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
SMALL_VIT: dict[str, Any] = {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "small-vit": {"embed_dim": 32, "vision_cfg": SMALL_VIT, "text_cfg": SMALL_TEXT},
    "small-resnet": {
        "embed_dim": 32,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64},
        "text_cfg": SMALL_TEXT,
    },
    "small-timm": {
        "embed_dim": 32,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_proj_bias": True,
            "image_size": 160,
        },
        "text_cfg": SMALL_TEXT,
    },
    # As SigLIP is in open_clip: no causal mask, the last position is pooled, no projection of the image.
    "small-whole": {
        "embed_dim": 64,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            "timm_model_name": "test_vit",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "none",
            "image_size": 160,
        },
        "text_cfg": {
            **SMALL_TEXT,
            "context_length": 16,
            "no_causal_mask": True,
            "pool_type": "last",
            "proj_bias": True,
        },
    },
    "small-custom-eos": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": SMALL_VIT,
        "text_cfg": {**SMALL_TEXT, "pool_type": "eos", "eos_id": 49407},
    },
    "small-coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": {**SMALL_VIT, "attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True},
        "text_cfg": {**SMALL_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    },
}
TEXTS = [
    "a photo of a cat.",
    "dog",
    "",
    "a photo of a cat.",
    "an unusually long description of a very small grey bird that sits on a branch and sings, early in the morning",
]


@pytest.fixture(scope="session")
def small_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """open_clip knows ARCHITECTURES."""
    import open_clip

    folder = tmp_path_factory.mktemp("architectures")
    for name, config in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="session")
def save_weights(
    small_architectures: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Any, Path]]:
    """Makes an architecture with random weights, every one of them, and saves it; gives the model and the file."""
    import open_clip
    from safetensors.torch import save_file

    made: dict[str, tuple[Any, Path]] = {}

    def make(name: str) -> tuple[Any, Path]:
        if name not in made:
            torch.manual_seed(7)
            model = open_clip.create_model(name, load_weights=False, pretrained_text=False)
            for tensor in (*model.parameters(), *model.buffers()):
                if tensor.is_floating_point() and tensor.ndim < 2:  # biases, scales and statistics start as 0 or 1
                    tensor.data.add_(0.1 * torch.rand_like(tensor))
            path = tmp_path_factory.mktemp("weights") / f"{name}.safetensors"
            save_file({k: v.contiguous().clone() for k, v in model.state_dict().items()}, path)
            made[name] = (model.eval(), path)
        return made[name]

    return make


@pytest.fixture
def photo() -> Image.Image:
    """An RGB image of odd size with structure at all scales."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:211, 0:317]
    waves = np.stack([np.sin(x / 9 + y / 31), np.cos(x * y / 4000), np.sin(y / 5)], -1) * 90 + 128
    return Image.fromarray(np.clip(waves + rng.normal(0, 12, waves.shape), 0, 255).astype(np.uint8), "RGB")


def library_input(backbone: TowerBackbone, pixels: torch.Tensor) -> torch.Tensor:
    """What the libraries' own transforms give from uint8 pixels: ToTensor, then Normalize."""
    from torchvision.transforms import Normalize

    normalize = Normalize(backbone.preprocess.mean, backbone.preprocess.std)
    result: torch.Tensor = normalize(pixels.float() / 255)
    return result


def pixels_for(backbone: TowerBackbone, rows: int = 3) -> torch.Tensor:
    """Random pixels of the size that a backbone wants."""
    height, width = backbone.preprocess.size
    return torch.randint(0, 256, (rows, 3, height, width), dtype=torch.uint8, generator=torch.manual_seed(1))
