"""The model that is trained: open_clip's CLIP with the image tower of the package, and the cut tokenizer."""

from __future__ import annotations

import copy
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file
from training.tiny.merges import cut

from clipwright.assets.tiny import architecture
from clipwright.backbones.text_tower import CausalText

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "timm_model_name": architecture.NAME,
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "linear",
            "image_size": 32,
        },
        "text_cfg": {"context_length": 36, "vocab_size": 6144, "width": 128, "heads": 4, "layers": 3},
    },
    "preprocess_cfg": {
        "size": 32,
        "mode": "RGB",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "squash",
        "fill_color": 0,
    },
}
"""What `open_clip_config.json` will hold."""


def config_text() -> str:
    """The configuration as the file that open_clip reads."""
    return json.dumps(CONFIG, indent=2) + "\n"


def build() -> open_clip.CLIP:
    """The model with random weights, in float32 and training mode."""
    architecture.register()
    return open_clip.CLIP(**copy.deepcopy(CONFIG["model_cfg"]))


@cache
def tokenizer() -> Any:
    """CLIP's tokenizer with the first merges only: texts -> (n, context) int64 tokens."""
    text = CONFIG["model_cfg"]["text_cfg"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bpe_merges.txt.gz"
        path.write_bytes(cut(text["vocab_size"]))
        return SimpleTokenizer(bpe_path=str(path), context_length=text["context_length"])


def load(folder: Path) -> open_clip.CLIP:
    """A trained model from the folder that a run wrote, in evaluation mode."""
    made = build()
    made.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    return made.eval().requires_grad_(False)


def encode(model: Any, tokens: torch.Tensor, *, groups: int = 4) -> torch.Tensor:
    """Text features (n, 128) of the model, with gradients: sorted by length and cut, which a causal tower can't see.

    Args:
        model: The CLIP.
        tokens: (n, context) tokens.
        groups: Batches of like length to make.
    """
    width = CONFIG["model_cfg"]["embed_dim"]
    tower = CausalText(tokenizer(), model, "argmax", 0, width)
    lengths = tower.lengths(tokens)
    order = torch.argsort(lengths, stable=True)
    pieces = [tower.encode(tokens[rows, : int(lengths[rows].max())]) for rows in order.chunk(groups)]
    return torch.cat(pieces)[torch.argsort(order)]
