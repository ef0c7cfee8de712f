"""A small data set of Gaussian classes with class texts near their means, as a feature bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch

from clipwright.data.dataset import SCHEMA, Bundle, Dataset
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.task import Features, TextFeatures

MakePrepared = Callable[..., Prepared]


def bundle(
    counts: Sequence[int] = (12, 12, 12),
    *,
    test: int = 0,
    val: int = 0,
    splits: Sequence[str] | None = None,
    unlabeled: int = 0,
    noise: float = 0.6,
    seed: int = 0,
    dim: int = 8,
) -> Dataset:
    """Rows of each class; the last `test` of each are the test split, the `val` before them the validation split."""
    rng = np.random.default_rng(seed)
    means = np.eye(len(counts), dim) * 2
    labels = np.concatenate([np.full(n, c) for c, n in enumerate(counts)])
    x = means[labels] + rng.normal(size=(len(labels), dim)) * noise
    if splits is None:
        splits = [_split(i, n, val, test) if val + test else "" for n in counts for i in range(n)]
    labels[len(labels) - unlabeled :] = -1
    rows = [
        {"id": f"img/{i:03d}.png", "source": str(i), "label": int(y), "split": s, "size": 0, "mtime_ns": 0}
        for i, (y, s) in enumerate(zip(labels, splits, strict=True))
    ]
    text = TextFeatures(torch.tensor(means + rng.normal(size=means.shape) * 0.5).float())
    projection = rng.normal(size=(dim + 3, dim))
    before = torch.tensor(x @ np.linalg.pinv(projection)).float()
    features = Features(torch.tensor(x).float(), pre_projection=before)
    names = tuple(f"class {c}" for c in range(len(counts)))
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Dataset(
        "gauss", names, table, bundle=Bundle(features, text, logit_scale=20.0, projection=projection.astype(np.float32))
    )


def _split(i: int, n: int, val: int, test: int) -> str:
    return "test" if i >= n - test else "val" if i >= n - test - val else "train"


@pytest.fixture
def make_prepared() -> MakePrepared:
    """Make a prepared data set; arguments as of `bundle`."""
    return lambda *args, **more: prepare(bundle(*args, **more), None)


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """Make a data set; arguments as of `bundle`."""
    return bundle
