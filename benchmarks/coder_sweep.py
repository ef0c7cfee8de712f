"""CODER's search of (beta, alpha) against the released 75,000 points: ``python benchmarks/coder_sweep.py``.

M = 1,649 validation rows, N = 1,600 keys, C = 100 classes, D = 512, T = 1,500 texts: made-up unit features around class
centres, from which the texts alone get few rows right and the memory more. The released search looks at 500 betas and
50 alphas in each of three rounds. 200 of its points are evaluated, timed and scaled, in three ways, slowest first: with
the published product, with votes summed by class, and with the votes of a beta computed once for all its alphas (20
betas timed). Ours tries 200 betas and all alphas from 0.1 to 100.

Whether counting intervals gives the counts that evaluating gives is checked on the 200 points in float64; whether the
Gram form gives the affinities of the text cosines, on all of them.

Options: ``--threads N`` (1), ``--repeats N`` (3) of ours, of which the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from clipwright.core.tensors import unit_rows
from clipwright.methods.coder import ALPHAS, ANCHOR, BETAS
from clipwright.methods.coder_few_shot import (
    Held,
    Memory,
    counts_on_grid,
    exact_search,
    gram_root,
    released_search,
)

M, N, C, D, T, POINTS, SAMPLE = 1649, 1600, 100, 512, 1500, 75_000, 200


def problem(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Features as bundles give them, in float32, or the same in float64."""
    made = torch.Generator().manual_seed(0)
    centres = torch.randn(C, D, generator=made)
    common = 3 * torch.randn(1, D, generator=made)  # images of one domain are alike

    def rows(labels: torch.Tensor, noise: float) -> torch.Tensor:
        found = common + centres[labels] + noise * torch.randn(len(labels), D, generator=made)
        return unit_rows(found).to(dtype)

    labels, key_class = torch.randint(0, C, (M,), generator=made), torch.arange(N) // (N // C)
    texts = unit_rows(centres.repeat(T // C, 1) + 6 * torch.randn(T, D, generator=made)).to(dtype)
    weight = unit_rows(centres + 6 * torch.randn(C, D, generator=made)).to(dtype)
    return {
        "x": rows(labels, 4.0), "labels": labels, "keys": rows(key_class, 4.0), "key_class": key_class,
        "weight": weight, "texts": texts,
    }  # fmt: skip


def remember(given: dict[str, torch.Tensor]) -> tuple[Memory, Held]:
    root = gram_root(given["texts"])
    keys = unit_rows(given["keys"] @ root.T)
    memory = Memory(given["weight"], root, keys, given["key_class"], 100.0)
    return memory, Held(given["x"], given["labels"])


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sample() -> list[tuple[float, float]]:
    """Points of the first round's grid, spread over it."""
    betas, alphas = (0.1 + torch.arange(n).double() * (end - 0.1) / n for n, end in ((500, 200.0), (50, 20.0)))
    every = [(float(b), float(a)) for b in betas for a in alphas]
    return every[:: len(every) // SAMPLE][:SAMPLE]


def compare_times(given: dict[str, torch.Tensor], quick: float) -> None:
    search = import_module("baselines.coder_sweep").Search(**given)
    search.point(1.0, 1.0)
    points = sample()
    alphas = [0.1 + j * (20 - 0.1) / 50 for j in range(50)]
    ways = {
        "every point with one-hot products, as published": (search.point, points, POINTS / SAMPLE),
        "every point with votes summed by class": (search.point_by_class, points, POINTS / SAMPLE),
        "every beta, its votes once for 50 alphas": (search.beta, [(b, alphas) for b, _ in points[::10]], 1500 / 20),
    }
    for name, (work, arguments, factor) in ways.items():
        slow = factor * seconds(lambda work=work, arguments=arguments: [work(*a) for a in arguments])  # type: ignore[misc] # bound now
        print(f"{name}: {slow:.0f} s, scaled: {slow / quick:.0f} times ours")


def check_identity() -> None:
    given = problem(torch.float64)
    memory, held = remember(given)
    baseline = import_module("baselines.coder_sweep")
    expected = baseline.text_affinity(given["texts"], given["x"], given["keys"])
    gap = float((memory.seen(given["x"]) @ memory.keys.T - expected).abs().max())
    print(f"affinities in {len(memory.projection)} dimensions and by {T} text cosines: largest difference {gap:.1e}")
    search, off = baseline.Search(**given), 0
    points = sorted(sample())
    for beta in sorted({b for b, _ in points}):
        alphas = [a for b, a in points if b == beta]
        counts = counts_on_grid(memory, held, torch.tensor([beta]).double(), torch.tensor(alphas).double())[0]
        off += sum(int(c) != search.point(beta, a) for c, a in zip(counts, alphas, strict=True))
    print(f"counts at the grid's own points: {len(points) - off} of {len(points)} identical (float64)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = problem(torch.float32)
    betas = torch.logspace(0, 1, 200, BETAS[1] / BETAS[0], dtype=torch.float64) * BETAS[0]

    def ours() -> Any:
        return exact_search(*remember(given), betas, ALPHAS, ANCHOR)

    with torch.inference_mode():
        found = ours()
        quick = statistics.median(seconds(ours) for _ in range(options.repeats))
        print(f"ours: {quick:.2f} s for 200 betas and all alphas, the metric included; {options.threads} thread(s)")
        compare_times(given, quick)
        rounds: list[Any] = []
        again = seconds(lambda: rounds.extend(released_search(*remember(given))))
        grid = max(r.best.right for r in rounds)
        print(f"the released three rounds by counting intervals (legacy_search): {again:.1f} s")
        text = int(((100 * given["x"] @ given["weight"].T).argmax(1) == given["labels"]).sum())
        print(
            f"validation rows right of {M}: ours {found.right} at ({found.beta:.3g}, {found.alpha:.3g}), the grid's "
            f"best {grid} (rounds {[r.best.right for r in rounds]}), texts alone {text}"
        )
        check_identity()
    print(f"kept for each key: {D} numbers at most instead of {T}; the texts' cosines with images are never computed")


if __name__ == "__main__":
    main()
