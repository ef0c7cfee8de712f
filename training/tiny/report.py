"""The figures of the model card: `python -m training.tiny.report [--test]` measures the committed model."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch.nn import functional
from training.tiny.captions import DIGIT_WORDS
from training.tiny.evaluate import images_per_second, pixels, text_classifier, zero_shot

from clipwright.assets import datasets, tiny
from clipwright.assets.datasets import EmbeddedData
from clipwright.assets.renderer import atlas, compose, outlines, scenes
from clipwright.core.rng import generator

_SEED = 977  # of rendered test images; training uses others
_COUNT = 2000


@torch.inference_mode()
def features(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Normalised image features (n, 128)."""
    return torch.cat([functional.normalize(model.encode_image(part), dim=-1) for part in torch.split(images, 256)])


def probe(model: Any, data: EmbeddedData, split: str, shots: tuple[int, ...], draws: int = 5) -> dict[str, float]:
    """Logistic regression on image features and on pixels, a few labels per class.

    Args:
        model: The CLIP in evaluation mode.
        data: An embedded data set.
        split: Scored part; labels come from it too when it is "train" (the rest is scored), else from "train".
        shots: Labels per class.
        draws: Random supports; the mean is returned.

    Returns:
        Accuracy for "features 1", ... and, for digits (shapes vary too much in place), "pixels 1", ...
    """
    image = pixels(data.images)
    inputs = {"features": features(model, image).numpy()}
    if data.name == "digits":
        inputs["pixels"] = image[:, 0].flatten(1).numpy()
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


def _accuracy(model: Any, image: torch.Tensor, text: torch.Tensor, label: NDArray[np.int64]) -> float:
    return float(((image @ text.T).argmax(1).numpy() == label).mean())


def attributes(model: Any, tokenizer: Any) -> dict[str, float]:
    """Zero-shot accuracy of each attribute on fresh images of the training style."""
    masks = atlas.build(_SEED, hands=4)
    batch = scenes.sample(masks, _COUNT, seed=_SEED, step=0)
    image = features(model, compose.Renderer(masks, _SEED)(batch, 0).sub(0.5).div(0.5))
    nouns = (*(f"digit {w}" for w in DIGIT_WORDS), *(f"capital letter {c}" for c in atlas.LETTERS), *outlines.SHAPES)
    words: dict[str, tuple[tuple[str, ...], str]] = {
        "noun": (nouns, "a photo of the {}."),
        "colour": (tuple(scenes.COLOURS), "a photo of a {} shape."),
        "background": (tuple(scenes.COLOURS), "a photo of a shape on a {} background."),
        "texture": (scenes.TEXTURES, "a photo of a {} shape."),
    }
    shape = batch.table[:, 0] >= len(atlas.DIGITS) + len(atlas.LETTERS)
    result = {}
    for name, (options, template) in words.items():
        rows = np.flatnonzero(shape) if name != "noun" else np.arange(_COUNT)
        text = text_classifier(model, tokenizer, options, template)
        result[name] = _accuracy(model, image[rows], text, batch.table[rows, scenes.FIELDS.index(name)])
    small_large = np.flatnonzero(batch.table[:, 5] != 1)
    text = text_classifier(model, tokenizer, ("small", "large"), "a photo of a {} shape.")
    result["small or large"] = _accuracy(model, image[small_large], text, batch.table[small_large, 5] // 2)
    return result


def pairs(model: Any, tokenizer: Any, *, held_out: bool) -> float:
    """Zero-shot accuracy among all 168 pairs of colour and shape, on pairs drawn in training or never drawn.

    Args:
        model: The CLIP in evaluation mode.
        tokenizer: Its tokenizer.
        held_out: Which of the two.
    """
    masks = atlas.build(_SEED, hands=1)
    first = len(atlas.DIGITS) + len(atlas.LETTERS)
    colour, noun = np.meshgrid(np.arange(len(scenes.COLOURS)), np.arange(first, len(atlas.NOUNS)))
    chosen = np.flatnonzero(scenes.held_out(colour, noun).ravel() == held_out)
    rng = generator(_SEED, "pairs", int(held_out))
    label = rng.choice(chosen, size=_COUNT)
    shown = noun.ravel()[label]
    batch = scenes.sample(masks, _COUNT, seed=_SEED, step=1)
    table = batch.table.copy()
    table[:, 0], table[:, 1], table[:, 2], table[:, 4] = shown, 0, colour.ravel()[label], 0
    black, white = 10, 9
    # Black or white, whichever is not the object's own colour or near it.
    table[:, 3] = np.where(np.isin(table[:, 2], (3, 6, 8, 9)), black, white)
    mask = np.array([np.flatnonzero(masks.noun == n)[0] for n in shown])
    image = features(model, compose.Renderer(masks, _SEED)(scenes.Scenes(mask, table), 1).sub(0.5).div(0.5))
    names = tuple(f"{c} {s}" for s in outlines.SHAPES for c in scenes.COLOURS)
    return _accuracy(model, image, text_classifier(model, tokenizer, names, "a photo of a {}."), label)


def main() -> None:
    """Print all figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny.report", description=__doc__)
    parser.add_argument("--test", action="store_true", help="open the test parts (for the model card, once)")
    split = "test" if parser.parse_args().test else "train"
    torch.set_num_threads(1)
    model, tokenizer, _ = tiny.load()
    figures: dict[str, Any] = {"split": split}
    for name in datasets.names():
        data = datasets.load(name)
        figures[name] = {"zero-shot": zero_shot(model, tokenizer, data, split)}
        figures[name]["probe"] = probe(model, data, split, (1, 2, 4, 8, 16))
    figures["attributes"] = attributes(model, tokenizer)
    figures["pairs drawn in training"] = pairs(model, tokenizer, held_out=False)
    figures["pairs never drawn"] = pairs(model, tokenizer, held_out=True)
    figures["images per second, one core, batch 256"] = round(images_per_second(model))
    figures["parameters"] = sum(p.numel() for p in model.parameters())
    figures["bytes"] = sum(path.stat().st_size for path in tiny.files().folder.iterdir() if path.is_file())
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
