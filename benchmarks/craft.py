"""CraFT against a loop like the released one, two generations of each in one run: ``python benchmarks/craft.py``.

open_clip's ViT-B-32 with random weights, 47 class names (those of the textures of DTD), 16 labels per class, 40
candidates per generation, a refinement of 256. Both judge the same candidates on the same image features, and both
train the refinement for one epoch per generation. The baseline encodes every class of every candidate with 77 tokens,
one candidate after the other, and encodes the images anew for every epoch of the refinement; ours reads stored views.

Options: ``--threads N`` (all), ``--generations N`` (2).
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from typing import Any

import numpy as np
import torch

from clipwright.backbones.soft_prompts import SoftPrompts
from clipwright.backbones.text_tower import CausalText, open_clip_text
from clipwright.core.tensors import unit_rows
from clipwright.methods.craft_fit import Network, fitness, head_loss, initial_network, projection_matrix
from clipwright.training.evolution import CSA

NAMES = (  # noqa: SIM905 - 47 words in four lines
    "banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline dotted fibrous flecked "
    "freckled frilly gauzy grid grooved honeycombed interlaced knitted lacelike lined marbled matted meshed paisley "
    "perforated pitted pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained stratified "
    "striped studded swirly veined waffled woven wrinkled zigzagged"
).split()
SHOTS, WEIGHT, DIM = 16, 0.1, 512


class Clock:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, name: str, start: float) -> None:
        """Add what has passed since `start`."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def adam_of(network: Network) -> tuple[list[torch.Tensor], torch.optim.Adam]:
    parts = [part.clone().requires_grad_() for part in network]
    return parts, torch.optim.Adam(parts, lr=1e-3)


def candidates(search: CSA, start: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """(P, m, d)."""
    return start + (torch.from_numpy(search.ask()).float() @ matrix.T).view(-1, *start.shape)


def ours(model: Any, tower: CausalText, problem: dict[str, Any], generations: int) -> tuple[Clock, list[np.ndarray]]:
    """As `CraFT` does it."""
    clock, found = Clock(), []
    search, (net, adam) = CSA(DIM, 0.3, 40, seed=0), adam_of(problem["network"])
    whole = time.perf_counter()
    box = SoftPrompts(tower, NAMES, scale=100.0, device=torch.device("cpu"))
    for turn in range(generations):
        start = time.perf_counter()
        texts = unit_rows(box.prompt_features(candidates(search, problem["start"], problem["matrix"])))
        clock.time("texts", start)
        z = 100 * problem["images"] @ texts.transpose(1, 2)
        values = fitness(z, problem["labels"], Network(*(p.detach() for p in net)), WEIGHT).double().numpy()
        found.append(values)
        search.tell(values)
        mean = problem["start"] + (problem["matrix"] @ torch.from_numpy(search.mean).float()).view_as(problem["start"])
        start = time.perf_counter()
        text = unit_rows(box.prompt_features(mean[None])[0])
        clock.time("texts", start)
        z = 100 * problem["views"][turn % len(problem["views"])] @ text.T
        for first in range(0, len(z), 256):
            loss = head_loss(z[first : first + 256], problem["labels"][first : first + 256], Network(*net), WEIGHT)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            adam.step()
    clock.time("whole", whole)
    return clock, found


def theirs(
    model: Any, tokens: torch.Tensor, problem: dict[str, Any], generations: int
) -> tuple[Clock, list[np.ndarray]]:
    """As the released code does it."""
    loop = import_module("baselines.craft").Released(model, tokens, 4, problem["labels"], WEIGHT)
    clock, found = Clock(), []
    search, (net, adam) = CSA(DIM, 0.3, 40, seed=0), adam_of(problem["network"])
    whole = time.perf_counter()
    for turn in range(generations):
        contexts = candidates(search, problem["start"], problem["matrix"])
        values = loop.fitness(contexts, problem["images"], [p.detach() for p in net]).double().numpy()
        found.append(values)
        search.tell(values)
        mean = problem["start"] + (problem["matrix"] @ torch.from_numpy(search.mean).float()).view_as(problem["start"])
        loop.epoch(mean, problem["pixels"][turn % len(problem["pixels"])], net, adam)
    clock.time("whole", whole)
    clock.seconds["texts"] = loop.text_seconds
    return clock, found


def main() -> None:
    import open_clip

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--generations", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32", load_weights=False).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    tower = open_clip_text(model, tokenizer, 512)
    assert isinstance(tower, CausalText)
    n = SHOTS * len(NAMES)
    pixels = [torch.randn(n, 3, 224, 224) for _ in range(options.generations)]
    with torch.inference_mode():
        views = [unit_rows(torch.cat([model.encode_image(part) for part in torch.split(each, 64)])) for each in pixels]
    start = SoftPrompts(tower, NAMES, scale=100.0, device=torch.device("cpu")).context()
    std = float(start.square().mean().sqrt()) / DIM**0.5
    problem = {
        "images": views[0],
        "views": views,
        "pixels": pixels,
        "labels": torch.arange(n) // SHOTS,
        "start": start,
        "matrix": projection_matrix(start.numel(), DIM, std=std, seed=0).float(),
        "network": initial_network(tuple(NAMES), 256, seed=0, random_output=False, dtype=torch.float32),
    }
    tokens = tokenizer([f"a photo of a {name}." for name in NAMES])
    ours(model, tower, problem, 1)  # warms up
    mine, my_values = ours(model, tower, problem, options.generations)
    base, base_values = theirs(model, tokens, problem, options.generations)
    print(f"{options.threads} threads, {len(NAMES)} classes, {n} images, {options.generations} generations")
    for name in ("whole", "texts"):
        a, b = base.seconds[name], mine.seconds[name]
        print(f"{name}: released style {a:.1f} s, ours {b:.2f} s, {a / b:.1f} times faster")
    gaps = [float(np.abs(a - b).max()) for a, b in zip(my_values, base_values, strict=True)]
    print("largest difference of a candidate's fitness, by generation:", ", ".join(f"{gap:.1e}" for gap in gaps))


if __name__ == "__main__":
    main()
