"""What is looked at while choosing: the development parts of the data sets, and wordings that no caption contains."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from training.tiny import lexicon, parts
from training.tiny.evaluate import image_features, text_features

from clipwright.assets.datasets import EmbeddedData
from clipwright.assets.renderer.atlas import NOUNS

SENTENCES: dict[str, tuple[str, ...]] = {
    "digit": (
        *(
            "look at the number {} here",
            "someone drew the digit {} here.",
            "you see: digit {}",
            "the number here is {}.",
        ),
        *("what the image shows is digit {}", "here the digit is {}", "{}, a digit", "a {} written by hand, blurry"),
        *("one photo, one digit: {}", "in the middle there is a {}."),
    ),
    "shape": (
        *(
            "look, the shape here is a {}",
            "someone drew a {} here.",
            "you see: one {}",
            "the form here is that of a {}.",
        ),
        *("what the image shows is a {}", "here the shape is a {}", "{}, a shape", "a {} drawn by hand"),
        *("one photo, one shape: {}", "in the middle there is a {}."),
    ),
}
"""Sentences around a name that the grammar can't write."""


def noun(data: EmbeddedData, name: str) -> str:
    """The noun of the renderer that a class is, or "" where it isn't one."""
    name = str(lexicon.DIGIT_WORDS.index(name)) if name in lexicon.DIGIT_WORDS else name
    return name if name in NOUNS else ""


def _descriptions(name: str) -> tuple[str, ...]:
    """The parts of a noun in wordings never trained on, without its name."""
    head = ("digit", "letter", "shape")[lexicon.kind_of(name)]
    truth = parts.truth()[NOUNS.index(name)]
    wordings = [w for part in (truth == 1).nonzero()[0].tolist() for w in parts.unseen(part)]
    return tuple(f"a {head} with {wording}" for wording in wordings)


@torch.inference_mode()
def look(model: Any, tokenizer: Any, data: EmbeddedData, split: str = "train") -> dict[str, float]:
    """Zero-shot accuracy by unseen sentences and by unseen descriptions, in [0, 1].

    Args:
        model: The CLIP in evaluation mode.
        tokenizer: Its tokenizer.
        data: A data set of digits, letters or shapes.
        split: The part to score.

    Returns:
        "sentences" (mean over them), "synonyms" (of shapes) and "parts" (a class is the mean of its parts' features);
        nothing for other sets.
    """
    nouns = [noun(data, name) for name in data.class_names]
    if not all(nouns):
        return {}
    rows = data.rows(split)
    image, label = image_features(model, data.images[rows]), torch.from_numpy(data.labels[rows])
    found = {}
    kind = ("digit", "letter", "shape")[lexicon.kind_of(nouns[0])]
    if kind in SENTENCES:
        hits = []
        for sentence in SENTENCES[kind]:
            text = text_features(model, tokenizer, [sentence.format(name) for name in data.class_names])
            hits.append(((image @ text.T).argmax(1) == label).float().mean().item())
        found["sentences"] = sum(hits) / len(hits)
    if kind == "shape":
        text = text_features(model, tokenizer, [f"a photo of a {lexicon.UNSEEN_SYNONYMS[name]}." for name in nouns])
        found["synonyms"] = ((image @ text.T).argmax(1) == label).float().mean().item()
    rowsof = [text_features(model, tokenizer, _descriptions(name)).mean(0) for name in nouns]
    scores = image @ functional.normalize(torch.stack(rowsof), dim=-1).T
    found["parts"] = (scores.argmax(1) == label).float().mean().item()
    return found
