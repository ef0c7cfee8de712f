"""A bank of 20,000 texts encoded together against one by one: ``python benchmarks/bank_texts.py [options]``.

What CODER reads of 400 classes: names, attributes, look-alikes, synonyms and one-vs-one sentences, 20,000 texts of 3 to
30 words, a few of them the same. clipwright encodes each different text once, sorted by length, cut after the last end
token; the released code encodes one text at a time at the full context, as does the baseline here, in inference mode.
300 random texts of it are timed and scaled. Tokenizing counts on both sides; the features of the 300 are compared.

Options: ``--model NAME`` (tiny; an open_clip architecture, such as ViT-B-32, gets random weights), ``--texts N``,
``--threads N`` (1).
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

from clipwright.backbones.resolving import resolve
from clipwright.backbones.text_tower import CausalText, TextTower, encode_texts, open_clip_text
from clipwright.texts.waffle import WORDS

SAMPLE, CLASSES = 300, 400


def bank(count: int, seed: int = 0) -> list[str]:
    """Sentences about classes, made of common words, as long as those of real banks."""
    rng = np.random.default_rng(seed)
    names = list(dict.fromkeys(IMAGENET_CLASSNAMES))[:CLASSES]

    def phrase(low: int, high: int) -> str:
        return " ".join(WORDS[int(i)] for i in rng.integers(len(WORDS), size=rng.integers(low, high + 1)))

    texts = [f"a photo of {name}" for name in names]
    while len(texts) < count:
        name, other = (names[int(i)] for i in rng.integers(len(names), size=2))
        said = phrase(1, 8)
        texts += [
            f"{name} which has {said}",
            f"a {name} similar to {other}.",
            f"a photo of {phrase(1, 2)}",
            f"{name} differs from {other} because of {said}.",
            f"the way in which {name} shows {said} sets it apart from {other}, which has none of it.",
        ]
    return [texts[int(i)] for i in rng.permutation(len(texts))[:count]]


def towers(name: str) -> tuple[TextTower, Any, Any]:
    """Our text tower, and the model and tokenizer of the same weights for the baseline."""
    if name == "tiny":
        tower: Any = resolve("tiny").load()
        text = tower.text_tower
        assert isinstance(text, CausalText)
        return text, text.parts, text.tokenize
    torch.manual_seed(0)
    model: Any = open_clip.create_model(name, load_weights=False).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer(name)
    return open_clip_text(model, tokenizer, int(model.text_projection.shape[1])), model, tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    one_by_one = import_module("baselines.texts").one_by_one
    texts = bank(options.texts)
    tower, model, tokenizer = towers(options.model)
    with torch.inference_mode():
        encode_texts(tower, texts[:8], device=torch.device("cpu"))  # warm up
        start = time.perf_counter()
        found = encode_texts(tower, texts, device=torch.device("cpu"))
        ours = time.perf_counter() - start
    rows = np.random.default_rng(1).permutation(len(texts))[:SAMPLE].tolist()
    one_by_one(model, tokenizer, texts[:4])
    start = time.perf_counter()
    wanted = one_by_one(model, tokenizer, [texts[row] for row in rows])
    theirs = (time.perf_counter() - start) / len(rows) * len(texts)
    gap = float((found[rows] - wanted).abs().max())
    unique = len(set(texts))
    print(f"{options.model}: {len(texts)} texts, {unique} different, {options.threads} thread(s), float32")
    print(
        f"together: {ours:.1f} s; one by one: {theirs:.1f} s, scaled from {len(rows)}: {theirs / ours:.1f} times ours"
    )
    print(f"largest difference on the {len(rows)}: {gap:.1e} (features up to {float(wanted.abs().max()):.2g})")


if __name__ == "__main__":
    main()
