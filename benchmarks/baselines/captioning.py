"""Captions one image at a time with transformers alone, as published captioning scripts do it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image


def load(folder: Path) -> tuple[Any, Any]:
    """Model and processor."""
    import transformers

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True).eval()
    return model, transformers.AutoProcessor.from_pretrained(folder)


def caption(loaded: tuple[Any, Any], paths: Sequence[Path], prompt: str, side: int, tokens: int) -> list[str]:
    """Greedy captions of images squashed to `side` pixels; the prompt is put into the chat template once."""
    model, processor = loaded
    parts = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
    found = []
    with torch.inference_mode():
        for path in paths:
            with Image.open(path) as image:
                picture = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            inputs = processor(images=picture, text=text, return_tensors="pt")
            out = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=tokens)
            words = processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            found.append(" ".join(words.split()))
    return found
