"""What test_ranks runs in each process, here and in another one: FOLDER RANK SIZE."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed, nn

from clipwright.training.batches import shuffled_batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.full_batch import Stream, full_batch_backward
from clipwright.training.ranks import agree, gather_rows
from clipwright.training.regularisers import covariance_loss, variance_loss
from clipwright.training.towers import Batch, adamw, train_tower


class Noted(Checkpoint):
    """A checkpoint that counts what is written."""

    written = 0

    def save(self, *args: object) -> None:
        self.written += 1
        super().save(*args)  # type: ignore[arg-type]


def mlp(seed: int, wide: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(wide, 8), nn.Tanh(), nn.Linear(8, 6)).double()


def contrast(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(a @ b.T, torch.arange(len(a)))


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
    made = torch.Generator().manual_seed(0)
    x = torch.randn(21, 5, dtype=torch.float64, generator=made)
    texts = torch.randn(9, 3, dtype=torch.float64, generator=made)
    y = torch.arange(21) % 4
    image, text, head = mlp(rank, 5), mlp(7, 3), mlp(8, 6)  # ranks that start apart go on from rank 0
    optimizer = adamw({"image": image, "text": text, "head": head})

    def load(batch: Batch) -> Sequence[Stream]:
        unique = torch.unique(y[batch.rows])
        return [Stream(image, x[batch.share]), Stream(text, lambda _: texts[unique], whole=True)]

    def loss(embeddings: list[torch.Tensor], batch: Batch) -> Mapping[str, torch.Tensor]:
        e, t = embeddings
        unique = torch.unique(y[batch.rows])
        ce = nn.functional.cross_entropy(head(nn.functional.normalize(e, dim=1)), y[batch.rows])
        own = nn.functional.cross_entropy(e @ t.T, (y[batch.rows][:, None] == unique).long().argmax(1))
        return {"ce": ce, "text": own, "variance": variance_loss(e), "covariance": covariance_loss(e)}

    kept = Noted(folder / f"{size}" / "work", "digest")
    first = {"first.image.0.weight": mlp(0, 5).state_dict()["0.weight"].clone()}
    log = train_tower(
        {"image": image, "text": text, "head": head},
        load,
        loss,
        batches=shuffled_batches(21, 7, drop_last=False, seed=0, key=("order",)),
        rates=[0.01] * 9,
        optimizer=optimizer,
        weights={"variance": 0.16, "covariance": 0.02},
        micro_batch_size=2,
        checkpoint=kept,
        quiet=True,
    )
    # More processes than rows, and one module both in a stream and in the loss.
    few = [Stream(image, x[:1] if rank == 0 else x[:0])]
    full_batch_backward(few, lambda e: {"a": (image(x[:2]) - e[0]).square().sum()})
    uneven = {f"uneven.{n}": p.grad for n, p in image.named_parameters() if p.grad is not None}
    rows, place = gather_rows(x[:3] if rank == 0 else x[3:3])
    if rows.shape != (3, 5) or place != (3 if rank else 0) or not torch.equal(rows, x[:3]):
        raise SystemExit("rows are gathered wrongly")
    if size > 1 and (agree(rank, x.device) or not agree(5, x.device)):
        raise SystemExit("ranks agree wrongly")
    tensors = {
        f"{k}.{n}": p for k, m in (("image", image), ("text", text), ("head", head)) for n, p in m.state_dict().items()
    }
    means = {f"mean.{name}": torch.tensor(value) for name, value in log[-1].items()}
    saved = {"saved": torch.tensor(int(kept.written > 0))}
    save_file({**tensors, **uneven, **means, **saved, **first}, folder / f"{rank}-of-{size}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
