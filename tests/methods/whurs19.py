"""Runs of published code that were recorded on WHU-RS19 features, and the tasks that they were run on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.task import Features, Task, TextFeatures

ENCODERS = ("clip_rn50", "clip_vitb32", "remoteclip_vitb32", "georsclip_vitl14")


class Recorded:
    """One encoder's bundle, and the recorded runs of some methods on it."""

    def __init__(self, shared: Path, encoder: str, *methods: str) -> None:
        with np.load(shared / "realdata" / f"whurs19_{encoder}.npz") as bundle:
            self.features = Features(torch.from_numpy(bundle["image_features"]).float(), bundle["labels"])
            self.text = TextFeatures(bundle["text_features"])
            self.names = tuple(map(str, bundle["class_names"]))
        folder = shared / "golden" / "real"
        runs = json.loads((folder / "whurs19_results.json").read_text())
        self.runs = [r for r in runs if r["dataset"] == f"whurs19_{encoder}" and r["method"] in methods]
        with np.load(folder / "splits_whurs19.npz") as splits:
            self.splits = {name: splits[name] for name in splits.files}

    def task(self, run: dict[str, Any], *, validation: bool = False) -> Task:
        seed = run["split_seed"]
        held_out = self.features[self.splits[f"seed{seed}_val"].ravel()] if validation else None
        rows = self.features[self.splits[f"seed{seed}_train"][:, : run["shots"]].ravel()]
        return Task(self.names, self.text, rows, validation=held_out, seed=seed)

    def test(self, run: dict[str, Any]) -> Features:
        return self.features[self.splits[f"seed{run['split_seed']}_test"]]


def load_golden(path: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The arrays of a file, floating ones in `dtype`."""
    with np.load(path) as file:
        loaded = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    return {name: a.to(dtype) if a.dtype == torch.float64 else a for name, a in loaded.items()}


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """Equal up to a tolerance relative to the largest expected value."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
