"""Text features against ``encode_text`` at the full context: ``python benchmarks/texts.py [options]``.

The same model with random weights, texts, threads, precision and inference mode; tokenizing counts on both sides; the
baseline runs at the batch size that is fastest for it. Equality is checked on all features.

Options: ``--architecture NAME`` (ViT-B-32), ``--classes N`` (1000), ``--threads N``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

from clipwright.backbones.text_tower import encode_texts, open_clip_text
from clipwright.texts import render

sys.path.insert(0, str(Path(__file__).parent.parent))


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds; the second tells more where others use the machine."""

    wall: float
    cpu: float


def timed(work: Callable[[], torch.Tensor]) -> tuple[Cost, torch.Tensor]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu), result


def sensible_batch(encode: Callable[..., torch.Tensor], prompts: list[str]) -> int:
    """The batch size with which the baseline is fastest on some of the prompts."""
    encode(prompts[:8], batch_size=8)
    costs = {size: timed(partial(encode, prompts[:64], batch_size=size))[0].cpu for size in (8, 16, 32, 64)}
    best = min(costs, key=lambda size: costs[size])
    return 256 if best == max(costs) else best


def main() -> None:
    from benchmarks.baselines.texts import encode

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model: Any = open_clip.create_model(options.architecture, load_weights=False).eval().requires_grad_(False)
    tokenizer = open_clip.get_tokenizer(options.architecture)
    names = list(dict.fromkeys([*IMAGENET_CLASSNAMES, "okapi", "narwhal"]))[: options.classes]  # two names repeat
    prompts = [prompt.text for prompt in render(None, names)]
    tower = open_clip_text(model, tokenizer, int(model.text_projection.shape[1]))
    ours_of = partial(encode_texts, tower, device=torch.device("cpu"))

    batch = sensible_batch(partial(encode, model, tokenizer), prompts)
    with torch.inference_mode():
        ours_of(prompts[:8])  # warm up
        ours, found = timed(partial(ours_of, prompts))
    theirs, wanted = timed(partial(encode, model, tokenizer, prompts, batch_size=batch))
    difference = float((found - wanted).abs().max())

    context = tokenizer.context_length
    print(f"{options.architecture}, random weights, {len(prompts)} class prompts, {options.threads} threads, fp32")
    print(f"encode_text at {context} tokens, batch {batch}: {theirs.wall:.2f} s, cpu {theirs.cpu:.2f} s")
    print(f"clipwright: {ours.wall:.2f} s, cpu {ours.cpu:.2f} s")
    print(f"faster by: wall {theirs.wall / ours.wall:.2f}, cpu {theirs.cpu / ours.cpu:.2f} (wanted: at least 4)")
    print(
        f"largest difference: {difference:.2g} (wanted: at most 1e-5; features up to {float(wanted.abs().max()):.2g})"
    )


if __name__ == "__main__":
    main()
