"""One training step of RegFT against the plain loop: ``python benchmarks/tower_step.py [options]``.

The image tower of an open_clip model with random weights, a batch of random pixels, cross-entropy, variance and
covariance. Compared in one run, with the same weights, batch and threads: `baselines/tower_step.py`; ours with the
whole batch at a time; ours with micro-batches, which embeds every image twice and holds the activations of a few.
Losses and weights after the steps are compared too.

On a GPU the steps run in bfloat16, and what the tower's multiplications come to is set against the rate of one large
matrix product.

Options: ``--device D`` (cpu), ``--architecture NAME`` (ViT-B-32), ``--batch B`` (64), ``--micro B`` (16), ``--steps N``
(1 on a CPU, 20 on a GPU; after one that isn't counted), ``--threads N`` (1).
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import torch
from torch import nn

from clipwright.core.memory import PeakMemory
from clipwright.methods.regft_fit import CosineClassifier
from clipwright.training.full_batch import Stream
from clipwright.training.regularisers import covariance_loss, variance_loss
from clipwright.training.towers import Batch, adamw, train_tower

CLASSES, RATE = 100, 3e-5
WEIGHTS = {"variance": 0.16, "covariance": 0.02}

Stepper = Callable[[int], float]  # number of steps to the last loss


def made(options: argparse.Namespace) -> tuple[nn.Module, nn.Module, torch.Tensor, torch.Tensor]:
    """Tower, classifier, pixels and labels."""
    import open_clip

    torch.manual_seed(0)
    tower = open_clip.create_model(options.architecture, load_weights=False, pretrained_text=False).visual.float()
    side = tower.image_size if isinstance(tower.image_size, int) else tower.image_size[0]
    pixels = torch.randn(options.batch, 3, side, side)
    with torch.no_grad():
        dim = tower(pixels[:1]).shape[1]
    head = CosineClassifier(100 * nn.functional.normalize(torch.randn(CLASSES, dim), dim=1))
    labels = torch.arange(options.batch) % CLASSES
    device = options.device
    return tower.to(device), head.to(device), pixels.to(device), labels.to(device)


def ours(
    tower: nn.Module, head: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, micro: int | None
) -> tuple[dict[str, nn.Module], Stepper]:
    modules = {"tower": copy.deepcopy(tower), "head": copy.deepcopy(head)}
    optimizer = adamw(modules)

    def load(batch: Batch) -> Sequence[Stream]:
        return [Stream(modules["tower"], pixels[batch.rows.to(pixels.device)])]

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        x = embeddings[0]
        parts = {"cross_entropy": nn.functional.cross_entropy(modules["head"](x), labels)}
        return parts | {"variance": variance_loss(x), "covariance": covariance_loss(x)}

    def run(steps: int) -> float:
        rows = torch.arange(len(pixels))
        log = train_tower(
            modules,
            load,
            loss,
            batches=lambda _: [rows] * steps,
            rates=[RATE] * steps,
            optimizer=optimizer,
            weights=WEIGHTS,
            micro_batch_size=micro,
            quiet=True,
        )
        return float(log[-1]["loss"])

    return modules, run


def plain(
    tower: nn.Module, head: nn.Module, pixels: torch.Tensor, labels: torch.Tensor
) -> tuple[dict[str, nn.Module], Stepper]:
    step = import_module("baselines.tower_step").step
    modules = {"tower": copy.deepcopy(tower).train(), "head": copy.deepcopy(head)}
    parameters = [p for module in modules.values() for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.1)

    def run(steps: int) -> float:
        losses = [
            step(modules["tower"], modules["head"], optimizer, pixels, labels, bf16=pixels.device.type == "cuda")
            for _ in range(steps)
        ]
        return float(sum(losses) / len(losses))

    return modules, run


def held() -> float:
    """Resident memory of this process in MiB, once what was freed is given back."""
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with PeakMemory() as now:
        pass
    return now.mib or float("nan")


def timed(run: Stepper, steps: int, device: str) -> tuple[float, float, float]:
    """Seconds per step, the loss, and the most memory in MiB: of the GPU, else what the process took in addition."""
    on_gpu = device != "cpu"
    clock = time.perf_counter if on_gpu else time.process_time
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = held()
    with PeakMemory() as peak:
        start = clock()
        loss = run(steps)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (clock() - start) / steps
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else (peak.mib or float("nan")) - before
    return seconds, loss, memory


def multiplications(tower: nn.Module, pixels: torch.Tensor) -> float:
    """Floating-point operations of a training step: three times those of a forward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tower(pixels[:1])
    return float(3 * counter.get_total_flops() * len(pixels))


def matmul_rate(device: str, n: int = 8192, repeats: int = 20) -> float:
    """Operations per second of a large bfloat16 product."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    a @ b
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize()
    return repeats * 2 * n**3 / (time.perf_counter() - start)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--architecture", default="ViT-B-32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--micro", type=int, default=16)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    steps = options.steps or (1 if options.device == "cpu" else 20)
    tower, head, pixels, labels = made(options)
    ways: dict[str, Callable[[], Any]] = {
        "plain loop": lambda: plain(tower, head, pixels, labels),
        "ours": lambda: ours(tower, head, pixels, labels, None),
        f"ours, {options.micro} at a time": lambda: ours(tower, head, pixels, labels, options.micro),
    }
    plain(tower, head, pixels[:4], labels[:4])[1](1)  # sets up torch's kernels
    found: dict[str, tuple[float, float, float]] = {}
    ends: dict[str, torch.Tensor] = {}
    for name, make in ways.items():
        modules, run = make()
        if options.device != "cpu":
            run(1)
        found[name] = timed(run, steps, options.device)
        ends[name] = torch.cat([p.detach().flatten().cpu() for p in modules["tower"].parameters()])
        del modules, run  # the next one's memory is its own
    first, where = next(iter(found)), f"{options.architecture}, {options.batch} images, {options.device}"
    print(f"{where}, {options.threads} threads, {steps} steps, torch {torch.__version__}")
    for name, (seconds, loss, memory) in found.items():
        apart = float((ends[name] - ends[first]).abs().max())
        print(
            f"{name:24}{seconds:9.3f} s per step{len(pixels) / seconds:9.1f} images/s{found[first][0] / seconds:7.2f} "
            f"times the plain loop's speed{memory:9.0f} MiB   loss {loss:.5f}   weights apart {apart:.1e}"
        )
    if options.device != "cpu":
        rate = multiplications(tower, pixels) / found["ours"][0]
        print(f"{rate / 1e12:.0f} TFLOP/s, {100 * rate / matmul_rate(options.device):.0f} % of a large product's rate")


if __name__ == "__main__":
    main()
