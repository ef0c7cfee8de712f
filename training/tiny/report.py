"""The figures of the model card: `python -m training.tiny.report FOLDER... [--test] [--json FILE]`.

FOLDER is what `python -m training.tiny --out FOLDER` wrote. Without --test nothing but development parts and wordings
kept for development is looked at; with it, the test parts and the knowledge files' own wordings: once, for the seed
that is already chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch.nn import functional
from training.tiny import development, lexicon, model
from training.tiny.evaluate import image_features, images_per_second, pixels, text_features

from clipwright.assets import datasets
from clipwright.assets.datasets import EmbeddedData
from clipwright.assets.renderer import atlas, compose, outlines, scenes
from clipwright.core.intervals import paired_difference
from clipwright.core.rng import generator

_SEED = 977  # of rendered test images; training uses others
_COUNT = 2000


def _hits(image: torch.Tensor, text: torch.Tensor, label: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 for each image whose class text is nearest."""
    return np.asarray((image @ text.T).argmax(1).numpy() == label, dtype=np.float64)


def zero_shot(clip: Any, data: EmbeddedData, split: str) -> dict[str, Any]:
    """Accuracy of templates one by one and averaged, and of the paired difference.

    Args:
        clip: The CLIP in evaluation mode.
        data: An embedded data set.
        split: "train" or "test".

    Returns:
        "first", "mean of singles", "ensemble", and "gain" with its 95 % interval over images.
    """
    templates = datasets.knowledge(data.name).templates
    rows = data.rows(split)
    image, label = image_features(clip, data.images[rows]), data.labels[rows]
    texts = [t.format(name) for t in templates for name in data.class_names]
    features = text_features(clip, model.tokenizer(), texts).reshape(len(templates), len(data.class_names), -1)
    singles = np.stack([_hits(image, f, label) for f in features])
    together = _hits(image, functional.normalize(features.mean(0), dim=-1), label)
    gain = paired_difference(together, singles.mean(0))
    return {
        "first": singles[0].mean(),
        "mean of singles": singles.mean(),
        "worst single": singles.mean(1).min(),
        "ensemble": together.mean(),
        "gain": [gain.mean, gain.low, gain.high],
    }


def wordings(clip: Any, data: EmbeddedData, split: str) -> dict[str, float]:
    """Accuracy by the knowledge file's wordings, none of which a caption contains.

    Returns:
        "paraphrases": mean accuracy of the 1st, 2nd, ... paraphrase of every class. "attributes": a class is the mean
        of its attributes' features, its name nowhere.
    """
    known = datasets.knowledge(data.name)
    rows = data.rows(split)
    image, label = image_features(clip, data.images[rows]), data.labels[rows]
    head = "shape" if data.class_names[0] not in (*lexicon.DIGIT_WORDS, *atlas.LETTERS) else "character"
    head = "digit" if data.class_names[0] in lexicon.DIGIT_WORDS else head

    def encoded(texts: list[str]) -> torch.Tensor:
        return text_features(clip, model.tokenizer(), texts)

    count = min(len(known.paraphrases[name]) for name in data.class_names)
    said = [encoded([known.paraphrases[name][i] for name in data.class_names]) for i in range(count)]
    seen = [encoded([f"a {head} with {a}" for a in known.attributes[name]]).mean(0) for name in data.class_names]
    return {
        "paraphrases": float(np.mean([_hits(image, s, label).mean() for s in said])),
        "attributes": float(_hits(image, functional.normalize(torch.stack(seen), dim=-1), label).mean()),
        "chance": 1 / len(data.class_names),
    }


def probe(clip: Any, data: EmbeddedData, split: str, shots: tuple[int, ...], draws: int = 5) -> dict[str, float]:
    """Logistic regression on image features and on pixels, a few labels per class.

    Args:
        clip: The CLIP in evaluation mode.
        data: An embedded data set.
        split: Scored part; labels come from it too when it is "train" (the rest is scored), else from "train".
        shots: Labels per class.
        draws: Random supports; the mean is returned.

    Returns:
        Accuracy for "features 1", ... and, for digits (shapes vary too much in place), "pixels 1", ...
    """
    inputs = {"features": image_features(clip, data.images).numpy()}
    if data.name == "digits":
        inputs["pixels"] = pixels(data.images)[:, 0].flatten(1).numpy()
    train, scored = data.rows("train"), data.rows(split)
    found: dict[str, list[float]] = {}
    for draw in range(draws):
        order = generator(draw, "probe", data.name).permutation(train)
        for count in shots:
            support = np.concatenate([order[data.labels[order] == c][:count] for c in range(len(data.class_names))])
            rest = np.setdiff1d(scored, support)
            for name, x in inputs.items():
                machine = LogisticRegression(C=30.0 if name == "features" else 1.0, max_iter=1000)
                machine.fit(x[support], data.labels[support])
                found.setdefault(f"{name} {count}", []).append(machine.score(x[rest], data.labels[rest]))
    return {name: float(np.mean(values)) for name, values in found.items()}


