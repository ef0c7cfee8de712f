"""GDA against scikit-learn's LinearDiscriminantAnalysis, same covariance: ``python benchmarks/gda.py [options]``.

N = 16,000 rows, D = 512, C = 1,000 classes (ImageNet at 16 labels per class), float32 rows of length 1. Both estimate
class means and the pooled covariance shrunk by a fixed share, and solve for a linear discriminant: scikit-learn with
``solver="lsqr"``, we from streamed statistics in float64. Both use the same threads; each is warmed up once. The
predictions on other rows are compared.

Options: ``--threads N`` (torch's default; scikit-learn's BLAS is held to the same), ``--repeats N`` (3),
``--rows N`` (16,000).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped] # it has no types

from clipwright.core.gaussian import class_statistics, linear_discriminant

DIM, CLASSES, SHRINKAGE, TEST = 512, 1000, 0.1, 5000
BLOCK = 8192


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def rows(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, D) float32 unit rows around class centres, correlated as image features are, and (n,) classes."""
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    mixing = fixed.normal(size=(DIM, DIM)) * np.arange(1, DIM + 1) ** -0.7
    centres = fixed.normal(size=(CLASSES, DIM))
    y = np.arange(n) % CLASSES
    x = (0.3 * centres[y] + rng.normal(size=(n, DIM))) @ mixing.T
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), y


def ours(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Class weights and biases with scikit-learn's covariance: ``(1 - s) S/N + s tr(S/N)/D I``."""
    features, labels = torch.from_numpy(x), torch.from_numpy(y)
    found = class_statistics(
        ((features[i : i + BLOCK], labels[i : i + BLOCK]) for i in range(0, len(y), BLOCK)), CLASSES
    )
    covariance = found.within() / found.rows
    spherical = covariance.trace() / DIM * torch.eye(DIM, dtype=covariance.dtype)
    return linear_discriminant(found.means, (1 - SHRINKAGE) * covariance + SHRINKAGE * spherical)


def theirs(x: np.ndarray, y: np.ndarray) -> LinearDiscriminantAnalysis:
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=16_000)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    threads = torch.get_num_threads()
    x, y = rows(options.rows, 1)
    test, truth = rows(TEST, 2)
    small = rows(4 * CLASSES, 3)
    with threadpool_limits(limits=threads, user_api="blas"):
        theirs(*small)
        runs = []
        for _ in range(options.repeats):
            slow, model = timed(lambda: theirs(x, y))
            torch.set_num_threads(threads)
            quick, (weight, bias) = timed(lambda: ours(x, y))
            runs.append((slow, quick))
            print(f"scikit-learn {slow:.2f} s, clipwright {quick:.2f} s: {slow / quick:.1f} times as fast")
        found = (torch.from_numpy(test).double() @ weight.T + bias).argmax(1).numpy()
        expected = model.predict(test)
    print(
        f"{options.rows} rows, {DIM} dimensions, {CLASSES} classes, {threads} thread(s): predictions differ on "
        f"{int((found != expected).sum())} of {TEST} other rows; accuracy {100 * (found == truth).mean():.1f} %; "
        f"median {statistics.median(a / b for a, b in runs):.1f} times as fast"
    )


if __name__ == "__main__":
    main()
