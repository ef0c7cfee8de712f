"""What test_latteclip_fit runs in each process, here and in another one: FOLDER RANK SIZE."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests.methods.latte_lookup import made_task
from torch import distributed

from clipwright.heads.linear import LinearHead
from clipwright.methods.flyp import FLYP
from clipwright.methods.latteclip import LatteCLIP

METHODS = (
    LatteCLIP(steps=6, batch_size=7, learning_rate=0.02, weight_decay=0.5, alpha=0.2, micro_batch_size=2),
    FLYP(steps=6, batch_size=7, learning_rate=0.02, micro_batch_size=3),
    LatteCLIP(steps=2, batch_size=1, learning_rate=0.02, alpha=0.2),  # more processes than images in a step
)


def main(folder: Path, rank: int, size: int) -> None:
    """Train as one of `size` processes and write what came out to ``RANK-of-SIZE.safetensors``."""
    if size == 1:
        work(folder, rank, size)
        return
    meeting, patience = f"file://{folder}/meet", timedelta(seconds=60)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=patience)
    try:
        work(folder, rank, size)
    finally:
        distributed.destroy_process_group()


def work(folder: Path, rank: int, size: int) -> None:
    tensors = {}
    for number, method in enumerate(METHODS):
        fitted = method.fit(replace(made_task(), workspace=folder / f"work-{size}"))
        if not isinstance(fitted.head, LinearHead) or fitted.tower is None:
            raise SystemExit("nothing was trained")
        tensors[f"{number}.prototypes"] = fitted.head.weight
        tensors[f"{number}.table"] = fitted.tower.tensors["table"]
        tensors[f"{number}.losses"] = torch.tensor(fitted.trace.losses, dtype=torch.float64)
    save_file(tensors, folder / f"{rank}-of-{size}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
