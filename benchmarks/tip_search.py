"""Tip-Adapter's search of (beta, alpha) against re-evaluating its 4,000 pairs: ``python benchmarks/tip_search.py``.

M = 1,649 validation rows, N = 1,600 keys, C = 100 classes, D = 512: made-up unit features around class centres, from
which the texts alone get few rows right and the memory more. A sample of 100 pairs is re-evaluated, timed and
scaled to 4,000. Then all of them are, untimed, to compare the pair found. The baseline computes once what doesn't
depend on the pair; it comes with one-hot products, as published, and with the sums per class that ours uses.

Options: ``--threads N`` (1), ``--repeats N`` (3) of ours, of which the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib import import_module

import torch

from clipwright.core.tensors import unit_rows
from clipwright.methods.tip_adapter import Memory, pick_pair, published_grid, right_on_grid

M, N, C, D, SAMPLE = 1649, 1600, 100, 512, 100


def problem() -> dict[str, torch.Tensor]:
    """Features of float32, as bundles give them."""
    made = torch.Generator().manual_seed(0)
    centres = torch.randn(C, D, generator=made)
    common = 3 * torch.randn(1, D, generator=made)  # images of one domain are alike

    def rows(labels: torch.Tensor, noise: float) -> torch.Tensor:
        return unit_rows(common + centres[labels] + noise * torch.randn(len(labels), D, generator=made))

    labels, key_class = torch.randint(0, C, (M,), generator=made), torch.arange(N) // (N // C)
    texts = unit_rows(centres + 6 * torch.randn(C, D, generator=made))
    return {
        "x": rows(labels, 4.0), "labels": labels, "keys": rows(key_class, 4.0), "key_class": key_class, "texts": texts,
    }  # fmt: skip


def main() -> None:
    baseline = import_module("baselines.tip_search").Search
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    given = problem()
    betas, alphas = published_grid(12.0, 200), published_grid(10.0, 20)
    pairs = [(float(b), float(a)) for b in betas for a in alphas]

    def ours() -> torch.Tensor:
        memory = Memory(given["texts"], given["keys"], given["key_class"], 100.0)
        return right_on_grid(memory, given["x"], given["labels"], betas, alphas)

    with torch.inference_mode():
        times = []
        for _ in range(options.repeats + 1):  # the first one warms up
            start = time.perf_counter()
            counts = ours()
            times.append(time.perf_counter() - start)
        quick = statistics.median(times[1:])
        print(f"ours: {quick:.2f} s for {len(pairs)} pairs, {options.threads} thread(s)")
        searches = {"one-hot products": baseline(**given), "sums per class": baseline(**given, segments=True)}
        for name, search in searches.items():
            search.right(1.0, 1.0)
            start = time.perf_counter()
            for beta, alpha in pairs[:: len(pairs) // SAMPLE]:
                search.right(beta, alpha)
            slow = (time.perf_counter() - start) / SAMPLE * len(pairs)
            print(f"re-evaluating with {name}: {slow:.1f} s, scaled from {SAMPLE} pairs: {slow / quick:.0f} times ours")
        every = torch.tensor([searches["sums per class"].right(*pair) for pair in pairs]).reshape(counts.shape)
    found = [pick_pair(c, betas, alphas, "first") for c in (counts, every)]
    off = int((counts != every).sum())
    text = int(((100 * given["x"] @ given["texts"].T).argmax(1) == given["labels"]).sum())
    print(
        f"pair: ours {found[0]}, re-evaluated {found[1]}: {'the same' if found[0] == found[1] else 'DIFFERENT'}; "
        f"rows right: {int(counts.max())} and {int(every.max())} of {M} (texts alone {text}); "
        f"{off} of {len(pairs)} pairs differ, by at most {int((counts - every).abs().max())} rows "
        "(re-evaluation is in float32, ours compares in float64)"
    )


if __name__ == "__main__":
    main()
