"""Write what the package ships: weights, configuration, merges, and the answers they must give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from training.tiny.evaluate import pixels
from training.tiny.merges import cut
from training.tiny.model import CONFIG, config_text

TEXTS = (
    "a photo of the handwritten digit seven.",
    "a small red star on a white background",
    "the letter Q",
    "zebra",
)
TOLERANCE = 1e-5


def ramps() -> NDArray[np.uint8]:
    """Two images made by a formula, 8x + y + 40c modulo 256 and its negative: (2, 32, 32, 3) uint8."""
    y, x, channel = np.indices((32, 32, 3))
    ramp = ((8 * x + y + 40 * channel) % 256).astype(np.uint8)
    return np.stack([ramp, 255 - ramp])


@torch.inference_mode()
def answers(model: Any, tokenizer: Any) -> dict[str, Any]:
    """What the model says to fixed inputs.

    Args:
        model: The CLIP in evaluation mode and float32.
        tokenizer: Its tokenizer.

    Returns:
        Inputs and, per input, the first eight numbers of its raw features and their norm.
    """

    def brief(features: torch.Tensor) -> list[dict[str, Any]]:
        return [{"first": [round(v, 6) for v in f[:8].tolist()], "norm": round(f.norm().item(), 6)} for f in features]

    images = pixels(ramps())
    trunk = model.visual.trunk(images)
    return {
        "format": 1,
        "tolerance": TOLERANCE,
        "images": "32x32 RGB, pixel (8*x + y + 40*channel) mod 256 at column x, row y; the second is 255 minus it",
        "texts": list(TEXTS),
        "tokens": tokenizer(list(TEXTS)).tolist(),
        "pre_projection": brief(trunk),
        "image_features": brief(model.visual.head(trunk)),
        "text_features": brief(model.encode_text(tokenizer(list(TEXTS)))),
        "logit_scale": round(model.logit_scale.exp().item(), 6),
    }


def half(model: Any) -> dict[str, torch.Tensor]:
    """The model's state with floating tensors in float16.

    Raises:
        ValueError: A number is too large for float16.
    """
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    bad = [k for k, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        msg = f"These don't fit float16: {', '.join(bad)}"
        raise ValueError(msg)
    return state


def export(model: Any, tokenizer: Any, folder: Path) -> None:
    """Round the model to float16 and write it with its configuration, merges and known answers.

    Args:
        model: The trained CLIP; rounded in place and left in evaluation mode.
        tokenizer: Its tokenizer.
        folder: Made if missing; files are overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = half(model)
    save_file(state, folder / "open_clip_model.safetensors")
    model.load_state_dict(state)
    model.eval()
    (folder / "bpe_merges.txt.gz").write_bytes(cut(CONFIG["model_cfg"]["text_cfg"]["vocab_size"]))
    (folder / "open_clip_config.json").write_text(config_text(), encoding="utf-8")
    text = json.dumps(answers(model, tokenizer), indent=1)
    (folder / "known_answers.json").write_text(text + "\n", encoding="utf-8")