def attributes(clip: Any) -> dict[str, float]:
    """Zero-shot accuracy of each field of a scene on fresh images of the training style."""
    masks = atlas.build(_SEED, hands=4)
    batch = scenes.sample(masks, _COUNT, seed=_SEED, step=0, handwriting=0.02)
    image = image_features(clip, compose.to_uint8(compose.Renderer(masks, _SEED)(batch, 0)))
    nouns = [f"a photo of {'the' if i < 36 else 'a'} {_full(name)}." for i, name in enumerate(atlas.NOUNS)]
    shape = batch.table[:, 0] >= 36
    asked: dict[str, tuple[list[str], NDArray[np.bool_]]] = {
        "noun": (nouns, np.ones(_COUNT, dtype=np.bool_)),
        "colour": ([f"a photo of a {c} shape." for c in scenes.COLOURS], shape),
        "background": ([f"a photo of a shape on a {c} background." for c in scenes.COLOURS], shape),
        "texture": ([f"a photo of a {t} shape." for t in scenes.TEXTURES], shape),
        "weight": ([f"a photo of a {w} character." for w in ("thin", "bold")], ~shape & (batch.table[:, 6] != 1)),
        "size": ([f"a photo of a {s} shape." for s in ("small", "large")], shape & (batch.table[:, 5] != 1)),
        "quality": ([f"a {q} photo of a shape." for q in scenes.QUALITIES], shape),
    }
    result = {}
    for name, (texts, rows) in asked.items():
        label = batch.table[rows, scenes.FIELDS.index(name)]
        label = label // 2 if len(texts) == 2 else label
        result[f"{name} ({len(texts)})"] = float(
            _hits(image[torch.from_numpy(rows)], text_features(clip, model.tokenizer(), texts), label).mean()
        )
    return result


def _full(noun: str) -> str:
    if noun in atlas.DIGITS:
        return f"digit {lexicon.DIGIT_WORDS[int(noun)]}"
    return f"capital letter {noun}" if noun in atlas.LETTERS else noun


def pairs(clip: Any, *, held_out: bool) -> float:
    """Zero-shot accuracy among all 168 pairs of colour and shape, on pairs drawn in training or never drawn.

    Args:
        clip: The CLIP in evaluation mode.
        held_out: Which of the two.
    """
    masks = atlas.build(_SEED, hands=1)
    first = len(atlas.DIGITS) + len(atlas.LETTERS)
    colour, noun = np.meshgrid(np.arange(len(scenes.COLOURS)), np.arange(first, len(atlas.NOUNS)))
    chosen = np.flatnonzero(scenes.held_out(colour, noun).ravel() == held_out)
    rng = generator(_SEED, "pairs", int(held_out))
    label = rng.choice(chosen, size=_COUNT)
    shown = noun.ravel()[label]
    table = scenes.sample(masks, _COUNT, seed=_SEED, step=1).table.copy()
    table[:, 0], table[:, 1], table[:, 2], table[:, 4] = shown, 0, colour.ravel()[label], 0
    table[:, 6], table[:, 7] = 1, 0
    black, white = 10, 9
    # Black or white, whichever is not the object's own colour or near it.
    table[:, 3] = np.where(np.isin(table[:, 2], (3, 6, 8, 9)), black, white)
    mask = np.array([np.flatnonzero(masks.noun == n)[0] for n in shown])
    image = image_features(clip, compose.to_uint8(compose.Renderer(masks, _SEED)(scenes.Scenes(mask, table), 1)))
    names = [f"a photo of a {c} {s}." for s in outlines.SHAPES for c in scenes.COLOURS]
    return float(_hits(image, text_features(clip, model.tokenizer(), names), label).mean())


def figures(folder: Path, split: str) -> dict[str, Any]:
    """Everything that is reported of one run.

    Args:
        folder: What the run wrote.
        split: "train" (development) or "test".
    """
    clip = model.load(folder)
    found: dict[str, Any] = {"part": "test" if split == "test" else "development"}
    for name in datasets.names():
        data = datasets.load(name)
        found[name] = zero_shot(clip, data, split)
        if split == "test":
            found[name] |= wordings(clip, data, split)
        else:
            found[name] |= development.look(clip, model.tokenizer(), data)
        found[name]["probe"] = probe(clip, data, split, (1, 2, 4, 8, 16) if name == "digits" else (1, 4))
    found["fresh images"] = attributes(clip)
    found["pairs drawn in training"], found["pairs never drawn"] = (
        pairs(clip, held_out=False),
        pairs(clip, held_out=True),
    )
    found["images per second"] = round(images_per_second(clip))
    found["parameters"] = sum(p.numel() for p in clip.parameters())
    found["logit scale"] = clip.logit_scale.exp().item()
    return found


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny.report", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--test", action="store_true", help="open the test parts (for the model card, once)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {str(f): figures(f, "test" if arguments.test else "train") for f in arguments.folders}
    print(json.dumps(found, indent=1, default=lambda value: round(float(value), 4)))


if __name__ == "__main__":
    main()
